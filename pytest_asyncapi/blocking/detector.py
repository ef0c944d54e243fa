"""The detector of a process: patches in while somebody listens, slices judged, blocks told to every listener.

Nothing here raises into the user's loop. What fails inside of the detector stands in `failure`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from pytest_asyncapi.asgi import current_scope
from pytest_asyncapi.blocking import attribution, judging
from pytest_asyncapi.blocking.calls import Call
from pytest_asyncapi.blocking.charging import Point, Rules
from pytest_asyncapi.blocking.model import Block
from pytest_asyncapi.blocking.named import NamedCalls
from pytest_asyncapi.blocking.scopes import SENT_BY, Scopes
from pytest_asyncapi.blocking.slices import ROOTS, Slices, Slot, local_slot
from pytest_asyncapi.blocking.watchdog import Stack, Watchdog
from pytest_asyncapi.wire.imports import AfterImport

_FLOOR = 2_000_000  # no threshold is below two milliseconds
# sys._current_frames() of a free-threaded build reads frames that may be freed meanwhile.
_GIL = getattr(sys, "_is_gil_enabled", lambda: True)


@contextlib.contextmanager
def _unguarded() -> Iterator[None]:
    """blockbuster raises where the source of a line is read on a loop, in here as well: it has a switch for itself."""
    switch = getattr(sys.modules.get("blockbuster.blockbuster"), "_skip", None)
    if switch is None or getattr(switch, "value", None) is not False:
        yield
        return
    switch.value = True
    try:
        yield
    finally:
        switch.value = False


class Listener(Protocol):
    """Who wants to know. `threshold` is nanoseconds; `block` is called in the loop's thread and must be quick."""

    threshold: int

    def block(self, block: Block, scope: Any, sent_by: str | None) -> None: ...


