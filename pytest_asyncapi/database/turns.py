"""The queue for the one physical connection of a test: one user at a time, and the others in order of arrival.

A wait that can never end is an error at once; one in which nothing moved for `lock_timeout` seconds is an error then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from pytest_asyncapi.database import waits
from pytest_asyncapi.database.awaiting import awaits
from pytest_asyncapi.database.frames import Frame, Member
from pytest_asyncapi.database.waits import Waiter
from pytest_asyncapi.errors import SandboxClosed, SandboxDeadlock, SandboxTimeout

POLL = 0.02  # seconds between two looks at those who wait: a task may have begun to await another one meanwhile


class Turns:
    """Who uses the connection, and who waits for it."""

    def __init__(self, name: str, lock_timeout: float) -> None:
        self.name = name
        self.lock_timeout = lock_timeout
        self.closed = False
        self._waiters: list[Waiter] = []
        self._user: Member | None = None
        self._task: asyncio.Task[Any] | None = None
        self._moved = 0.0
        self._timer: asyncio.Handle | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    async def acquire(self, member: Member, what: str, blockers: Callable[[], list[Frame]]) -> None:
        """Wait until nobody uses the connection and no transaction blocks `member`, and then use it."""
        if self.closed:
            raise SandboxClosed(waits.closed(member))
        if self._user is None and not blockers() and not any(waiter.ready() for waiter in self._waiters):
            self._use(member, asyncio.current_task())
            return
        loop = asyncio.get_running_loop()
        waiter = Waiter(member, what, blockers, asyncio.current_task(), loop.create_future(), loop.time())
        self._waiters.append(waiter)
        waits.waiting.add(waiter)
        self._watch()
        try:
            await waiter.future
        except asyncio.CancelledError:
            if waiter.granted:
                self.release()  # it was our turn already
            raise
        finally:
            self._waiters.remove(waiter)
            waits.waiting.discard(waiter)

    def release(self, member: Member | None = None) -> None:
        """Give the connection to the next one; with `member` only if it is the one that uses it."""
        if member is not None and self._user is not member:
            return
        self._user = self._task = None
        self._moved = asyncio.get_running_loop().time()
        self._idle.set()
        self._grant()

    def close(self) -> None:
        """Let nobody use the connection any more, but for the one that does."""
        self.closed = True
        for waiter in self._waiters:
            if not waiter.future.done():
                waiter.future.set_exception(SandboxClosed(waits.closed(waiter.member)))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def idle(self) -> None:
        """Wait until nobody uses the connection."""
        await self._idle.wait()

    def _use(self, member: Member, task: asyncio.Task[Any] | None) -> None:
        self._user, self._task = member, task
        self._idle.clear()

    def _grant(self) -> None:
        """Give the connection to the first who may have it."""
        if self._user is not None or self.closed:
            return
        for waiter in self._waiters:
            if waiter.ready():
                self._use(waiter.member, waiter.task)
                waiter.granted = True
                waiter.future.set_result(None)
                return

    def _watch(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        """Look whether somebody may go on by now, and whether somebody never will."""
        self._timer = None
        self._grant()
        waiting = [waiter for waiter in self._waiters if not waiter.future.done()]
        for waiter in waiting:
            error = self._hopeless(waiter)
            if error is not None:
                waiter.future.set_exception(error)
        if any(not waiter.future.done() for waiter in waiting):
            self._timer = asyncio.get_running_loop().call_later(min(POLL, self.lock_timeout), self._look)

    def _hopeless(self, waiter: Waiter) -> Exception | None:
        if self._user is not None:
            if waiter.task is self._task or awaits(self._task, waiter.task):
                return SandboxDeadlock(waits.own_copy(self.name, waiter))
            return None  # a statement runs: however long it takes, it ends
        circle = waits.circle(waiter)
        if circle:
            return SandboxDeadlock(waits.deadlock(self.name, waiter, circle))
        stands = asyncio.get_running_loop().time() - max(self._moved, waiter.since)
        if stands >= self.lock_timeout:
            return SandboxTimeout(waits.timeout(self.name, waiter, self.lock_timeout))
        return None
