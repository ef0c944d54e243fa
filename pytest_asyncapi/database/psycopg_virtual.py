"""A connection of psycopg that shares the one of a sandbox: a real `AsyncConnection` over a PGconn that is not its own.

Everything that psycopg sends passes `wait()`, as a generator that has not begun. What it is about to do is told from
that generator's name and arguments; what would begin or end a transaction is done by the sandbox in its place.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from functools import lru_cache
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg._preparing import PrepareManager
from psycopg.pq import TransactionStatus

from pytest_asyncapi.database import raw, waits
from pytest_asyncapi.database.adapted import _abandon_later
from pytest_asyncapi.database.frames import cancel_once
from pytest_asyncapi.database.statements import Kind, asked_level, bearable, is_script, kind_of, reads_only, split
from pytest_asyncapi.errors import SandboxClosed, SandboxError, ours

__tracebackhide__ = ours

_STATEMENT = ("query", "statement")  # how generators call what they run
_FIRST_NAMES = itertools.count(1)


class Statements(PrepareManager):
    """The prepared statements of one virtual connection; their names are its own, and it deallocates no others."""

    def __init__(self) -> None:
        super().__init__()
        self._prepared_idx = next(_FIRST_NAMES) * 1_000_000

    def clear(self) -> bool:
        return False

    def _should_discard(self, *args: Any) -> bool:
        return False


class Status:
    """What psycopg_pool sees of a virtual connection's PGconn: the status of its own transaction."""

    def __init__(self, connection: Virtual) -> None:
        self._connection = connection

    @property
    def transaction_status(self) -> TransactionStatus:
        connection = self._connection
        if connection.closed:
            return TransactionStatus.UNKNOWN
        return TransactionStatus.INTRANS if connection._asyncapi_seat.in_transaction else TransactionStatus.IDLE

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection._asyncapi_pgconn, name)


