"""Slices on uvloop: its handles are C, but its Loop is a Python class, so what is scheduled by name can be wrapped.

Steps of tasks and callbacks pass `call_soon`, `call_later` and the like. A transport calls its protocol directly, so
the protocols that the `create_*` methods make are wrapped too.
"""

from __future__ import annotations

import contextlib
from contextvars import copy_context
from typing import Any

from pytest_asyncapi.blocking.slices import ROOTS, Slices, local_slot

_SOON = ("call_soon", "call_soon_threadsafe")
_LATER = ("call_later", "call_at")
_DESCRIPTORS = ("add_reader", "add_writer", "add_signal_handler")
_FACTORIES = (
    "create_connection",
    "create_server",
    "create_unix_connection",
    "create_unix_server",
    "create_datagram_endpoint",
    "connect_accepted_socket",
    "connect_read_pipe",
    "connect_write_pipe",
    "subprocess_exec",
    "subprocess_shell",
)
_EVENTS = (
    "connection_made",
    "connection_lost",
    "data_received",
    "buffer_updated",
    "eof_received",
    "datagram_received",
    "error_received",
    "pipe_data_received",
    "pipe_connection_lost",
    "process_exited",
)


class UvloopHooks:
    """The patches of `uvloop.Loop`, and their undoing."""

    def __init__(self, slices: Slices) -> None:
        self._slices = slices
        self._patched: list[tuple[str, Any, Any]] = []

    def install(self) -> None:
        import uvloop

        self._loop_class: Any = uvloop.Loop
        enter, leave = self._slices.enter, self._slices.leave

        class Step:
            """What uvloop calls; for the detector, a handle."""

            __slots__ = ("_callback", "_context", "_loop")

            def __init__(self, loop: Any, callback: Any, context: Any) -> None:
                self._loop = loop
                self._callback = callback
                self._context = context

            def __call__(self, *args: Any) -> Any:
                entered = enter(self._loop, self)
                try:
                    return self._callback(*args)
                finally:
                    leave(entered, self)

            def __repr__(self) -> str:
                return repr(self._callback)

        ROOTS.add(Step.__call__.__code__)

        def soon(original: Any) -> Any:
            def call_soon(self: Any, callback: Any, *args: Any, context: Any = None) -> Any:
                if context is None:
                    context = copy_context()
                return original(self, Step(self, callback, context), *args, context=context)

            return call_soon

        def later(original: Any) -> Any:
            def call_later(self: Any, when: Any, callback: Any, *args: Any, context: Any = None) -> Any:
                if context is None:
                    context = copy_context()
                return original(self, when, Step(self, callback, context), *args, context=context)

            return call_later

        def descriptor(original: Any) -> Any:
            def add(self: Any, number: Any, callback: Any, *args: Any) -> Any:
                return original(self, number, Step(self, callback, copy_context()), *args)

            return add

        def factory(original: Any) -> Any:
            def create(self: Any, make: Any, *args: Any, **kwargs: Any) -> Any:
                def make_watched() -> Any:
                    protocol = make()
                    for name in _EVENTS:
                        method = getattr(protocol, name, None)
                        if method is not None and not isinstance(method, Step):
                            with contextlib.suppress(AttributeError):  # no __dict__: its calls are no slices
                                setattr(protocol, name, Step(self, method, copy_context()))
                    return protocol

                return original(self, make_watched if callable(make) else make, *args, **kwargs)

            return create

        def exceptions(original: Any) -> Any:
            def call_exception_handler(self: Any, context: Any) -> Any:
                """The user's handler runs after the callback that raised, in no slice, if nobody else calls this."""
                slot = local_slot()
                if slot is not None and slot.handle is not None:
                    return original(self, context)
                return Step(self, original, copy_context())(self, context)

            return call_exception_handler

        for names, wrap in (
            (_SOON, soon), (_LATER, later), (_DESCRIPTORS, descriptor), (_FACTORIES, factory),
            (("call_exception_handler",), exceptions),
        ):  # fmt: skip
            for name in names:
                original = getattr(self._loop_class, name)
                wrapper = wrap(original)
                setattr(self._loop_class, name, wrapper)
                self._patched.append((name, original, wrapper))

    def uninstall(self) -> None:
        for name, original, wrapper in self._patched:
            if getattr(self._loop_class, name) is wrapper:
                if original is getattr(super(self._loop_class, self._loop_class), name, None):
                    delattr(self._loop_class, name)
                else:
                    setattr(self._loop_class, name, original)
        self._patched.clear()
