"""Who may use the one physical connection of a test, and when.

The test runs in one outer transaction. Each transaction of a virtual connection is a savepoint in it, a `Frame`, and
savepoints form a stack: releasing one destroys all above it. So only the top frame may use the connection, and

- a transaction may begin on an empty stack, or on a top frame that cannot end before it does: the test's own, one of
  its own task, of a task that it descends from, of one that awaits it, or of a task that has ended;
- it may also begin over frames of strangers that have only read, since nothing of theirs can be seen;
- everybody else waits, in order of arrival;
- a frame that ends below others is ended when it comes up.

A wait that can never end is an error, which `turns.py` finds.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from pytest_asyncapi.database import waits
from pytest_asyncapi.database.awaiting import awaits
from pytest_asyncapi.database.frames import Frame, Link, Member, ancestry, enter_context, finish
from pytest_asyncapi.database.statements import Kind
from pytest_asyncapi.database.turns import Turns
from pytest_asyncapi.errors import SandboxClosed, SandboxEntangled


class Scheduler:
    """The stack of open transactions of one physical connection in one test."""

    def __init__(
        self,
        link: Link,
        *,
        lock_timeout: float = 5.0,
        warn: Callable[[str], None] = lambda text: None,
        outlived: Collection[asyncio.Task[Any]] = (),
    ) -> None:
        self.link = link
        self.lock_timeout = lock_timeout
        self.stack: list[Frame] = []
        self.begun = False
        self._warn = warn
        self._outlived = outlived
        self._warned: set[str] = set()
        self._kept = False
        self._surfacing = 0
        self._lost: str | None = None
        """What a rollback undid of others; told when somebody could miss it, and not at the end of a test."""
        self._turns = Turns(link.name, lock_timeout)

    @property
    def closed(self) -> bool:
        """Whether the test is over."""
        return self._turns.closed

    # ---- the verbs of a virtual connection
    async def begin(self, member: Member, *, read_only: bool = False) -> None:
        """Open a transaction for `member`."""
        if member.frame is not None:
            return
        task = asyncio.current_task()
        descends = ancestry.get()
        if task is not None and self._outlived and task in self._outlived:
            self.warn_once(waits.outlived(member, task))

        await self._turns.acquire(member, "begin a transaction", lambda: self._barring(task, descends))
        host = self._host()
        frame = Frame(member, task, read_only=read_only)
        try:
            await finish(self._open(frame))
        except BaseException:
            self.abandon(member)  # cancelled while it began
            raise
        enter_context(frame)
        if self._lost is not None:
            lost, self._lost = self._lost, None
            self._warn(lost)
        if host is not None and not host.warned:
            host.warned = True
            self._warn(waits.sees_uncommitted(member, host))

    @asynccontextmanager
    async def turn(
        self, member: Member, sql: str = "", kind: Kind = Kind.READ, parameters: Any = None
    ) -> AsyncIterator[None]:
        """Have the connection for one statement of the open transaction of `member`."""
        await self.take_turn(member, sql, kind, parameters)
        try:
            with member.statement():
                yield
        finally:
            self._turns.release()

    async def take_turn(self, member: Member, sql: str, kind: Kind, parameters: Any = None) -> None:
        """The first half of `turn()`, for code that has to `release()` where it cannot await."""
        frame = self._frame_of(member)
        task = asyncio.current_task()
        await self._surface_of(frame, member, "run a statement", task)
        try:
            await self._prepare(frame, kind)
            if not frame.failed and (before := frame.at_commit.before(sql, parameters)):
                await finish(self.link.control(*before))
        except BaseException:
            self._turns.release()
            raise
        if sql:
            frame.last_sql = sql

    def release(self, member: Member) -> None:
        """The second half of `turn()`."""
        self._turns.release(member)

    @asynccontextmanager
    async def wire(self, member: Member) -> AsyncIterator[None]:
        """Have the connection for a message that is legal in any state of the transaction."""
        await self._turns.acquire(member, "use the connection", list)
        try:
            yield
        finally:
            self._turns.release()

    async def commit(self, member: Member) -> str:
        """End the transaction of `member`; returns what the database says: an aborted one is rolled back."""
        return await self._end(member, rollback=False)

    async def rollback(self, member: Member) -> str:
        """Undo and end the transaction of `member`."""
        return await self._end(member, rollback=True)

    def abandon(self, member: Member) -> None:
        """Roll back the transaction of a connection that was dropped, as soon as that can be done."""
        frame, member.frame = member.frame, None
        if frame is None or not frame.open or self.closed:
            return
        frame.ended = "rollback"
        if self.stack and self.stack[-1] is frame:
            _background(self._settle(member))

    # ---- the life of the scheduler
    async def close(self) -> list[Frame]:
        """End the outer transaction, and with it everything; returns the transactions that nobody had ended."""
        self._turns.close()
        leaked = [frame for frame in self.stack if frame.ended is None and not frame.member.transparent]
        try:
            async with asyncio.timeout(self.lock_timeout):
                await self._turns.idle()
                if self.begun and self.link.alive:
                    await self.link.control("ROLLBACK")
        except Exception as error:
            self.link.kill()
            self._warn(
                f"the connection of the sandbox {self.link.name!r} could not be rolled back, and was dropped: {error!r}"
            )
        except BaseException:
            self.link.kill()
            raise
        finally:
            self._forget()
        return leaked

    async def enter_savepoint(self) -> Member:
        """Begin a part of the test that `leave_savepoint()` undoes whole, whatever is committed in it."""
        member = Member(self, "savepoint of the test", transparent=True)
        await self._turns.acquire(member, "set a savepoint", list)
        await finish(self._open(Frame(member, asyncio.current_task())))
        return member

    async def leave_savepoint(self, member: Member | None) -> None:
        """Undo everything since `enter_savepoint()`; with None everything in this test.

        Transactions that began since and are open stay open, without what they did.
        """
        frame = member.frame if member is not None else None
        task = asyncio.current_task()
        helper = member or Member(self, "savepoint of the test")
        await self._turns.acquire(helper, "return to a savepoint", lambda: self._above(frame, task))
        await finish(self._rewind(frame))

    async def _rewind(self, frame: Frame | None) -> None:
        try:
            kept = [other for other in self._over(frame) if other.ended is None]
            if frame is None:
                undo = ["ROLLBACK", "BEGIN"] if self.begun else []
                self.stack, self._kept = [], False
            else:
                undo = [f"ROLLBACK TO SAVEPOINT {frame.savepoint}", f"RELEASE SAVEPOINT {frame.savepoint}"]
                frame.open, frame.member.frame = False, None
                self.stack = self.stack[: self.stack.index(frame)]
            await self.link.control(*undo, *(f"SAVEPOINT {other.savepoint}" for other in kept))
            for other in kept:
                other.wrote, other.hosted, other.lodgers = False, 0, 0
            self.stack += kept
            await self._surface()
        finally:
            self._turns.release()

    async def pause(self) -> bool:
        """End the outer transaction, if nothing is in it, and say so; the next transaction begins a new one."""
        member = Member(self, "the sandbox")
        await self._turns.acquire(member, "step outside", lambda: list(self.stack))
        try:
            if self.begun and not self._kept:
                await finish(self.link.control("ROLLBACK"))
                self.begun = False
            return not self.begun
        finally:
            self._turns.release()

    def warn_once(self, text: str) -> None:
        """Warn of something, however often it happens in this test."""
        if text not in self._warned:
            self._warned.add(text)
            self._warn(text)

    def _forget(self) -> None:
        for frame in self.stack:
            frame.open = False
            if frame.member.frame is frame:
                frame.member.frame = None
                frame.member.stale = True
        self.stack.clear()
        self.begun = False

    # ---- who may
    def _barring(self, task: asyncio.Task[Any] | None, descends: tuple[Frame, ...]) -> list[Frame]:
        """The transaction that has to end before a task may begin one; none where it may nest at once.

        Those of strangers that have only read are passed over, as they would be on separate connections.
        """
        for frame in reversed(self.stack):
            if frame.ended is not None:
                return [frame]  # it is on its way out
            if frame.member.transparent or frame in descends or self._yields_to(frame, task):
                return []
            if not frame.only_read or self._surfacing:
                return [frame]
        return []

    async def _surface_of(self, frame: Frame, member: Member, what: str, task: asyncio.Task[Any] | None) -> None:
        """Have the connection when `frame` is on top; meanwhile nobody passes it by."""
        self._surfacing += 1
        try:
            await self._turns.acquire(member, what, lambda: self._above(frame, task))
        finally:
            self._surfacing -= 1

    def _yields_to(self, frame: Frame, task: asyncio.Task[Any] | None) -> bool:
        """Whether waiting for `frame` to end would be in vain: it cannot end before this task goes on."""
        return frame.task is None or frame.task is task or frame.task.done() or awaits(frame.task, task)

    def _above(self, frame: Frame | None, task: asyncio.Task[Any] | None) -> list[Frame]:
        """The transactions over `frame` that have to end before it may go on."""
        return [other for other in self._over(frame) if other.ended is not None or not self._yields_to(other, task)]

    def _over(self, frame: Frame | None) -> list[Frame]:
        if frame is None:
            return list(self.stack)
        return self.stack[self.stack.index(frame) + 1 :] if frame in self.stack else []

    def _host(self) -> Frame | None:
        """The nearest open transaction of somebody else's that has uncommitted rows, and is not the test's own."""
        for frame in reversed(self.stack):
            if frame.member.transparent:
                return None
            if frame.wrote:
                return frame
        return None

    def _frame_of(self, member: Member) -> Frame:
        if self.closed or member.frame is None:
            raise SandboxClosed(waits.closed(member))
        return member.frame

    # ---- what is sent
    async def _open(self, frame: Frame) -> None:
        start = [] if self.begun else ["BEGIN"]
        extra = ["SET LOCAL transaction_read_only = on"] if frame.read_only else []
        try:
            await self.link.control(*start, f"SAVEPOINT {frame.savepoint}", *extra)
            self.begun = True
            self.stack.append(frame)
            frame.member.frame = frame
        except BaseException:
            frame.open = False
            raise
        finally:
            self._turns.release()

    async def _prepare(self, frame: Frame, kind: Kind) -> None:
        """Note what a statement does to the frames, before it runs."""
        over = [other for other in self._over(frame) if other.ended is None]
        if over and kind is Kind.SAVEPOINT:
            raise SandboxEntangled(waits.entangled(self.link.name, frame, "use a savepoint", over))
        if frame.hosted and not frame.wrote and not over:
            # Nothing of its own to undo: let it begin anew above what others committed, which then no rollback undoes.
            await finish(self.link.control(f"RELEASE SAVEPOINT {frame.savepoint}", f"SAVEPOINT {frame.savepoint}"))
            frame.hosted = 0
            self._handed_down(self.stack.index(frame))
        if kind in {Kind.WRITE, Kind.SAVEPOINT}:
            frame.wrote = True
            for other in over:
                other.lodgers += 1

    async def _end(self, member: Member, *, rollback: bool) -> str:
        frame = member.frame
        if frame is None:
            return "ROLLBACK" if rollback else "COMMIT"
        task = asyncio.current_task()
        what = "roll back" if rollback else "commit"
        try:
            await self._surface_of(frame, member, what, task)
        except BaseException:
            self.abandon(member)  # whatever it was: this transaction does not go on
            raise
        if not frame.open:  # dropped while it waited
            self._turns.release()
            return "ROLLBACK"
        member.frame = None
        over = [other for other in self._over(frame) if other.ended is None]
        if not over:
            return await finish(self._close(frame, rollback=rollback))
        frame.ended = "rollback" if rollback and frame.wrote else "commit"
        self._turns.release()
        if frame.ended == "rollback":
            raise SandboxEntangled(waits.entangled(self.link.name, frame, "roll back its writes", over))
        return "ROLLBACK" if rollback else "COMMIT"

    async def _close(self, frame: Frame, *, rollback: bool) -> str:
        """End the top frame, and those below it that only waited for that. Has the connection, and gives it back."""
        try:
            return await self._pop(frame, rollback=rollback)
        finally:
            try:
                await self._surface()
            finally:
                self._turns.release()

    async def _surface(self) -> None:
        while self.stack and (frame := self.stack[-1]).ended is not None:
            try:
                await self._pop(frame, rollback=frame.ended == "rollback")
            except Exception as error:
                self._warn(f"{frame.member.label}: its end was put off, and failed: {error!r}")

    async def _settle(self, member: Member) -> None:
        with contextlib.suppress(SandboxClosed):
            await self._turns.acquire(member, "clean up", list)
            try:
                await self._surface()
            finally:
                self._turns.release()

    async def _pop(self, frame: Frame, *, rollback: bool) -> str:
        keeps = not rollback or (not frame.wrote and frame.hosted > 0 and not frame.read_only)
        try:
            kept = await self._keep(frame) if keeps and not frame.read_only else await self._undo(frame)
        finally:
            self.stack.remove(frame)
            frame.open = False
            if frame.member.frame is frame:
                frame.member.frame = None
        if kept and (frame.wrote or frame.hosted):
            self._handed_down(len(self.stack))
        if not kept and frame.hosted:
            self._lost = waits.undoes_commits(frame)
        if not kept and frame.lodgers:
            raise SandboxEntangled(waits.undoes_lodgers(self.link.name, frame))
        return "ROLLBACK" if rollback or not (kept or frame.read_only) else "COMMIT"

    def _handed_down(self, above: int) -> None:
        """Note where rows went that are committed: into the transaction below this place of the stack, if any."""
        if above:
            self.stack[above - 1].hosted += 1
        else:
            self._kept = True

    async def _keep(self, frame: Frame) -> bool:
        try:
            if self.link.deferrable and (frame.wrote or frame.hosted):
                await self.link.check_deferred()
            await self.link.control(f"RELEASE SAVEPOINT {frame.savepoint}", *frame.at_commit.statements)
        except Exception as error:
            await self._undo(frame)
            if not self.link.is_aborted(error):
                raise
            return False  # as a database answers COMMIT in a failed transaction
        return True

    async def _undo(self, frame: Frame) -> bool:
        await self.link.control(f"ROLLBACK TO SAVEPOINT {frame.savepoint}", f"RELEASE SAVEPOINT {frame.savepoint}")
        return False


_running: set[asyncio.Task[Any]] = set()


def _background(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.get_running_loop().create_task(work)
    _running.add(task)
    task.add_done_callback(_running.discard)
