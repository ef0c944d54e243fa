"""Virtual connections for the drivers that SQLAlchemy adapts to asyncio: aiosqlite and psycopg.

The dialect sees a `VirtualConnection` in place of the adapted one. Its begin is the first statement, its commit() and
rollback() arrive from the engine, and all talk to the one `AdaptedLink` of the sandbox.
"""

from __future__ import annotations

import asyncio
import sqlite3
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pytest_asyncapi.database import waits
from pytest_asyncapi.database.frames import Member, cancel_once
from pytest_asyncapi.database.greenlets import await_, greenlet_spawn
from pytest_asyncapi.database.statements import Kind, asked_level, bearable, is_script, kind_of, split, split_sqlite
from pytest_asyncapi.errors import SandboxError

_HAS_DEFERRABLE = {
    "postgresql": "SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE condeferrable)",
    "sqlite": "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE sql LIKE '%DEFERRABLE INITIALLY DEFERRED%')",
}
_CHECK = ("SAVEPOINT asyncapi_check", "SET CONSTRAINTS ALL IMMEDIATE")
_UNCHECK = ("ROLLBACK TO SAVEPOINT asyncapi_check", "RELEASE SAVEPOINT asyncapi_check")


class AdaptedLink:
    """The physical connection: what the app's own pool would have made, its connect listeners run.

    `record` is SQLAlchemy's entry for it in its pool; `give_back` is called in the end.
    """

    def __init__(self, record: Any, dialect: Any, name: str, give_back: Callable[[], None], held: Any = None) -> None:
        self.record = record
        self.connection = record.dbapi_connection
        self.dialect = dialect
        self.driver = dialect.driver
        self.name = name
        self.held = held
        """Keeps the place of an in-memory database in the app's pool."""
        self.exclusive = held is not None
        self.deferrable = False
        self.sqlite = dialect.name == "sqlite"
        self.autocommit = False
        """Whether the app's connections commit each statement, unless they are told otherwise."""
        self.reads_begin = True
        """Whether a mere SELECT begins a transaction."""
        self._give_back = give_back
        self._restore: Callable[[], None] = lambda: None
        self._killed = False

    @property
    def alive(self) -> bool:
        if self._killed or self.record.dbapi_connection is not self.connection:
            return False
        if self.sqlite:
            return getattr(self.raw, "_connection", self) is not None
        return not self.connection.closed

    @property
    def raw(self) -> Any:
        """The driver's own connection."""
        return self.record.driver_connection

    def prepare(self) -> None:
        """Take the control of transactions from the driver. Runs in SQLAlchemy's greenlet."""
        if self.sqlite:
            self._prepare_sqlite()
        else:
            self._prepare_psycopg()
        cursor = self.connection.cursor()
        cursor.execute(_HAS_DEFERRABLE.get(self.dialect.name, "SELECT 0"))
        self.deferrable = bool(cursor.fetchone()[0])
        cursor.close()

    def _prepare_sqlite(self) -> None:
        mode = self._in_thread(lambda real: getattr(real, "autocommit", None))
        if mode is False:  # connect_args={"autocommit": False}, from Python 3.12: a transaction is always open
            self._in_thread(lambda real: setattr(real, "autocommit", True))
            self._restore = lambda: self._in_thread(lambda real: setattr(real, "autocommit", False))
            return
        level = self.connection.isolation_level
        self.autocommit = level is None or mode is True
        self.reads_begin = False  # the legacy mode: only what writes begins a transaction
        if level is not None:
            self.connection.isolation_level = None
            self._restore = lambda: setattr(self.connection, "isolation_level", level)

    def _prepare_psycopg(self) -> None:
        autocommit = self.autocommit = bool(self.connection.autocommit)
        if not autocommit:
            self.connection.set_autocommit(True)
        wait = self.raw.wait

        async def wait_to_the_end(*args: Any, **options: Any) -> Any:
            return await cancel_once(wait(*args, **options))

        def restore() -> None:
            del self.raw.wait
            self.connection.set_autocommit(autocommit)

        self.raw.wait = wait_to_the_end
        self._restore = restore

    def _in_thread(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        return await_(self.raw._execute(lambda: work(self.raw._conn)))

    async def control(self, *statements: str) -> None:
        if self.sqlite:
            await self.raw._execute(lambda: [self.raw._conn.execute(statement) for statement in statements])
        else:
            await self.raw.execute("; ".join(statements))

    async def check_deferred(self) -> None:
        if not self.sqlite:
            await self.control(*_CHECK, *_UNCHECK)
            return

        def check() -> None:
            real = self.raw._conn
            if (
                real.execute("PRAGMA foreign_keys").fetchone()[0]
                and real.execute("PRAGMA foreign_key_check").fetchone()
            ):
                raise sqlite3.IntegrityError("FOREIGN KEY constraint failed")

        await self.raw._execute(check)

    def is_aborted(self, error: BaseException) -> bool:
        return getattr(error, "sqlstate", None) == "25P02"

    async def close(self) -> None:
        def close() -> None:
            self._restore()
            self._give_back()

        await greenlet_spawn(close)

    def kill(self) -> None:
        """Drop the connection: it was cut off in the middle of something."""
        self._killed = True
        if self.sqlite:
            stop = getattr(self.raw, "stop", None)
            if stop is not None:
                stop()
        else:
            self.raw.pgconn.finish()


class VirtualConnection:
    """What the dialect takes for its DBAPI connection; what it does not know itself, it asks the physical one."""

    def __init__(self, link: AdaptedLink, member: Member) -> None:
        self._link = link
        self._member = member
        self._busy = False
        self._autocommit = link.autocommit
        self._isolation_level: Any = ("" if not link.autocommit else None) if link.sqlite else None
        self._read_only = False
        # SQLAlchemy drops a connection that nobody gave back without closing it, where the driver cannot terminate
        self._finalizer = weakref.finalize(self, _abandon_later, member, asyncio.get_running_loop())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link.connection, name)

    # ---- what must not reach the physical connection, for it is shared
    @property
    def isolation_level(self) -> Any:
        return self._isolation_level

    @isolation_level.setter
    def isolation_level(self, level: Any) -> None:
        self._isolation_level = level
        if self._link.sqlite:
            self._autocommit = level is None

    @property
    def autocommit(self) -> bool:
        return self._autocommit

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        self._autocommit = bool(value)

    @property
    def read_only(self) -> bool:
        return self._read_only

    def set_autocommit(self, value: bool) -> None:
        self._autocommit = bool(value)

    def set_isolation_level(self, level: Any) -> None:
        self._isolation_level = level
        name = str(getattr(level, "name", level or ""))
        if name in {"SERIALIZABLE", "REPEATABLE_READ"}:
            self._member.scheduler.warn_once(waits.other_isolation(name))

    def set_read_only(self, value: bool | None) -> None:
        self._read_only = bool(value)

    def set_deferrable(self, value: bool | None) -> None:
        """Only of interest to SERIALIZABLE transactions."""

    def tpc_begin(self, *args: Any) -> None:
        raise SandboxError(waits.two_phase())

    # ---- a DBAPI connection
    def cursor(self, *args: Any, **options: Any) -> VirtualCursor:
        if self._member.scheduler.closed:
            return VirtualCursor(
                self, _NoCursor()
            )  # SQLAlchemy wraps what is raised here, but not what execute() raises
        return VirtualCursor(self, self._link.connection.cursor(*args, **options))

    def execute(self, operation: str, parameters: Any = None) -> VirtualCursor:
        cursor = self.cursor()
        cursor.execute(operation, parameters)
        return cursor

    def commit(self) -> None:
        await_(self._member.scheduler.commit(self._member))

    def rollback(self) -> None:
        self._busy = False
        await_(self._member.scheduler.rollback(self._member))

    def close(self) -> None:
        self.rollback()

    def terminate(self) -> None:
        self._member.scheduler.abandon(self._member)

    def begin(self) -> None:
        await_(self._member.scheduler.begin(self._member, read_only=self._read_only))

    def bearable(self, sql: str) -> str:
        """The statement as it can run under a savepoint."""
        level = asked_level(sql)
        if level is not None:
            self._member.scheduler.warn_once(waits.other_isolation(level))
        return bearable(sql)

    def script(self, sql: str) -> list[str]:
        """The statements of a text that has to be run one by one; empty when it is one statement."""
        if not is_script(sql):
            return []
        pieces = split_sqlite(sql) if self._link.sqlite else split(sql)
        return pieces if len(pieces) > 1 else []

    @contextmanager
    def operation(self, sql: str, kind: Kind, parameters: Any = None) -> Iterator[None]:
        """Have the link for one operation; it begins the transaction where that is what the driver does."""
        if self._busy:
            raise self._link.dialect.loaded_dbapi.OperationalError(
                "another operation is in progress on this connection"
            )
        if kind is Kind.TWO_PHASE:
            raise SandboxError(waits.two_phase())
        self._busy = True
        try:
            member, scheduler = self._member, self._member.scheduler
            implicit = not member.in_transaction and (
                self._autocommit or (kind is Kind.READ and not self._link.reads_begin)
            )
            if not member.in_transaction:
                await_(scheduler.begin(member, read_only=self._read_only))
            try:
                await_(scheduler.take_turn(member, sql, kind, parameters))
                try:
                    with member.statement():
                        yield
                finally:
                    scheduler.release(member)
            except BaseException:
                if implicit:
                    await_(scheduler.rollback(member))
                raise
            if implicit:
                await_(scheduler.commit(member))
        finally:
            self._busy = False