class Detector:
    """One a process; see `listen()`."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self.failure: str | None = None
        self.on_deadlock: Callable[[str], None] | None = None
        self._lock = threading.Lock()
        self._running: tuple[Slices, Watchdog, NamedCalls, Scopes, AfterImport] | None = None
        self._uvloop: Any = None
        self._paused = 0
        self._fork_hook = False

    # ---- listening

    def listen(self, listener: Listener) -> None:
        with self._lock:
            self.listeners.append(listener)
            if self._running is None:
                self._start()
            self._limit()

    def forget(self, listener: Listener) -> None:
        with self._lock:
            if listener in self.listeners:
                self.listeners.remove(listener)
            if not self.listeners:
                self._stop()
            else:
                self._limit()

    def threshold_changed(self) -> None:
        with self._lock:
            self._limit()

    def _limit(self) -> None:
        if self._running is not None:
            lowest = max(_FLOOR, min(listener.threshold for listener in self.listeners))
            self._running[1].scale(lowest)
            self._running[0].limit(lowest)

    def _start(self) -> None:
        lowest = max(_FLOOR, min(listener.threshold for listener in self.listeners))
        watchdog = Watchdog(lowest, ROOTS)
        watchdog.tell = self._deadlock
        slices = Slices(self.finish, watchdog)
        named = NamedCalls(self.named)
        scopes = Scopes()
        imports = AfterImport()
        if _GIL():
            watchdog.start()
        slices.install(lowest)
        imports.install()
        named.install(imports)
        scopes.install(imports)
        imports.watch("uvloop", lambda module: self._patch_uvloop(slices))
        self._running = (slices, watchdog, named, scopes, imports)
        if not self._fork_hook and hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)
            self._fork_hook = True

    def _patch_uvloop(self, slices: Slices) -> None:
        from pytest_asyncapi.blocking.uvloop_hooks import UvloopHooks

        self._uvloop = UvloopHooks(slices)
        self._uvloop.install()

    def _stop(self, forked: bool = False) -> None:
        if self._running is None:
            return
        slices, watchdog, named, scopes, imports = self._running
        self._running = None
        imports.uninstall()
        scopes.uninstall()
        named.uninstall()
        if self._uvloop is not None:
            self._uvloop.uninstall()
            self._uvloop = None
        if forked:
            watchdog.abandon()
        slices.uninstall()
        if not forked:
            watchdog.stop()
            self.failure = self.failure or watchdog.failure

    def _forked(self) -> None:
        """In the child of a fork there is no watchdog, and the timers are the parent's: leave the child alone."""
        self._lock = threading.Lock()
        with contextlib.suppress(Exception):
            self._stop(forked=True)
        self.listeners.clear()

    def settle(
        self, clock: Callable[[], int] = time.perf_counter_ns, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Let the late slices of other threads end, for a tenth of a second: a client's answer may come before that."""
        if self._running is None:
            return
        here, now = threading.get_ident(), clock()
        limit = max(_FLOOR, min((listener.threshold for listener in self.listeners), default=_FLOOR))
        for slot in list(self._running[0].slots.values()):
            handle = slot.handle
            late = slot.finishing or (handle is not None and now - slot.start > limit)
            while slot.thread != here and late and clock() - now < 100_000_000:
                sleep(0.001)
                late = slot.finishing or (handle is not None and slot.handle is handle)

    # ---- debuggers

    def pause(self) -> None:
        """A debugger has the process: the slices that are open now are not judged."""
        self._paused += 1
        self.resume(leave=False)

    def resume(self, leave: bool = True, clock: Callable[[], int] = time.perf_counter_ns) -> None:
        if leave:
            self._paused = max(0, self._paused - 1)
        if self._running is not None:
            for slot in list(self._running[0].slots.values()):
                slot.paused = clock()

    # ---- what the patches tell

    def named(self, call: Call, stack: Stack, wall: int, cpu: int) -> None:
        """A named call has ended."""
        try:
            if not self._paused:
                with _unguarded():
                    self._named(call, stack, wall, cpu)
        except Exception as error:
            self._failed(error)

    def _named(self, call: Call, stack: Stack, wall: int, cpu: int) -> None:
        scope = current_scope.get() or attribution.scope_of(sys._getframe())
        block = judging.of_named_call(call, stack, scope, wall, cpu)
        if block is None:
            return
        self._tell(block, scope, SENT_BY.get(), None)
        slot = local_slot()
        if slot is not None and slot.handle is not None:
            if slot.named_at != slot.start:
                slot.named, slot.named_at = [], slot.start
            slot.named.append(((block.site.file, block.site.line), wall, cpu))

    def finish(self, slot: Slot, handle: Any, start: int, end: int, base: Point) -> None:
        """A slice took longer than the limit. Runs in the loop's thread, at the end of the slice."""
        try:
            with _unguarded():
                self._finish(slot, handle, start, end, base)
        except Exception as error:
            self._failed(error)
        finally:
            slot.looks = []
            slot.named = []
            slot.collections.clear()
            slot.push_at = 0  # what this took is nobody's
            slot.finishing = False

    def _finish(
        self,
        slot: Slot,
        handle: Any,
        start: int,
        end: int,
        base: Point,
        thread_time: Callable[[], int] = time.thread_time_ns,
    ) -> None:
        if self._running is None or self._paused or slot.paused >= start:
            return
        watchdog = self._running[1]
        queued, switches = slot.kernel.counters()
        late = judging.Slice(
            handle,
            start,
            Point(end, thread_time(), queued, switches, watchdog.switches(slot.kernel.read)),
            base,
            list(slot.looks) if slot.looked_at == start else [],
            [took for when, took in slot.collections if when > start],
            slot.collected if slot.collected_at == start else 0,
            slot.scope[1] if slot.scope is not None and slot.scope[0] == start else None,
            slot.name,
            Rules(watchdog.tick, int(sys.getswitchinterval() * 1e9), slot.kernel.has_counters),
        )
        verdict = late.charge()
        named = slot.named if slot.named_at == start else []
        # Named calls are told already.
        waited, worked = sum(wall for _, wall, _ in named), sum(cpu for _, _, cpu in named)
        rest = verdict.total - min(verdict.waiting, waited) - min(verdict.cpu, worked)
        if not any(rest >= listener.threshold for listener in self.listeners):
            return
        found = judging.of_slice(late, verdict, {line for line, _, _ in named})
        if found is not None:
            block, scope = found
            context = getattr(handle, "_context", None)
            self._tell(block, scope, context.get(SENT_BY) if context is not None else None, rest)

    def _tell(self, block: Block, scope: Any, sent_by: str | None, charged: int | None) -> None:
        for listener in list(self.listeners):
            if charged is None or charged >= listener.threshold:
                limit = 0.0 if charged is None else listener.threshold / 1e6
                listener.block(dataclasses.replace(block, limit_ms=limit), scope, sent_by)

    def _deadlock(self, slot: Slot, stack: Stack, age: int) -> None:
        place = attribution.locate(stack, None)
        if self.on_deadlock is None or place.dropped == "foreign" or self._paused:
            return
        lines = [
            f"pytest-asyncapi: the event loop of {slot.name} has been held for {age / 1e9:.0f} s, at (innermost last)"
        ]
        for frame in judging.frames(stack):
            lines.append(f"  {frame.file}:{frame.line} in {frame.function}")
        self.on_deadlock("\n".join(lines) + "\n")

    def _failed(self, error: Exception) -> None:
        if os.environ.get("ASYNCAPI_BLOCKING_DEBUG"):
            raise error
        self.failure = self.failure or f"{type(error).__name__}: {error}"


DETECTOR = Detector()
