"""Slices: one callback or one step of a task, from its start to its end, on every asyncio loop of every thread.

`install()` wraps `asyncio.events.Handle._run`, and nothing else of asyncio. The wrapper reads the clock twice; every
few milliseconds it also records the thread's own counters and pushes the watchdog's timer ahead, so that the watchdog
never wakes, and never asks for the GIL, while all slices are short.
"""

from __future__ import annotations

import asyncio
import asyncio.events
import contextlib
import gc
import threading
import time
from collections.abc import Callable
from types import CodeType
from typing import TYPE_CHECKING, Any

from pytest_asyncapi.blocking.charging import Look, Point
from pytest_asyncapi.blocking.kernel import LINUX, Thread, Timer
from pytest_asyncapi.compatibility import check

if TYPE_CHECKING:
    from pytest_asyncapi.blocking.watchdog import Watchdog

_LONG_COLLECTION = 5_000_000  # shorter ones are the allocator's own price
_MANY_YOUNG = 20_000  # objects: looking at fewer takes no five milliseconds

# The wrappers' code: a stack ends where its slice began.
ROOTS: set[CodeType] = set()

_local = threading.local()


class Slot:
    """What runs now in one thread. Written by that thread, read by the watchdog."""

    __slots__ = (
        "base",
        "closed",
        "collected",
        "collected_at",
        "collections",
        "deadline",
        "finishing",
        "handle",
        "kernel",
        "looked_at",
        "looks",
        "name",
        "named",
        "named_at",
        "paused",
        "push_at",
        "scope",
        "start",
        "thread",
        "timer",
        "told",
    )

    def __init__(self) -> None:
        self.handle: Any = None
        self.start = 0
        self.push_at = 0  # a slice that starts later than this pushes the timer
        self.deadline = 0  # when the watchdog is to look
        self.base = Point(0)
        self.thread = threading.get_ident()
        self.name = threading.current_thread().name
        self.kernel = Thread()
        self.timer: Timer | None = None
        if LINUX:
            with contextlib.suppress(OSError, AttributeError):
                self.timer = Timer()
        self.looks: list[tuple[Look, Any, Any]] = []  # (evidence, stack, scope)
        self.looked_at = 0  # the start of the slice that the looks belong to
        self.collections: list[tuple[int, int]] = []  # (when it ended, its CPU time)
        self.collected = self.collected_at = 0  # how many, in the slice that began then
        self.scope: tuple[int, Any] | None = None  # the last request of this thread, and the start of its slice
        self.named: list[Any] = []  # the named calls of the slice that began at `named_at`
        self.named_at = 0
        self.paused = 0  # when a debugger last had this thread
        self.told = 0  # the start of the slice whose dead-lock was told
        self.finishing = False
        self.closed = False


class _ThreadEnd:
    """Lives in the thread's local storage, and so closes the slot when the thread ends."""

    def __init__(self, close: Callable[[Slot], None], slot: Slot) -> None:
        self._close, self._slot = close, slot

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self._close(self._slot)


