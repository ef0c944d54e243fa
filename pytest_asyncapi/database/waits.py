"""What is said when transactions of a test cannot all go on: who holds the connection, since where, and what to do.

All functions here only look: the scheduler decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from pytest_asyncapi.database.awaiting import stands_for
from pytest_asyncapi.database.frames import Frame, Member
from pytest_asyncapi.database.sites import Site, callers, task_sites

SHARED = "A test that is isolated by rollback has one connection to a database, and all transactions share it."
REAL = 'give this test real connections: @pytest.mark.db(isolation="commit").'
FIX = f"""What to do: commit, roll back or close the holder's session before it waits for the other party;
or {REAL}"""
_SQL_LIMIT = 120


@dataclass(eq=False)
class Waiter:
    """Somebody who waits for the connection of a test."""

    member: Member
    what: str
    blockers: Callable[[], list[Frame]]
    task: asyncio.Task[Any] | None
    future: asyncio.Future[None]
    since: float
    granted: bool = False
    sites: tuple[Site, ...] = field(default_factory=callers)

    def ready(self) -> bool:
        return not self.future.done() and not self.blockers()

    @property
    def name(self) -> str:
        return f"{self.member.label} in task {_task_name(self.task)}"


waiting: set[Waiter] = set()
"""All who wait, of all databases: a circle may lead through several."""


def circle(start: Waiter) -> list[Frame]:
    """The transactions of a circle that leads from a waiter back to its own task; empty when there is none."""
    by_task = {waiter.task: waiter for waiter in waiting if not waiter.future.done()}
    seen: set[asyncio.Task[Any]] = set()

    def visit(waiter: Waiter, path: list[Frame]) -> list[Frame]:
        for frame in waiter.blockers():
            owner = frame.task
            if frame.ended is not None or owner is None or owner.done() or owner in seen:
                continue
            seen.add(owner)
            for task in stands_for(owner):
                if task is start.task:
                    return [*path, frame]
                if (other := by_task.get(task)) is not None and (found := visit(other, [*path, frame])):
                    return found
        return []

    return visit(start, [])


def timeout(name: str, waiter: Waiter, limit: float) -> str:
    """Nothing moved for too long."""
    return "\n".join(
        [
            f"database sandbox {name!r}: {waiter.name} waited to {waiter.what},",
            f"and no transaction moved for {limit:g} s.",
            SHARED,
            *(_holder(frame) for frame in reversed(waiter.blockers())),
            _waiter(waiter),
            FIX,
        ]
    )


def deadlock(name: str, waiter: Waiter, frames: list[Frame]) -> str:
    """Everybody in a circle waits for the next one."""
    return "\n".join(
        [
            f"database sandbox {name!r}: {waiter.name} waits to {waiter.what},",
            "and can never have its turn: those that hold the connection wait for it, in a circle.",
            SHARED,
            *(_holder(frame) for frame in frames),
            _waiter(waiter),
            FIX,
        ]
    )


def own_copy(name: str, waiter: Waiter) -> str:
    """The source of a COPY queries the database that it copies into."""
    return "\n".join(
        [
            f"database sandbox {name!r}: {waiter.name} wants to {waiter.what}",
            "while the same task has the connection for a statement that is not over, such as a COPY that it feeds.",
            SHARED,
            _waiter(waiter),
            f"What to do: read what the rows are made of before the COPY; or {REAL}",
        ]
    )


def entangled(name: str, frame: Frame, what: str, over: list[Frame]) -> str:
    """Transactions of one task end crosswise."""
    return "\n".join(
        [
            f"database sandbox {name!r}: {frame.member.label} wants to {what}",
            "while a later transaction of the same task is open. On one connection the later one has to end first:",
            *(_holder(other, "later") for other in reversed(over)),
            _holder(frame, "earlier"),
            f"What to do: end the later session first (nest the `async with` blocks); or {REAL}",
        ]
    )


def undoes_lodgers(name: str, frame: Frame) -> str:
    """A later transaction took statements of an earlier one with it."""
    return "\n".join(
        [
            f"database sandbox {name!r}: {frame.member.label} was rolled back,",
            f"and with it {frame.lodgers} statement(s) that an earlier transaction of the same task ran meanwhile.",
            _holder(frame, "rolled back"),
            f"What to do: end the later session before the earlier one writes again; or {REAL}",
        ]
    )


def sees_uncommitted(member: Member, host: Frame) -> str:
    """A nested transaction sees rows that are not committed."""
    return (
        f"{member.label} began inside of an open transaction ({host.member.label}, begun at {_first(host)}) and sees "
        "its uncommitted rows; on separate connections it would not. "
        '@pytest.mark.db(isolation="commit") shows what really happens.'
    )


def undoes_commits(frame: Frame) -> str:
    """A rollback undid what others had committed inside of it."""
    return (
        f"{frame.member.label} (begun at {_first(frame)}) was rolled back, and with it what {frame.hosted} other "
        "transaction(s) had committed since it first wrote; on separate connections that would stay. Commit it before "
        'the others begin; or use @pytest.mark.db(isolation="commit").'
    )


def other_isolation(level: str) -> str:
    """The app asked for more isolation than savepoints have."""
    return (
        f"the app asks for {level.replace('_', ' ').upper()}; in the sandbox its transaction is a savepoint under READ "
        'COMMITTED. @pytest.mark.db(isolation="commit") shows the real thing.'
    )


def two_phase() -> str:
    """The app commits in two phases."""
    return (
        "PREPARE TRANSACTION cannot be done in the sandbox, whose transactions are savepoints of one that is rolled "
        f"back. What to do: {REAL}"
    )


def closed(member: Member) -> str:
    """A connection outlived its test."""
    at = callers(1)
    line = f"\n  at {at[0]}" if at else ""
    return (
        f"{member.label} is used in task {_task_name(asyncio.current_task())} after the test that it belongs to has "
        f"ended. Await or cancel background work before the test ends.{line}"
    )


def late_lifespan() -> str:
    """What is for many tests came into the database of one."""
    return (
        "the lifespan that tests share began when this test, of database isolation, had made queries in a database of "
        "its own: what it wrote at start-up is there only. Let `client` come first."
    )


def outlived(member: Member, task: asyncio.Task[Any]) -> str:
    """A task of one test is at work in another one."""
    at = callers(1)
    line = f"\n  at {at[0]}" if at else ""
    return (
        f"{member.label} is used in task {_task_name(task)}, which an earlier test has left running: what it writes is "
        f"in this test now. Await or cancel background work before the test ends.{line}"
    )


def leak(frame: Frame) -> str:
    """A transaction that nobody ended."""
    return f"a transaction was left open at the end of the test:\n{_holder(frame)}"


def _holder(frame: Frame, role: str = "holder") -> str:
    age = asyncio.get_running_loop().time() - frame.began
    return "\n".join(
        [
            f"  {role}: {frame.member.label} in task {frame.owner_name}, open for {age:.2f} s",
            *_lines("began at", frame.began_at),
            *_lines("now at", task_sites(frame.task) if frame.task and not frame.task.done() else ()),
            f"    last SQL  {' '.join(frame.last_sql.split())[:_SQL_LIMIT] or '(none yet)'}",
        ]
    )


def _waiter(waiter: Waiter) -> str:
    return "\n".join([f"  waiter: {waiter.name}", *_lines("at", waiter.sites)])


def _lines(title: str, sites: Iterable[Site]) -> list[str]:
    lines = [f"    {title if index == 0 else '':<9} {site}" for index, site in enumerate(sites)]
    return lines or [f"    {title:<9} (no line of yours)"]


def _first(frame: Frame) -> str:
    return str(frame.began_at[0]) if frame.began_at else "no line of yours"


def _task_name(task: asyncio.Task[Any] | None) -> str:
    return task.get_name() if task is not None else "(none)"
