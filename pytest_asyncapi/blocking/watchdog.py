"""The watchdog: a thread that looks at a slice which is late, and sleeps in the kernel, without the GIL, until then.

Its looks are cheap, but asking a busy loop for the GIL is not. On Linux each thread with a loop has a kernel timer that
its own slices push ahead; the watchdog waits for the timers. Elsewhere it wakes a few times a threshold.

A C call that holds the GIL for long is seen exactly: the watchdog already waits for the GIL, and CPython hands it over
at the instruction after the call. So the stack is taken before anything that releases the GIL again.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import sys
import threading
import time
from collections.abc import Callable, MutableMapping
from types import CodeType
from typing import TYPE_CHECKING, Any

from pytest_asyncapi.asgi import current_scope
from pytest_asyncapi.blocking.attribution import is_boundary
from pytest_asyncapi.blocking.charging import Look
from pytest_asyncapi.blocking.kernel import LINUX, Read, Thread

if TYPE_CHECKING:
    from pytest_asyncapi.blocking.slices import Slot

Stack = list[tuple[CodeType, int, int]]  # innermost first: code, line, instruction
_DEPTH = 160
_MILLISECOND = 1_000_000
# Up to 3.11.8 a garbage collection inside of sys._current_frames() can lock the interpreter up.
_GUARD_FRAMES = sys.version_info < (3, 12)


class Watchdog:
    """One thread for all slots."""

    def __init__(self, threshold: int, roots: set[CodeType]) -> None:
        self.roots = roots
        self.tell: Callable[[Slot, Stack, int], None] | None = None
        self.tell_after = 10_000 * _MILLISECOND
        self.tick = self.push_every = self.lead = 0
        self.scale(threshold)
        self._slots: dict[int, Slot] = {}
        self._thread: threading.Thread | None = None
        self._kernel: Thread | None = None
        self._stopping = False
        self._ready = threading.Event()
        self._poll: Any = None
        self._wake: tuple[int, int] | None = None
        self.failure: str | None = None

    def scale(self, threshold: int) -> None:
        """Periods for this threshold: the last look at a slice before it is over must not be far from its end."""
        self.tick = min(5 * _MILLISECOND, max(_MILLISECOND, threshold // 10))
        # A push is four system calls; five milliseconds after the last one the kernel's part of the caches is cold.
        self.push_every = min(10 * _MILLISECOND, max(_MILLISECOND, threshold // 5))
        self.lead = self.push_every + min(10 * _MILLISECOND, max(_MILLISECOND, threshold // 5))

    # ---- slots

    def add(self, slot: Slot) -> None:
        if slot.timer is not None and self._poll is not None:
            self._slots[slot.timer.descriptor] = slot
            self._poll.register(slot.timer.descriptor, select.EPOLLIN)
        else:
            self._slots[-slot.thread] = slot

    def remove(self, slot: Slot) -> None:
        if slot.timer is not None and self._poll is not None:
            self._slots.pop(slot.timer.descriptor, None)
            with contextlib.suppress(OSError, ValueError):
                self._poll.unregister(slot.timer.descriptor)
        self._slots.pop(-slot.thread, None)

    def switches(self, read: Read) -> int:
        """How often the watchdog's thread was given a core: does it wait for the GIL while a slice runs?

        Asked of the kernel each time: awake, and waiting for the GIL since an earlier slice, it has had many.
        """
        kernel = self._kernel
        return 0 if kernel is None else kernel.counters(read)[1]

    # ---- the thread

    def start(self) -> None:
        if LINUX:
            self._poll = select.epoll()
            self._wake = os.pipe()
            self._poll.register(self._wake[0], select.EPOLLIN)
        self._thread = threading.Thread(target=self._watch, name="asyncapi-blocking-watchdog", daemon=True)
        self._thread.start()
        # The first slice may hold the GIL from its start: the thread must be in its wait by then.
        self._ready.wait(1)
        for _ in range(50):
            kernel = self._kernel
            if kernel is None or kernel.blocked() is not False:
                break
            time.sleep(0.0002)

    def stop(self) -> None:
        self._stopping = True
        if self._wake is not None:
            os.write(self._wake[1], b"x")
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(5)
        if self._poll is not None:
            self._poll.close()
        for descriptor in self._wake or ():
            os.close(descriptor)
        self._wake = self._thread = self._poll = None

    def abandon(self) -> None:
        """After a fork: the thread is gone, and the descriptors are the parent's too."""
        self._stopping = True
        if self._poll is not None:
            self._poll.close()
        for descriptor in self._wake or ():
            os.close(descriptor)
        self._wake = self._thread = self._poll = None

    def _watch(
        self, clock: Callable[[], int] = time.perf_counter_ns, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._kernel = kernel = Thread()
        self._ready.set()
        try:
            while not self._stopping:
                if self._poll is not None:
                    due = [self._slots.get(descriptor) for descriptor, _ in self._poll.poll()]
                    self._look([slot for slot in due if slot is not None], clock)
                else:
                    began = clock()
                    late = any(slot.handle and began - slot.start > self.tick for slot in list(self._slots.values()))
                    pause = self.tick if late else self.lead
                    sleep(pause / 1e9)
                    for slot in list(self._slots.values()):
                        slot.deadline = began + pause
                    self._look(list(self._slots.values()), clock)
        except Exception as error:  # a thread of ours must not print a traceback into a user's run
            if not self._stopping:
                self.failure = f"{type(error).__name__}: {error}"
        finally:
            self._kernel = None
            kernel.close()

    def _look(self, slots: list[Slot], clock: Callable[[], int]) -> None:
        taken: list[tuple[Slot, Look, int]] = []
        read = self._kernel.read if self._kernel is not None else None
        for slot in slots:
            now = clock()
            handle, start, deadline = slot.handle, slot.start, slot.deadline
            if handle is None or slot.closed or (slot.timer is None and now - start < self.tick // 2):
                continue
            stack, scope = self._stack(slot.thread, _request(handle))
            if stack is None or slot.handle is not handle or slot.start != start:
                continue
            look = Look(now, late=max(0, now - deadline), complete=False)
            look.place = (stack[0][0], stack[0][2]) if stack else None
            if slot.looked_at != start:
                slot.looks, slot.looked_at = [], start
            slot.looks.append((look, stack, scope))
            taken.append((slot, look, start))
            # All with the GIL, which only a switch that somebody has waited for can take away: the slice stands still.
            blocked = slot.kernel.blocked(read)
            cpu = slot.kernel.cpu()
            look.time = clock()
            look.queued, look.switches = slot.kernel.counters(read)
            look.watch_switches = self.switches(read) if read is not None else 0
            if slot.handle is handle and slot.start == start:
                look.cpu, look.blocked, look.complete = cpu, blocked, True
        for slot in slots:
            self._rearm(slot, clock)
        for slot, look, start in taken:
            if self.tell is not None and look.time - start > self.tell_after and slot.told != start:
                slot.told = start
                self.tell(slot, slot.looks[-1][1], look.time - start)

    def _rearm(self, slot: Slot, clock: Callable[[], int]) -> None:
        if slot.timer is None or slot.closed:
            return
        with contextlib.suppress(OSError):
            os.read(slot.timer.descriptor, 8)
        start = slot.start
        if slot.handle is None:
            return  # the next slice starts later than `push_at`, and pushes
        now = clock()
        age = now - start
        pause = self.tick if age >= self.lead // 2 else self.lead - age
        slot.deadline = now + pause
        slot.timer.arm(pause)

    def _stack(self, thread: int, scope: Any) -> tuple[Stack | None, Any]:
        """The stack of the slice that runs in a thread, and the ASGI scope of a request that only the stack knows."""
        guard = _GUARD_FRAMES and gc.isenabled()
        if guard:
            gc.disable()
        try:
            frame = sys._current_frames().get(thread)
        finally:
            if guard:
                gc.enable()
        stack: Stack = []
        app = None
        while frame is not None and frame.f_code not in self.roots and len(stack) < _DEPTH:
            code = frame.f_code
            stack.append((code, frame.f_lineno, frame.f_lasti))
            if is_boundary(code):
                app = frame
            frame = frame.f_back
        if frame is None:
            return None, None  # between two slices
        if scope is None and app is not None:
            scope = app.f_locals.get("scope")
        return stack, scope if isinstance(scope, MutableMapping) else None


def _request(handle: Any) -> Any:
    """The live ASGI scope of what the handle runs."""
    context = getattr(handle, "_context", None)
    return None if context is None else context.get(current_scope)