class VirtualCursor:
    """A cursor whose statements take their turn."""

    def __init__(self, connection: VirtualConnection, real: Any) -> None:
        object.__setattr__(self, "_virtual", connection)
        object.__setattr__(self, "_real", real)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._real, name, value)

    def __iter__(self) -> Iterator[Any]:
        while (row := self.fetchone()) is not None:
            yield row

    def __enter__(self) -> VirtualCursor:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def execute(self, operation: str, parameters: Any = None) -> Any:
        virtual = self._virtual
        match kind_of(operation):
            case _ if parameters is None and (pieces := virtual.script(operation)):
                for piece in pieces:
                    self.execute(piece)
                return self
            case Kind.BEGIN:
                virtual.begin()
                return self
            case Kind.COMMIT:
                virtual.commit()
                return self
            case Kind.ROLLBACK:
                virtual.rollback()
                return self
            case kind:
                with virtual.operation(operation, kind, parameters):
                    operation = virtual.bearable(operation)
                    arguments = (operation,) if parameters is None else (operation, parameters)
                    return self._real.execute(*arguments)

    def executemany(self, operation: str, parameters: Any) -> Any:
        with self._virtual.operation(operation, kind_of(operation)):
            return self._real.executemany(operation, parameters)

    def executescript(self, script: str) -> VirtualCursor:
        """sqlite3 would commit first; a script of the app must not end the outer transaction."""
        self._virtual.commit()
        for statement in split_sqlite(script):
            self.execute(statement)
        return self

    def fetchone(self) -> Any:
        return self._fetch(self._real.fetchone)

    def fetchmany(self, *args: Any, **options: Any) -> Any:
        return self._fetch(self._real.fetchmany, *args, **options)

    def fetchall(self) -> Any:
        return self._fetch(self._real.fetchall)

    def close(self) -> None:
        self._real.close()

    async def _async_soft_close(self) -> None:
        soft_close = getattr(self._real, "_async_soft_close", None)
        if soft_close is not None:
            await soft_close()

    def _fetch(self, fetch: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if not getattr(self._real, "server_side", False):
            return fetch(*args, **options)  # the rows are here already
        with self._virtual.operation("", Kind.READ):
            return fetch(*args, **options)


class _NoCursor:
    """The cursor of a connection whose test has ended."""

    def close(self) -> None:
        """There is nothing to close."""


def _abandon_later(member: Member, loop: asyncio.AbstractEventLoop) -> None:
    """Roll back what was open on a connection that the garbage collector took, maybe in another thread."""
    if member.frame is not None and not loop.is_closed():
        loop.call_soon_threadsafe(member.scheduler.abandon, member)
