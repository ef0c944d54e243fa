"""Named calls: what blocks by nature is recorded at once, however short it is.

Recorded, never raised: an error raised in a callback hangs whoever waits for it, and elsewhere `except Exception`
swallows it.

The calls are patched where they live. Modules that were imported before (`from time import sleep`) get the patched
function too, and libraries that are imported later are patched right after their import.
"""

from __future__ import annotations

import asyncio
import functools
import io
import sys
import threading
import time
from collections.abc import Callable
from types import CodeType, FunctionType, ModuleType
from typing import Any

from pytest_asyncapi.blocking.calls import LIBRARIES, STANDARD, Call
from pytest_asyncapi.blocking.files import PLACES, Open
from pytest_asyncapi.blocking.locks import stand_ins
from pytest_asyncapi.blocking.owners import owner
from pytest_asyncapi.blocking.rebinding import Builtin, rebind
from pytest_asyncapi.blocking.slices import ROOTS
from pytest_asyncapi.blocking.sqlite import connect_with
from pytest_asyncapi.wire.imports import AfterImport

Stack = list[tuple[CodeType, int, int]]
# (call, the stack at the call, wall ns, CPU ns)
Record = Callable[[Call, Stack, int, int], None]

_LOCAL = threading.local()
_DEPTH = 160


def _stack() -> Stack:
    """The caller's stack, innermost first, without our own frames."""
    frame = sys._getframe(1)
    stack: Stack = []
    while frame is not None and len(stack) < _DEPTH:
        code = frame.f_code
        if owner(code.co_filename) != "ours":
            stack.append((code, frame.f_lineno, frame.f_lasti))
        elif code in ROOTS:
            break
        frame = frame.f_back  # type: ignore[assignment]
    return stack


class NamedCalls:
    """The patches, and their undoing."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self._patched: list[tuple[Any, str, Any, Any]] = []  # holder, name, original, wrapper
        self._open: Any = None
        self._active = False

    def install(self, imports: AfterImport) -> None:
        replaced: dict[int, Any] = {}
        self._active = True
        imports.watch("sqlite3", functools.partial(self._patch_sqlite, replaced))
        for call in (*STANDARD, *LIBRARIES):
            module = call.target.partition(":")[0]
            imports.watch(module, functools.partial(self._patch, call, replaced))
        self._open = opens = Open(io.open, lambda: getattr(_LOCAL, "inside", False), self._moved)
        replaced[id(io.open)] = opens
        for module, name in PLACES:
            imports.watch(module, functools.partial(self._patch_open, name))
        for holder, name, original, made in stand_ins(self._wrapper):
            setattr(holder, name, made)
            self._patched.append((holder, name, original, made))
            replaced[id(original)] = made
        rebind(replaced)

    def uninstall(self) -> None:
        back: dict[int, Any] = {}
        for holder, name, original, wrapper in reversed(self._patched):
            current = holder.__dict__.get(name) if isinstance(holder, type) else getattr(holder, name, None)
            if current is wrapper:
                if original is _INHERITED:
                    delattr(holder, name)
                else:
                    setattr(holder, name, original)
            if not isinstance(holder, type):
                back[id(wrapper)] = original
        rebind(back)
        self._patched.clear()
        self._active = False
        if self._open is not None:
            self._open.close()

    def _patch(self, call: Call, replaced: dict[int, Any], module: ModuleType) -> None:
        path = call.target.partition(":")[2]
        try:
            holder: Any = module
            *parents, name = path.split(".")
            for parent in parents:
                holder = getattr(holder, parent)
            original = getattr(holder, name)
        except (ImportError, AttributeError):  # not on this platform, or not in this version
            return
        raw = holder.__dict__.get(name, _INHERITED) if isinstance(holder, type) else original
        if isinstance(raw, (staticmethod, property)):
            return
        if isinstance(raw, classmethod):
            wrapper: Any = classmethod(self._wrapper(call, raw.__func__))
        else:
            wrapper = self._wrapper(call, original)
            if holder is module:
                if not isinstance(original, FunctionType):
                    wrapper = Builtin(wrapper, name)
                wrapper.__module__ = module.__name__  # where pickle finds it
        try:
            setattr(holder, name, wrapper)
        except (AttributeError, TypeError):  # a type of C
            return
        self._patched.append((holder, name, raw, wrapper))
        if not isinstance(holder, type):
            replaced[id(original)] = wrapper

    def _patch_open(self, name: str, module: ModuleType) -> None:
        original = getattr(module, name, None)
        if original is self._open.__wrapped__:  # and no fake that somebody has put there
            setattr(module, name, self._open)
            self._patched.append((module, name, original, self._open))

    def _patch_sqlite(self, replaced: dict[int, Any], module: ModuleType) -> None:
        original = module.connect
        wrapper = connect_with(module, self._wrapper, lambda: self._active)
        module.connect = wrapper  # type: ignore[attr-defined]
        self._patched.append((module, "connect", original, wrapper))
        replaced[id(original)] = wrapper

    def _moved(self, call: Call, wall: int, cpu: int) -> None:
        """A megabyte of one file has been read or written."""
        stack = _stack()
        if stack and not any(owner(code.co_filename) == "importing" for code, _, _ in stack):
            self.record(call, stack, wall, cpu)

    def _wrapper(self, call: Call, original: Any) -> Any:
        local = _LOCAL
        observe = self._observe
        when, whole = call.when, call.whole
        running = asyncio._get_running_loop

        @functools.wraps(original)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            if running() is None or getattr(local, "inside", False):
                return original(*args, **kwargs)
            try:  # nothing but the question: the original's own exceptions are the caller's
                blocks = when is None or when(args, kwargs)
            except Exception:  # wrong arguments: the original says so
                blocks = False
            if blocks:
                return observe(call, original, args, kwargs)
            if not whole:
                return original(*args, **kwargs)
            local.inside = True
            try:
                return original(*args, **kwargs)
            finally:
                local.inside = False

        return wrapper

    def _observe(
        self,
        call: Call,
        original: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        clock: Callable[[], int] = time.perf_counter_ns,
        cpu_clock: Callable[[], int] = time.thread_time_ns,
    ) -> Any:
        __tracebackhide__ = True
        stack = _stack()
        if not stack or any(owner(code.co_filename) == "importing" for code, _, _ in stack):
            return original(*args, **kwargs)
        _LOCAL.inside = True
        start, cpu = clock(), cpu_clock()
        try:
            return original(*args, **kwargs)
        finally:
            _LOCAL.inside = False
            took = clock() - start
            worked = cpu_clock() - cpu
            if took >= call.floor * 1e9 and worked >= call.work * 1e9:
                self.record(call, stack, took, worked)


_INHERITED = object()