class Virtual(AsyncConnection[Any]):
    """A connection whose statements take their turn on the sandbox's."""

    _asyncapi_pgconn: Any = None
    _asyncapi_seat: raw.Seat

    def __init__(self, seat: raw.Seat) -> None:
        pgconn = seat.link.raw.pgconn
        handlers = pgconn.notice_handler, pgconn.notify_handler
        super().__init__(pgconn)
        pgconn.notice_handler, pgconn.notify_handler = handlers
        self._prepared = Statements()
        self._asyncapi_seat = seat
        assert seat.member is not None
        self._finalizer = weakref.finalize(self, _abandon_later, seat.member, asyncio.get_running_loop())

    @property
    def pgconn(self) -> Any:
        if sys._getframe(1).f_globals.get("__name__", "").startswith("psycopg_pool"):
            return Status(self)
        return self._asyncapi_pgconn

    @pgconn.setter
    def pgconn(self, pgconn: Any) -> None:
        self._asyncapi_pgconn = pgconn

    # ---- its life
    @property
    def closed(self) -> bool:
        return self._closed or self.broken

    @property
    def broken(self) -> bool:
        seat = self._asyncapi_seat
        return not self._closed and not seat.link.alive

    async def close(self) -> None:
        if self.closed:
            return
        pool = getattr(self, "_pool", None)
        if pool and getattr(pool, "close_returns", False):
            await pool.putconn(self)
            return
        self._closed = True
        await self._asyncapi_seat.leave()

    def _check_connection_ok(self) -> None:
        member = self._asyncapi_seat.member
        if member is not None and member.stale:
            raise SandboxClosed(waits.closed(member))
        if self._closed:
            raise psycopg.OperationalError("the connection is closed")
        super()._check_connection_ok()

    # ---- what psycopg asks of the transaction
    def _start_query(self) -> Iterator[Any]:  # type: ignore[override]
        yield from ()  # the sandbox has begun it

    def _check_intrans_gen(self, attribute: str) -> Iterator[Any]:  # type: ignore[override]
        if self._asyncapi_seat.in_transaction:
            raise psycopg.ProgrammingError(f"can't change {attribute!r} now: connection in transaction status INTRANS")
        yield from ()

    # ---- modes that would take the connection from everybody
    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator[Any]:
        """Statements are sent one by one."""
        yield _NoPipeline()

    @asynccontextmanager
    async def _pipeline_nolock(self) -> AsyncIterator[Any]:
        yield _NoPipeline()

    async def notifies(self, *, timeout: float | None = None, stop_after: int | None = None) -> Any:
        """There are none: the outer transaction is never committed."""
        if timeout is None:
            await asyncio.Event().wait()
        else:
            await asyncio.sleep(timeout)
        nothing: list[psycopg.Notify] = []
        for each in nothing:
            yield each

    # ---- everything that is sent
    async def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
        seat = self._asyncapi_seat
        name, given = asked(gen)
        if name.startswith("_set_"):
            return _run_out(gen)
        if name in {"_commit_gen", "_rollback_gen"}:
            if self._num_transactions or self._tpc:
                return _run_out(gen)  # psycopg's own error
            gen.close()
            return await (seat.commit() if name == "_commit_gen" else seat.rollback())
        if name.startswith("_tpc_"):
            raise SandboxError(waits.two_phase())
        if not await seat.choose():
            raise SandboxClosed(waits.closed(seat.member))  # type: ignore[arg-type]
        if name == "_enter_gen" and not seat.in_transaction:
            gen.close()
            return await self._asyncapi_enter(given["self"])
        if name == "_exit_gen" and given["self"]._outer_transaction:
            gen.close()
            return await self._asyncapi_exit(given["self"], given["exc_val"])
        if name in {"_enter_gen", "_exit_gen"}:
            return await self._asyncapi_send(gen, "", Kind.SAVEPOINT, None, args, options)
        sql = self._asyncapi_text(next((given[each] for each in _STATEMENT if each in given), ""))
        parameters = given.get("params", given.get("params_seq"))
        cursor = given.get("self")
        if parameters is None and is_script(sql):
            gen.close()
            for statement in split(sql):
                await self.wait(cursor._execute_gen(statement))  # type: ignore[union-attr]
            return None
        match kind_of(sql):
            case Kind.BEGIN:
                gen.close()
                self._asyncapi_warn(asked_level(sql))
                return await seat.begin(read_only=reads_only(sql))
            case Kind.COMMIT:
                gen.close()
                return await seat.commit()
            case Kind.ROLLBACK:
                gen.close()
                return await seat.rollback()
            case kind:
                if bearable(sql) != sql:
                    gen.close()
                    self._asyncapi_warn(asked_level(sql))
                    gen = cursor._execute_gen(bearable(sql))  # type: ignore[union-attr]
                elif name == "_executemany_gen_pipeline":
                    gen.close()
                    gen = cursor._executemany_gen_no_pipeline(  # type: ignore[union-attr]
                        given["query"], given["params_seq"], given["returning"]
                    )
                return await self._asyncapi_send(gen, sql, kind, parameters, args, options)

    async def _asyncapi_send(
        self, gen: Any, sql: str, kind: Kind, parameters: Any, args: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        self._asyncapi_warn(getattr(self._isolation_level, "name", None))
        pgconn = self._asyncapi_pgconn
        return await self._asyncapi_seat.run(
            sql,
            kind,
            lambda: cancel_once(super(Virtual, self).wait(gen, *args, **options)),
            parameters=parameters,
            alone=self._autocommit,
            read_only=bool(self._read_only),
            goes_on=lambda: pgconn.transaction_status == TransactionStatus.ACTIVE,
        )

    async def _asyncapi_enter(self, transaction: Any) -> None:
        """Begin what `async with connection.transaction()` takes for the outer transaction."""
        if getattr(transaction, "_entered", False):  # asked by 3.2 in the generator, by 3.3 before it
            raise TypeError("transaction blocks can be used only once")
        self._asyncapi_warn(getattr(self._isolation_level, "name", None))
        await self._asyncapi_seat.begin(read_only=bool(self._read_only))
        _mark(transaction, "ACTIVE")
        transaction._outer_transaction = True
        transaction._stack_index = self._num_transactions
        self._num_transactions += 1
        if transaction.savepoint_name:
            quoted = psycopg.sql.Identifier(transaction.savepoint_name).as_string(self)
            await self._asyncapi_send(self._exec_command(f"SAVEPOINT {quoted}"), "", Kind.SAVEPOINT, None, (), {})

    async def _asyncapi_exit(self, transaction: Any, error: BaseException | None) -> bool:
        keeps = error is None and not transaction.force_rollback
        asked = isinstance(error, psycopg.Rollback)
        nesting = transaction._pop_savepoint("commit" if keeps else "rollback")
        if keeps:
            _mark(transaction, "COMMITTED")
        else:
            explicit = asked or transaction.force_rollback
            _mark(transaction, "ROLLED_BACK_EXPLICITLY" if explicit else "ROLLED_BACK_WITH_ERROR")
        if nesting:
            raise nesting
        if keeps:
            await self._asyncapi_seat.commit()
            return False
        with suppress(psycopg.Error):
            await self._asyncapi_seat.rollback()
        return asked and getattr(error, "transaction", None) in {None, transaction}

    def _asyncapi_text(self, query: Any) -> str:
        if isinstance(query, str):
            return query
        if isinstance(query, bytes):
            return query.decode()
        as_string = getattr(query, "as_string", None) or getattr(psycopg.sql, "as_string", None)
        if hasattr(query, "as_string"):
            return str(query.as_string(self))
        return str(as_string(query, self)) if as_string is not None else str(query)

    def _asyncapi_warn(self, level: str | None) -> None:
        member = self._asyncapi_seat.member
        if level is not None and level in {"SERIALIZABLE", "REPEATABLE READ", "REPEATABLE_READ"} and member is not None:
            member.scheduler.warn_once(waits.other_isolation(level))


class _NoPipeline:
    async def sync(self) -> None:
        """Everything has been sent already."""


@lru_cache(maxsize=64)
def virtual(kind: Any) -> type[Virtual]:
    """The virtual connection of a class of connections."""
    return Virtual if kind is AsyncConnection else type(kind.__name__, (Virtual, kind), {})


def asked(gen: Any) -> tuple[str, dict[str, Any]]:
    """What a generator of psycopg is about to do; those of its C parts have no Python frame."""
    frame = getattr(gen, "gi_frame", None)
    return ("", {}) if frame is None else (frame.f_code.co_name, dict(frame.f_locals))


def _mark(transaction: Any, status: str) -> None:
    """Tell a transaction block where it stands: by its status since psycopg 3.3, by two flags before."""
    states = getattr(transaction, "Status", None)
    if states is not None:
        transaction.status = states[status]
    else:
        transaction._entered, transaction._exited = True, status != "ACTIVE"


def _run_out(gen: Any) -> Any:
    """A generator that sends nothing."""
    try:
        while True:
            next(gen)
    except StopIteration as end:
        return end.value
