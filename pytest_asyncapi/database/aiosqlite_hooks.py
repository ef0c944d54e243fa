"""The hook under aiosqlite: what `aiosqlite.connect()` gives while a test runs, where SQLAlchemy is not above it.

It gives a real `aiosqlite.Connection`. Each operation goes to the sandbox that is active at that moment, and with none
to a connection of its own, in the harness's database. A database in memory stays the app's own, and is left alone.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import sqlite3
import warnings
import weakref
from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import aiosqlite

from pytest_asyncapi.database import pools, raw, waits
from pytest_asyncapi.database.adapted import _abandon_later
from pytest_asyncapi.database.queries import record
from pytest_asyncapi.database.statements import Kind, kind_of, split_sqlite
from pytest_asyncapi.database.targets import Address, Target
from pytest_asyncapi.errors import SandboxClosed, ours

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from pytest_asyncapi.database.interception import Hooks

__tracebackhide__ = ours

_BEGINS = re.compile(r"\s*(?:INSERT|UPDATE|DELETE|REPLACE)\b", re.I)  # what sqlite3 begins a transaction for
_STATEMENTS = {"execute", "executemany", "_execute_insert", "_execute_fetchall"}
_OWN = {"isolation_level", "autocommit", "factory", "uri"}  # of sqlite3.connect(): not for a connection that is shared


class Hooked(aiosqlite.Connection):
    """A connection to the harness's database, virtual while a sandbox is active."""

    _asyncapi_seat: raw.Seat
    _asyncapi_options: dict[str, Any]
    _asyncapi_closed = False
    _asyncapi_row_factory: Any = None
    _asyncapi_level: Any = ""

    def _asyncapi_take(self, place: raw.Place, options: dict[str, Any]) -> None:
        self._asyncapi_seat = raw.Seat(place)
        self._asyncapi_options = options
        self._asyncapi_level = options.get("isolation_level", "")

    async def _asyncapi_choose(self) -> bool:
        """Whether the connection is virtual now; else it has one of its own."""
        if self._asyncapi_closed:
            raise ValueError("Connection closed")
        seat = self._asyncapi_seat
        if await seat.choose():
            if seat.member is not None and not hasattr(self, "_asyncapi_finalizer"):
                loop = asyncio.get_running_loop()
                self._asyncapi_finalizer = weakref.finalize(self, _abandon_later, seat.member, loop)
            return True
        if self._connection is None:
            target = seat.place.target()
            if target is not None:
                options = {**self._asyncapi_options, "uri": False}
                self._connector = partial(sqlite3.connect, target.database, **options)
            await _connect(self)
            self._conn.row_factory = self._asyncapi_row_factory
        return False

    async def _connect(self) -> aiosqlite.Connection:
        await self._asyncapi_choose()
        return self

    @property
    def _conn(self) -> sqlite3.Connection:
        link, member = self._asyncapi_seat.link, self._asyncapi_seat.member
        if member is not None and member.stale and not self._asyncapi_closed:
            raise SandboxClosed(waits.closed(member))
        if link is not None and link.alive and not self._asyncapi_closed:
            real: sqlite3.Connection = link.raw._conn
            return real
        if self._connection is None:
            raise ValueError("no active connection")
        return self._connection

    async def _execute(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        virtual = await self._asyncapi_choose()
        name = getattr(fn, "__name__", "")
        if isinstance(getattr(fn, "__self__", None), sqlite3.Connection):
            fn = getattr(self._conn, name)  # the sandbox may have begun or ended since it was asked for
        if not virtual:
            with record(args[0] if name in _STATEMENTS else "", args[1:] or None, skip=name not in _STATEMENTS):
                return await _execute(self, fn, *args, **kwargs)
        seat = self._asyncapi_seat
        match name:
            case "commit":
                return await seat.commit()
            case "rollback":
                return await seat.rollback()
            case "executescript":
                return await self._asyncapi_script(args[0])
            case _ if name in _STATEMENTS:
                return await self._asyncapi_statement(fn, *args, **kwargs)
        return self._asyncapi_dress(await seat.link.raw._execute(fn, *args, **kwargs))

    async def _asyncapi_statement(self, fn: Any, sql: str, *args: Any, **kwargs: Any) -> Any:
        seat, kind = self._asyncapi_seat, kind_of(sql)

        async def work() -> Any:
            return await seat.link.raw._execute(fn, sql, *args, **kwargs)

        match kind:
            case Kind.BEGIN:
                await seat.begin()
            case Kind.COMMIT:
                await seat.commit()
            case Kind.ROLLBACK:
                await seat.rollback()
            case _ if sql.lstrip()[:6].upper() == "PRAGMA" and self._asyncapi_untouched():
                return self._asyncapi_dress(await work())  # foreign_keys does nothing in a transaction
            case _:
                return self._asyncapi_dress(
                    await seat.run(
                        sql, kind, work, parameters=args[0] if args else None, alone=not self._asyncapi_begins(sql)
                    )
                )
        return self._asyncapi_dress(await seat.link.raw._execute(self._conn.cursor))

    async def _asyncapi_script(self, script: str) -> Any:
        """sqlite3 would commit first; a script of the app must not end the outer transaction."""
        await self._asyncapi_seat.commit()
        cursor = await self._asyncapi_seat.link.raw._execute(self._conn.cursor)
        for statement in split_sqlite(script):
            await self._asyncapi_statement(cursor.execute, statement)
        return self._asyncapi_dress(cursor)

    def _asyncapi_untouched(self) -> bool:
        member = self._asyncapi_seat.member
        return member is not None and not member.scheduler.begun

    def _asyncapi_begins(self, sql: str) -> bool:
        """Whether sqlite3 would begin a transaction for this statement, and leave it open."""
        mode = self._asyncapi_options.get("autocommit")  # of Python 3.12
        if mode in (True, False):
            return not mode
        return self._asyncapi_level is not None and _BEGINS.match(sql) is not None

    def _asyncapi_dress(self, found: Any) -> Any:
        if isinstance(found, sqlite3.Cursor):
            found.row_factory = self._asyncapi_row_factory
        return found

    def _execute_insert(self, sql: str, parameters: Any) -> Any:
        cursor = self._asyncapi_dress(self._conn.cursor())
        cursor.execute(sql, parameters)
        cursor.execute("SELECT last_insert_rowid()")
        return cursor.fetchone()

    def _execute_fetchall(self, sql: str, parameters: Any) -> Any:
        return self._asyncapi_dress(self._conn.cursor()).execute(sql, parameters).fetchall()

    # ---- what must not reach a connection that is shared
    @property
    def in_transaction(self) -> bool:
        seat = self._asyncapi_seat
        return seat.in_transaction if seat.link is not None else self._conn.in_transaction

    @property
    def isolation_level(self) -> Any:
        return self._asyncapi_level

    @isolation_level.setter
    def isolation_level(self, value: Any) -> None:
        self._asyncapi_level = self._asyncapi_options["isolation_level"] = value
        if self._connection is not None:
            self._connection.isolation_level = value

    @property
    def row_factory(self) -> Any:
        return self._asyncapi_row_factory

    @row_factory.setter
    def row_factory(self, factory: Any) -> None:
        self._asyncapi_row_factory = factory
        if self._connection is not None:
            self._connection.row_factory = factory

    async def close(self) -> None:
        if self._asyncapi_closed:
            return
        self._asyncapi_closed = True
        await self._asyncapi_seat.leave()
        if self._connection is not None:
            await _execute(self, self._connection.close)
        self._connection = None
        future = _stop(self)
        if future:
            await future

    def __del__(self) -> None:
        if not self._asyncapi_closed and self._running:
            text = f"{self!r} was deleted before being closed. Please use 'async with' or '.close()'."
            warnings.warn(text, ResourceWarning, stacklevel=1)
            _stop(self)


_Connection: Any = aiosqlite.Connection
_connect = _Connection._connect
_execute = _Connection._execute
_stop = getattr(_Connection, "stop", None) or _Connection._stop_running  # private before aiosqlite 0.22


@lru_cache(maxsize=64)
def _hooked(kind: type) -> type:
    return Hooked if kind is aiosqlite.Connection else type(kind.__name__, (Hooked, kind), {})


def attach(hooks: Hooks) -> Callable[[], None]:
    """Put the hook in place; the returned function takes it away."""

    async def connect(connection: Any) -> Any:
        called = inspect.getclosurevars(connection._connector).nonlocals
        if hooks.in_sqlalchemy.get() or raw.opening.get() or "database" not in called:
            return await _connect(connection)
        database, options = called["database"], dict(called.get("kwargs", {}))
        name = database.decode() if isinstance(database, bytes) else str(database)
        address = Address("sqlite", "aiosqlite", database=name)
        if address.in_memory:
            return await _connect(connection)
        kept = {key: value for key, value in options.items() if key not in _OWN}
        place = raw.Place(hooks, address, partial(_engine, name, kept))
        connection.__class__ = _hooked(connection.__class__)
        connection._asyncapi_take(place, options)
        return await connection._connect()

    initialize = _Connection.__init__

    def init(connection: Any, *args: Any, **options: Any) -> None:
        initialize(connection, *args, **options)
        thread: Any = getattr(connection, "_thread", connection)  # before aiosqlite 0.22 it was a thread itself
        thread.daemon = True  # one that a failing test leaves open must not keep the run from its end

    _Connection._connect = connect
    _Connection.__init__ = init

    def detach() -> None:
        _Connection._connect = _connect
        _Connection.__init__ = initialize

    return detach


def _engine(name: str, options: dict[str, Any], target: Target | None) -> AsyncEngine:
    from sqlalchemy import URL
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    url = URL.create("sqlite+aiosqlite", database=target.database if target is not None else name)
    return pools.our_own(create_async_engine(url, poolclass=NullPool, connect_args=options))
