"""Locks and `queue.SimpleQueue`: types of C, whose waits nothing can patch. User code gets ones of Python instead.

Only what the user's own code makes, while the detector runs: the standard library and installed packages go on with the
original types, at their speed. A lock that is free is taken as before; only one that is held is a named call.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

from pytest_asyncapi.blocking.calls import Call
from pytest_asyncapi.blocking.owners import owner

# Whoever holds a lock for an instant may just then lose the GIL, or its core: a shorter wait is no fault of anybody's.
_LOCK = Call("threading:Lock", "threading.Lock.acquire", floor=0.005)
_RLOCK = Call("threading:RLock", "threading.RLock.acquire", floor=0.005)
_QUEUE = Call("queue:SimpleQueue", "queue.SimpleQueue.get", lambda args, kwargs: args[0].empty())

Wrap = Callable[[Call, Any], Any]


class _Factory(type):
    """Makes what the original makes, but where the user's code calls it; and is told apart by no `isinstance`."""

    _original: Any
    _real: Any

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        whose = owner(sys._getframe(1).f_code.co_filename)
        if cls._original is None or whose in ("user", "generated"):
            return super().__call__(*args, **kwargs)
        return cls._original(*args, **kwargs)

    def __instancecheck__(cls, instance: object) -> bool:
        return super().__instancecheck__(instance) or (cls._original is not None and isinstance(instance, cls._real))


def _waits(blocking: bool, timeout: float) -> bool:
    """Whether such a call may wait. Everything else, wrong arguments too, is the original's to answer at once."""
    return bool(blocking) and (timeout == -1 or timeout > 0)


def lock(original: Any, wrap: Wrap) -> Any:
    """A stand-in for `threading.Lock`, whose type has no subclasses."""
    waiting = wrap(_LOCK, lambda acquire, *args: acquire(*args))

    class Lock(metaclass=_Factory):
        __slots__ = ("__weakref__", "_lock", "locked", "release")

        def __init__(self) -> None:
            self._lock = made = original()
            self.release, self.locked = made.release, made.locked

        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
            __tracebackhide__ = True
            made = self._lock
            if not _waits(blocking, timeout):
                return bool(made.acquire(blocking, timeout))
            return bool(made.acquire(False) or waiting(made.acquire, True, timeout))

        def __enter__(self) -> bool:
            __tracebackhide__ = True
            made = self._lock
            return bool(made.acquire(False) or waiting(made.acquire))

        def __exit__(self, *error: object) -> None:
            self.release()

        def __getattr__(self, name: str) -> Any:
            return getattr(self._lock, name)

        def __repr__(self) -> str:
            return repr(self._lock)

    return _named(Lock, original, type(original()), "threading")


def rlock(original: Any, wrap: Wrap) -> Any:
    """A stand-in for `threading.RLock`."""
    made_by = type(original())
    take = made_by.acquire
    waiting = wrap(_RLOCK, take)

    class RLock(made_by, metaclass=_Factory):  # type: ignore[misc, valid-type]
        __slots__ = ()

        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
            __tracebackhide__ = True
            if not _waits(blocking, timeout):
                return bool(take(self, blocking, timeout))
            return bool(take(self, False) or waiting(self, True, timeout))

        def __enter__(self) -> bool:
            __tracebackhide__ = True
            return bool(take(self, False) or waiting(self))

    return _named(RLock, original, made_by, "threading")


def simple_queue(original: Any, wrap: Wrap) -> Any:
    """A stand-in for `queue.SimpleQueue`."""
    take = original.get
    waiting = wrap(_QUEUE, take)

    class SimpleQueue(original, metaclass=_Factory):  # type: ignore[misc]
        def get(self, block: bool = True, timeout: float | None = None) -> Any:
            __tracebackhide__ = True
            if not block or (timeout is not None and timeout <= 0):
                return take(self, block, timeout)
            return waiting(self, block, timeout)

    return _named(SimpleQueue, original, original, "queue")


def _named(made: Any, original: Any, real: type, module: str) -> Any:
    made._original, made._real = original, real
    made.__module__, made.__qualname__, made.__doc__ = module, made.__name__, original.__doc__
    return made


def stand_ins(wrap: Wrap) -> list[tuple[ModuleType, str, Any, Any]]:
    """(module, name, original, stand-in) of each. `wrap` makes a named call of a function."""
    found: list[tuple[ModuleType, str, Any, Any]] = []
    for module, name, make in (
        (threading, "Lock", lock), (threading, "RLock", rlock), (queue, "SimpleQueue", simple_queue),
    ):  # fmt: skip
        original = getattr(module, name)
        found.append((module, name, original, make(original, wrap)))
    return found
