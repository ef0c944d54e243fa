"""A connection of asyncpg that is not one: a stand-in for the protocol object that `asyncpg.Connection` talks to.

`asyncpg.Connection` reaches the server through a dozen methods of its protocol, so transaction(), cursor(), prepare(),
COPY, time-outs and subclasses work as they do over this one.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg

from pytest_asyncapi.database import waits
from pytest_asyncapi.database.asyncpg_link import AsyncpgLink, SettingsView
from pytest_asyncapi.database.frames import Member
from pytest_asyncapi.database.queries import record
from pytest_asyncapi.database.statements import Kind, asked_level, bearable, is_script, kind_of, reads_only, split
from pytest_asyncapi.errors import SandboxClosed, SandboxError

if TYPE_CHECKING:
    from pytest_asyncapi.database.asyncpg_hooks import Opener

_SESSION_RESET = re.compile(
    r"\s*(?:DISCARD\s+ALL|DEALLOCATE\s+(?:PREPARE\s+)?ALL|RESET\s+ALL|UNLISTEN\s+\*|CLOSE\s+ALL)", re.I
)


class VirtualProtocol:
    """Stands between an `asyncpg.Connection` and the protocol object of whatever connection is behind it now."""

    def __init__(self, opener: Opener, link: AsyncpgLink, member: Member | None) -> None:
        self._opener = opener
        self._link = link
        self._member = member
        self._own: AsyncpgLink | None = link if member is None else None
        self._view = SettingsView(link.protocol.get_settings())
        self._names: set[str] = set()
        self._closed = False
        self._busy = False
        self._connection: Callable[[], Any] = lambda: None
        self._unnamed = 0
        self.queries_count = 0

    # ---- what the connection asks without talking to the server
    def set_connection(self, connection: Any) -> None:
        self._connection = weakref.ref(connection)

    def get_settings(self) -> SettingsView:
        return self._view

    def get_record_class(self) -> type:
        return self._opener.record_class

    def is_in_transaction(self) -> bool:
        if self._member is not None:
            return self._member.in_transaction
        return bool(self._link.protocol.is_in_transaction())

    def is_connected(self) -> bool:
        return not self._closed and (self._link.alive or (self._member is not None and self._member.stale))

    def is_closed(self) -> bool:
        return self._closed

    def _get_timeout(self, timeout: Any) -> Any:
        return self._link.protocol._get_timeout(self._limit(timeout))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link.protocol, name)

    # ---- operations
    async def prepare(self, name: str, query: str, timeout: Any, **options: Any) -> Any:
        if not name:  # an unnamed statement would be replaced by the next virtual connection
            self._unnamed += 1
            name = f"__asyncapi_{id(self):x}_{self._unnamed}__"
        async with self._operation("", Kind.READ) as protocol:
            statement = await protocol.prepare(name, self._bearable(query), self._limit(timeout), **options)
            self._know(name)
            return statement

    async def bind_execute(
        self, state: Any, args: Any, portal_name: str, limit: int, return_extra: bool, timeout: Any
    ) -> Any:
        await self._choose_link()
        if self._member is not None and (answer := await self._verb(state.query)) is not None:
            return ([], answer.encode(), True) if return_extra else []
        async with self._operation(state.query, statement=state, parameters=args) as protocol:
            return await protocol.bind_execute(state, args, portal_name, limit, return_extra, self._limit(timeout))

    async def bind_execute_many(
        self, state: Any, args: Any, portal_name: str, timeout: Any, *more: Any, **options: Any
    ) -> Any:
        async with self._operation(state.query, statement=state, parameters=args) as protocol:
            return await protocol.bind_execute_many(state, args, portal_name, self._limit(timeout), *more, **options)

    async def bind(self, state: Any, args: Any, portal_name: str, timeout: Any) -> Any:
        async with self._operation(state.query, statement=state, parameters=args) as protocol:
            return await protocol.bind(state, args, portal_name, self._limit(timeout))

    async def execute(self, state: Any, portal_name: str, limit: int, return_extra: Any, timeout: Any) -> Any:
        async with self._operation("", Kind.READ) as protocol:
            return await protocol.execute(state, portal_name, limit, return_extra, self._limit(timeout))

    async def copy_in(self, copy_stmt: str, *args: Any) -> Any:
        async with self._operation(copy_stmt) as protocol:
            return await protocol.copy_in(copy_stmt, *args[:-1], self._limit(args[-1]))

    async def copy_out(self, copy_stmt: str, sink: Any, timeout: Any) -> Any:
        async with self._operation(copy_stmt) as protocol:
            return await protocol.copy_out(copy_stmt, sink, self._limit(timeout))

    async def close_portal(self, portal_name: str, timeout: Any) -> Any:
        async with self._wire() as protocol:
            return await protocol.close_portal(portal_name, timeout)

    async def close_statement(self, state: Any, timeout: Any) -> Any:
        self._names.discard(state.name)
        self._link.statements.discard(state.name)
        async with self._wire() as protocol:
            return await protocol.close_statement(state, timeout)

    async def query(self, query: str, timeout: Any) -> Any:
        """A simple query: also the one that transactions of asyncpg begin and end with."""
        if self._member is not None and self._member.stale and kind_of(query) is Kind.ROLLBACK:
            self._member.stale, self._closed = False, True
            return "ROLLBACK"
        await self._choose_link()
        if self._member is None:
            return await self._recorded(query, self._link.protocol.query, query, self._limit(timeout))
        if is_script(query):
            answer = None
            for statement in split(query):
                answer = await self._simple(statement, timeout)
            return answer
        return await self._simple(query, timeout)

    async def close(self, timeout: Any = None) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            if self._member is not None and self._member.in_transaction:
                await self._member.scheduler.rollback(self._member)
        finally:
            self._drop()
        if self._own is not None:
            await self._own.protocol.close(timeout)

    def abort(self) -> None:
        self._closed = True
        if self._member is not None:
            self._member.scheduler.abandon(self._member)
        self._drop()
        if self._own is not None:
            self._own.protocol.abort()

    def retire(self) -> None:
        """The connection behind it goes away with the event loop: asyncpg need not complain that nobody closed it."""
        self._drop()
        self._closed = self._member is None or not self._member.stale  # one that was left in a transaction says so

    def __del__(self) -> None:
        if not self._closed:
            self._drop()

    def describe(self, label: str, *, transparent: bool) -> Member | None:
        """Name it in messages; a transparent one is the test's own."""
        if self._member is not None:
            self._member.label, self._member.transparent = label, transparent
        return self._member

    def own_link(self) -> None:
        """Let the connection that we opened for ourselves speak to ours: notifications, cancellations."""
        connection = self._connection()
        if self._own is not None and connection is not None:
            self._own.give_to(connection)

    # ---- how it is done
    async def _simple(self, query: str, timeout: Any) -> Any:
        answer = await self._verb(query)
        if answer is not None:
            return answer
        async with self._operation(query) as protocol:
            return await protocol.query(self._bearable(query), self._limit(timeout))

    async def _verb(self, query: str) -> str | None:
        """Do what is done to a transaction or a session as a whole; None when `query` is something else."""
        assert self._member is not None
        match kind_of(query):
            case Kind.BEGIN:
                await self._begin(query)
                return "BEGIN"
            case Kind.COMMIT:
                return await self._member.scheduler.commit(self._member)
            case Kind.ROLLBACK:
                return await self._member.scheduler.rollback(self._member)
        if _SESSION_RESET.match(query) or query == self._reset_query():
            return "RESET"  # of the whole session, which others use too
        return None

    async def _begin(self, query: str) -> None:
        assert self._member is not None
        self._warn_of_level(query)
        try:
            await self._member.scheduler.begin(self._member, read_only=reads_only(query))
        except BaseException:
            # asyncpg notes the transaction before BEGIN, and would make every later one a savepoint of it
            connection = self._connection()
            if connection is not None:
                connection._top_xact = None
            raise

    @asynccontextmanager
    async def _operation(
        self, sql: str, kind: Kind | None = None, *, statement: Any = None, parameters: Any = None
    ) -> AsyncIterator[Any]:
        """Have the link for one operation; outside of a transaction that is a transaction of its own."""
        if self._closed:
            raise asyncpg.InterfaceError("connection is closed")
        if self._busy:
            raise asyncpg.InterfaceError("cannot perform operation: another operation is in progress")
        self._busy = True
        self.queries_count += 1
        try:
            await self._choose_link()
            with record(sql, parameters, skip=not sql or self._opener.recorded_elsewhere):
                if self._member is None:
                    await self._ensure_prepared(statement)
                    yield self._link.protocol
                    return
                async with self._turn(self._member, sql, kind or kind_of(sql), parameters):
                    self._link.use(self._view)
                    await self._ensure_prepared(statement)
                    yield self._link.protocol
        finally:
            self._busy = False

    @asynccontextmanager
    async def _turn(self, member: Member, sql: str, kind: Kind, parameters: Any) -> AsyncIterator[None]:
        scheduler = member.scheduler
        implicit = not member.in_transaction
        if kind is Kind.TWO_PHASE:
            raise SandboxError(waits.two_phase())
        if implicit:
            await scheduler.begin(member)
        try:
            async with scheduler.turn(member, sql, kind, parameters):
                yield
        except BaseException:
            if implicit:
                await scheduler.rollback(member)
            raise
        if implicit:
            await scheduler.commit(member)

    @asynccontextmanager
    async def _wire(self) -> AsyncIterator[Any]:
        if self._member is None:
            yield self._link.protocol
        else:
            async with self._member.scheduler.wire(self._member):
                yield self._link.protocol

    async def _recorded(self, sql: str, call: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        with record(sql, None, skip=self._opener.recorded_elsewhere):
            return await call(*args)

    async def _choose_link(self) -> None:
        """Go to the sandbox that is active now, or to a connection of our own; never in the middle of a transaction."""
        if self._member is not None and self._member.stale:
            raise SandboxClosed(waits.closed(self._member))
        if self.is_in_transaction():
            return
        chosen = await self._opener.sandboxed(self._member)
        if chosen is not None:
            link, self._member = chosen
        else:
            if self._own is None:
                self._own = await self._opener.open()
                self.own_link()
            link, self._member = self._own, None
        if link is not self._link:
            self._link = link
            self._view.real = link.protocol.get_settings()
            self._view.changed = True
            connection = self._connection()
            if connection is not None:
                connection._drop_local_statement_cache()

    async def _ensure_prepared(self, state: Any) -> None:
        """A statement that was prepared on another link is prepared on this one too, under the same name."""
        if state is not None and state.name not in self._link.statements:
            await self._link.protocol.prepare(
                state.name, self._bearable(state.query), self._limit(None), record_class=state.record_class
            )
            self._know(state.name)

    def _know(self, name: str) -> None:
        self._names.add(name)
        self._link.statements.add(name)

    def _drop(self) -> None:
        self._link.unused.extend(self._names)
        self._names.clear()

    def _limit(self, timeout: Any) -> Any:
        connection = self._connection()
        return connection._config.command_timeout if timeout is None and connection is not None else timeout

    def _bearable(self, query: str) -> str:
        if self._member is None:
            return query
        self._warn_of_level(query)
        return bearable(query)

    def _warn_of_level(self, query: str) -> None:
        level = asked_level(query)
        if level is not None and self._member is not None:
            self._member.scheduler.warn_once(waits.other_isolation(level))

    def _reset_query(self) -> str | None:
        connection = self._connection()
        if connection is None:
            return None
        ask = getattr(connection, "get_reset_query", None) or connection._get_reset_query  # before asyncpg 0.30
        query: str = ask()
        return query