class Slices:
    """The patch of `Handle._run`, and the slots."""

    def __init__(self, finish: Callable[[Slot, Any, int, int, Point], None], watchdog: Watchdog) -> None:
        self.finish = finish
        self.watchdog = watchdog
        self.slots: dict[int, Slot] = {}
        self._over = False
        self._original: Any = None
        self._patched: Any = None
        self._set_limit: Callable[[int], None] = lambda limit: None
        self.enter: Callable[[Any, Any], tuple[Slot, Any, int, int]]
        self.leave: Callable[[tuple[Slot, Any, int, int], Any], None]
        self._lock = threading.Lock()
        self._collecting: Callable[[str, dict[str, int]], None] = lambda phase, info: None

    # ---- the thread's slot

    def slot(self) -> Slot:
        """The slot of the calling thread."""
        slot: Slot | None = getattr(_local, "slot", None)
        if slot is None or slot.closed or slot.thread != threading.get_ident():
            slot = _local.slot = Slot()
            if self._over:  # a step that was scheduled before the end: nobody looks at it, and the next one is new
                self._shut(slot)
                return slot
            self.slots[slot.thread] = slot
            self.watchdog.add(slot)
            _local.end = _ThreadEnd(self.close_slot, slot)
        return slot

    def close_slot(self, slot: Slot) -> None:
        with self._lock:
            if slot.closed:
                return
            slot.closed = True
        if self.slots.get(slot.thread) is slot:
            del self.slots[slot.thread]
        self.watchdog.remove(slot)
        self._shut(slot)

    @staticmethod
    def _shut(slot: Slot) -> None:
        slot.closed = True
        slot.push_at = 0
        slot.kernel.close()
        if slot.timer is not None:
            slot.timer.close()

    # ---- the patch

    def install(self, limit: int) -> None:
        check("Python")
        # Everything the wrapper reads stands in this closure: freezegun rewrites the clocks that modules hold.
        clock = time.perf_counter_ns
        thread_time = time.thread_time_ns
        finish = self.finish
        watchdog = self.watchdog
        own_slot = self.slot
        original = self._original = asyncio.events.Handle._run
        push_every, lead = watchdog.push_every, watchdog.lead

        def push(loop: Any, slot: Slot, start: int) -> Slot:
            """Record the thread's own counters, and let the watchdog sleep on."""
            mine = own_slot()
            if mine is not slot:
                slot = loop._asyncapi_slot = mine
            queued, switches = slot.kernel.counters()
            slot.base = Point(start, thread_time(), queued, switches, watchdog.switches(slot.kernel.read))
            slot.push_at = 0 if slot.closed else start + push_every
            slot.deadline = start + lead
            if slot.timer is not None:
                slot.timer.arm(lead)
            return slot

        def attach(loop: Any) -> Slot:
            slot = own_slot()
            with contextlib.suppress(AttributeError):  # a loop class with __slots__: looked up again each time
                loop._asyncapi_slot = slot
            return slot

        def _run(self: Any) -> None:
            try:
                slot = self._loop._asyncapi_slot
            except AttributeError:
                slot = attach(self._loop)
            start = clock()
            if start > slot.push_at:
                slot = push(self._loop, slot, start)
            outer, outer_start = slot.handle, slot.start
            slot.start = start
            slot.handle = self
            try:
                original(self)
            finally:
                if clock() - start > limit:
                    slot.finishing, base, slot.handle = True, slot.base, None
                    finish(slot, self, start, clock(), base)
                slot.handle = outer
                if outer is not None:
                    slot.start = outer_start

        def enter(loop: Any, handle: Any) -> tuple[Slot, Any, int, int]:
            """The same for loops whose handles are not asyncio's, in two halves."""
            try:
                slot = loop._asyncapi_slot
            except AttributeError:
                slot = attach(loop)
            start = clock()
            if start > slot.push_at:
                slot = push(loop, slot, start)
            outer, outer_start = slot.handle, slot.start
            slot.start = start
            slot.handle = handle
            return slot, outer, outer_start, start

        def leave(entered: tuple[Slot, Any, int, int], handle: Any) -> None:
            slot, outer, outer_start, start = entered
            if clock() - start > limit:
                slot.finishing, base, slot.handle = True, slot.base, None
                finish(slot, handle, start, clock(), base)
            slot.handle = outer
            if outer is not None:
                slot.start = outer_start

        def set_limit(nanoseconds: int) -> None:
            nonlocal limit
            limit = nanoseconds

        self.enter, self.leave = enter, leave
        self._set_limit = set_limit
        self._patched = _run
        ROOTS.add(_run.__code__)
        asyncio.events.Handle._run = _run  # type: ignore[method-assign]
        self._collecting = _watch_collections()
        gc.callbacks.append(self._collecting)

    def limit(self, nanoseconds: int) -> None:
        """Slices that take longer go through `finish`."""
        self._set_limit(nanoseconds)

    def uninstall(self) -> None:
        self._over = True
        if asyncio.events.Handle._run is self._patched:
            asyncio.events.Handle._run = self._original  # type: ignore[method-assign]
        else:  # somebody wrapped ours: it stays below, and never finishes a slice
            self._set_limit(1 << 62)
        with contextlib.suppress(ValueError):
            gc.callbacks.remove(self._collecting)
        for slot in list(self.slots.values()):
            self.close_slot(slot)


def _watch_collections(
    clock: Callable[[], int] = time.perf_counter_ns,
    cpu_clock: Callable[[], int] = time.thread_time_ns,
    count: Callable[[], tuple[int, int, int]] = gc.get_count,
) -> Callable[[str, dict[str, int]], None]:
    """A callback of the garbage collector that notes the long collections of a slice. Most are short: it is quick.

    Asking for the CPU time is a system call, so the frequent collections of a few young objects are only counted.
    """
    began = 0

    def collecting(phase: str, info: dict[str, int]) -> None:
        nonlocal began
        if phase == "start":
            began = cpu_clock() if info["generation"] or count()[0] > _MANY_YOUNG else 0
            return
        slot: Slot | None = getattr(_local, "slot", None)
        if slot is None or slot.handle is None:
            return
        if slot.collected_at != slot.start:
            slot.collected, slot.collected_at = 0, slot.start
        slot.collected += 1
        if began:
            took = cpu_clock() - began
            if took > _LONG_COLLECTION:
                slot.collections.append((clock(), took))

    return collecting


def local_slot() -> Slot | None:
    slot: Slot | None = getattr(_local, "slot", None)
    return None if slot is None or slot.closed else slot
