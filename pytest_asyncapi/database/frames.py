"""The nouns of the sandbox: the physical link, the virtual connections over it, and their open transactions."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pytest_asyncapi.database.commits import AtCommit
from pytest_asyncapi.database.sites import Site, callers

if TYPE_CHECKING:
    from pytest_asyncapi.database.scheduler import Scheduler

T = TypeVar("T")

_numbers = itertools.count(1)


class Link(Protocol):
    """One physical connection to a database, used by one virtual connection at a time."""

    name: str
    driver: str
    exclusive: bool
    """Whether the database is nothing but this connection: SQLite's `:memory:`."""
    deferrable: bool
    """Whether the database has constraints that are checked only when a transaction commits."""

    @property
    def alive(self) -> bool:
        """Whether the connection can still be used."""
        ...

    async def control(self, *statements: str) -> None:
        """Run statements that are the sandbox's own, in one message where the driver can."""
        ...

    def is_aborted(self, error: BaseException) -> bool:
        """Whether an error says that the transaction failed before, and takes nothing but a rollback."""
        ...

    async def check_deferred(self) -> None:
        """Raise the database's own error when a deferred constraint is broken, and leave it deferred."""
        ...

    async def close(self) -> None:
        """Give the physical connection back as it was."""
        ...

    def kill(self) -> None:
        """Drop the connection without waiting for it."""
        ...


class Member:
    """One virtual connection: what a checkout of the app's pool, or a connection of asyncpg, is in the sandbox.

    A `transparent` one belongs to the test itself: anybody's transaction may nest in its transaction, and so sees
    its rows before they are committed.
    """

    __slots__ = ("__weakref__", "frame", "label", "scheduler", "stale", "transparent")

    def __init__(self, scheduler: Scheduler, label: str, *, transparent: bool = False) -> None:
        self.scheduler = scheduler
        self.label = label
        self.transparent = transparent
        self.frame: Frame | None = None
        self.stale = False
        """A transaction of it was open when its test ended."""

    @property
    def in_transaction(self) -> bool:
        return self.frame is not None

    @contextmanager
    def statement(self) -> Iterator[None]:
        """A statement of its transaction runs in the block: an error fails the transaction."""
        frame = self.frame
        try:
            yield
        except BaseException:
            if frame is not None:
                frame.failed = True
            raise


class Frame:
    """An open transaction of a virtual connection: a savepoint of the physical one."""

    def __init__(self, member: Member, task: asyncio.Task[Any] | None, *, read_only: bool = False) -> None:
        self.number = next(_numbers)
        self.savepoint = f"asyncapi_{self.number}"
        self.member = member
        self.task = task
        self.read_only = read_only
        self.began_at: tuple[Site, ...] = callers()
        self.began = asyncio.get_running_loop().time()
        self.last_sql = ""
        self.wrote = False
        """It has written itself, so that a rollback has something to undo."""
        self.hosted = 0
        """Transactions of others that were committed into it: a rollback would undo them too."""
        self.lodgers = 0
        """Statements that an enclosing transaction of the same task ran inside of this one."""
        self.ended: str | None = None
        """`commit` or `rollback`, when its owner is done with it but transactions above it are open."""
        self.at_commit = AtCommit()
        self.failed = False
        self.open = True
        self.warned = False

    @property
    def only_read(self) -> bool:
        """Whether it has run statements, and none of them wrote or failed: to others it is as if it were not there."""
        return bool(self.last_sql) and not self.wrote and not self.failed and not self.read_only

    @property
    def owner_name(self) -> str:
        if self.task is None:
            return "(no task)"
        return self.task.get_name() + (" (which has ended: nobody closed the session)" if self.task.done() else "")


ancestry: ContextVar[tuple[Frame, ...]] = ContextVar("pytest_asyncapi_database_frames", default=())
"""The transactions that were open in this context, also in those of the parents of this task."""


def enter_context(frame: Frame) -> None:
    """Make `frame` one of those that tasks spawned from here descend from."""
    ancestry.set((*(outer for outer in ancestry.get() if outer.open), frame))


async def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end, also when the caller is cancelled meanwhile; the cancellation goes on afterwards."""
    return await _to_its_end(work, cancel=False)


async def cancel_once(work: Coroutine[Any, Any, T]) -> T:
    """Await `work`; when the caller is cancelled, cancel it once, and let it end in peace.

    psycopg has to hear from the server that a statement was cancelled. A second cancellation, such as anyio's scopes
    send until they are left, would take the connection from everybody.
    """
    return await _to_its_end(work, cancel=True)


async def _to_its_end(work: Coroutine[Any, Any, T], *, cancel: bool) -> T:
    task = asyncio.get_running_loop().create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            if cancel and cancelled is None:
                task.cancel()
            cancelled = error
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # or the loop complains that nobody looked at it
    raise cancelled
