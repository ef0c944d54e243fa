"""What the hooks under psycopg and aiosqlite share: their connections in a sandbox, without SQLAlchemy above them.

Such a connection runs its statements on the same `AdaptedLink` as SQLAlchemy's connections of that driver, so an app
may use both, and a test that reads by SQLAlchemy sees what an app writes without it. The link itself is made by
SQLAlchemy, which therefore has to be installed.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_asyncapi.database import waits
from pytest_asyncapi.database.frames import Member
from pytest_asyncapi.database.queries import record
from pytest_asyncapi.database.sites import callers
from pytest_asyncapi.database.statements import Kind
from pytest_asyncapi.database.targets import Address, Target
from pytest_asyncapi.errors import SandboxClosed, SandboxError, ours

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from pytest_asyncapi.database.adapted import AdaptedLink
    from pytest_asyncapi.database.interception import Hooks
    from pytest_asyncapi.database.sandbox import RollbackSandbox

__tracebackhide__ = ours

T = TypeVar("T")

opening: ContextVar[bool] = ContextVar("pytest_asyncapi_database_opening", default=False)
"""Whether a connection is made that nobody shall make a virtual one of: a link, or a look at a database's mark."""


def line() -> str:
    """The user's line that is at work."""
    sites = callers(1)
    return str(sites[0]) if sites else ""


def keeps_itself(cursor_factory: Any) -> bool:
    """Whether a synchronous connection, known by its cursors, is one of Django's while pytest-django runs.

    That undoes itself what a test has written, or does not let the test connect: a sandbox has nothing to refuse.
    """
    made = str(getattr(cursor_factory, "__module__", ""))
    return "pytest_django" in sys.modules and made.startswith("django.db.")


class Place:
    """Where the connections of one `connect()` of the app go: in each sandbox, and outside of one."""

    def __init__(self, hooks: Hooks, address: Address, engine: Callable[[Target | None], AsyncEngine]) -> None:
        self.hooks = hooks
        self.address = address
        self._engine = engine
        self._where = line()

    def target(self) -> Target | None:
        """The harness's database for this address; None where the app's own address holds."""
        return self.hooks.rule().target_for(self.address, self._where)

    async def link(self, sandbox: RollbackSandbox) -> AdaptedLink:
        """The connection of a sandbox to this database."""
        if importlib.util.find_spec("sqlalchemy") is None:
            raise SandboxError(
                f"the app uses {self.address.driver} in a test that is isolated by rollback, and that needs SQLAlchemy "
                "beside it: pip install 'pytest-asyncapi[sqlalchemy]'; or give the test real connections, which are "
                f'reset afterwards: @pytest.mark.db(isolation="commit").\n  at {self._where}'
            )
        from pytest_asyncapi.database.sqlalchemy_hooks import SandboxPool

        target = self.target()

        async def open_link() -> AdaptedLink:
            pool = SandboxPool(self._engine(target).sync_engine.pool)
            token = opening.set(True)
            try:
                return await pool._open(self.address)
            finally:
                opening.reset(token)

        return await sandbox.link(target or self.address.place, self.address.driver, open_link)


class Seat:
    """The place of one connection in the sandbox of a test, and what its statements do there."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.link: Any = None
        self.member: Member | None = None
        self._held: bool | None = None  # whether a statement that is not over was a transaction of its own

    @property
    def in_transaction(self) -> bool:
        return self.member is not None and self.member.in_transaction

    async def choose(self) -> bool:
        """Go to the sandbox that is active; False when there is none. Never in the middle of a transaction."""
        if self.member is not None and self.member.stale:
            raise SandboxClosed(waits.closed(self.member))
        if self.in_transaction:
            return True
        sandbox = self.place.hooks.sandbox()
        if sandbox is None:
            self.link = self.member = None
            return False
        if self.member is None or not sandbox.owns(self.member.scheduler):
            self.link = await self.place.link(sandbox)
            scheduler = sandbox.scheduler(self.link)
            if self.member is None:
                name = self.place.address.database
                self.member = Member(scheduler, f"{self.place.address.driver} connection to {name!r}")
            self.member.scheduler = scheduler
        return True

    async def begin(self, *, read_only: bool = False) -> None:
        assert self.member is not None
        await self.member.scheduler.begin(self.member, read_only=read_only)

    async def commit(self) -> None:
        if self.member is not None:
            await self.member.scheduler.commit(self.member)

    async def rollback(self) -> None:
        if self.member is not None:
            await self.member.scheduler.rollback(self.member)

    async def leave(self) -> None:
        """The connection is closed."""
        with suppress(SandboxClosed):
            await self.rollback()

    async def run(
        self,
        sql: str,
        kind: Kind,
        work: Callable[[], Awaitable[T]],
        *,
        parameters: Any = None,
        alone: bool = False,
        read_only: bool = False,
        goes_on: Callable[[], bool] = lambda: False,
    ) -> T:
        """Have the link for `work`. A statement that begins no transaction (`alone`) is one of its own.

        While `goes_on()` (a COPY, a stream of rows) the link is kept for the next `run()`.
        """
        assert self.member is not None
        if kind is Kind.TWO_PHASE:
            raise SandboxError(waits.two_phase())
        member, scheduler = self.member, self.member.scheduler
        if self._held is not None:
            implicit = self._held
        else:
            implicit = alone and not member.in_transaction
            if not member.in_transaction:
                await self.begin(read_only=read_only)
        try:
            if self._held is None:
                await scheduler.take_turn(member, sql, kind, parameters)
            try:
                with member.statement(), record(sql, parameters, skip=not sql):
                    result = await work()
            finally:
                self._held = implicit if goes_on() else None
                if self._held is None:
                    scheduler.release(member)
        except BaseException:
            if implicit and self._held is None:
                await scheduler.rollback(member)
            raise
        if implicit and self._held is None:
            await scheduler.commit(member)
        return result
