"""The hook under psycopg: what its `connect()` functions and psycopg_pool give while a test runs.

Each connection goes to the harness's database. In a sandbox an async one is a virtual one of it; a synchronous one, and
one that was opened before the sandbox began, is refused there, for it would really commit.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable
from contextvars import ContextVar
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import psycopg
from psycopg import AsyncConnection, Connection

from pytest_asyncapi.database import pools, raw
from pytest_asyncapi.database.addresses import address_of_psycopg, to_psycopg
from pytest_asyncapi.database.psycopg_virtual import asked, virtual
from pytest_asyncapi.database.queries import record
from pytest_asyncapi.database.targets import MARK_QUERY, Address, Target
from pytest_asyncapi.errors import SandboxError, ours

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from pytest_asyncapi.database.interception import Hooks

__tracebackhide__ = ours

_seat: ContextVar[raw.Seat | None] = ContextVar("pytest_asyncapi_database_psycopg_seat", default=None)
_hooks: list[Hooks] = []
_classes: tuple[Any, Any] = (AsyncConnection, Connection)


_real: WeakSet[Any] = WeakSet()


class Guarded:
    """A real connection: its queries are logged, and it is not used while a sandbox is active."""

    _asyncapi_loop: asyncio.AbstractEventLoop | None = None
    _asyncapi_pool: Any = None  # the one of psycopg_pool that it is from
    _asyncapi_lender: Any = None

    @property
    def _pool(self) -> Any:
        """What psycopg_pool sets while it lends the connection, and only then."""
        return self._asyncapi_lender

    @_pool.setter
    def _pool(self, pool: Any) -> None:
        self._asyncapi_lender = pool
        self._asyncapi_pool = pool or self._asyncapi_pool

    def _asyncapi_guard(self, gen: Any) -> None:
        if not _hooks or not _hooks[-1].active or raw.opening.get():
            return
        ends = asked(gen)[0] in {"_commit_gen", "_rollback_gen"}
        if not ends and not raw.keeps_itself(getattr(self, "cursor_factory", None)):
            raise SandboxError(
                f"a connection of psycopg that was opened before the test is used at {raw.line() or '(no line)'}. "
                "A test that is isolated by rollback has one connection, and this one would really commit. Open it, or "
                "its pool, in the test (a lifespan of the test's own loop does), or give the test real connections: "
                '@pytest.mark.db(isolation="commit").'
            )

    def _asyncapi_record(self, gen: Any) -> Any:
        name, given = asked(gen)
        sql = given.get("query", given.get("statement", ""))
        parameters = given.get("params", given.get("params_seq"))
        return record(sql if isinstance(sql, str) else str(sql), parameters, skip=not sql or name.startswith("_set"))


class GuardedAsync(Guarded, AsyncConnection[Any]):
    async def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
        self._asyncapi_guard(gen)
        with self._asyncapi_record(gen):
            return await super().wait(gen, *args, **options)


class GuardedSync(Guarded, Connection[Any]):
    def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
        self._asyncapi_guard(gen)
        with self._asyncapi_record(gen):
            return super().wait(gen, *args, **options)


@lru_cache(maxsize=64)
def _guarded(kind: Any) -> Any:
    base = GuardedAsync if issubclass(kind, AsyncConnection) else GuardedSync
    return base if kind in {AsyncConnection, Connection} else type(kind.__name__, (base, kind), {})


def attach(hooks: Hooks) -> Callable[[], None]:
    """Put the hook in place; the returned function takes it away."""
    asynchronous, synchronous = _classes
    parameters_of = asynchronous._get_connection_params.__func__
    sync_parameters_of = synchronous._get_connection_params.__func__
    connect_gen = asynchronous._connect_gen.__func__
    verified: set[Address] = set()
    _hooks.append(hooks)

    async def parameters(cls: Any, /, conninfo: str = "", **options: Any) -> dict[str, Any]:
        params: dict[str, Any] = await parameters_of(cls, conninfo, **options)
        _seat.set(None)
        if hooks.in_sqlalchemy.get():
            return params
        address = address_of_psycopg(params)
        place = raw.Place(hooks, address, partial(_engine, params))
        if not raw.opening.get() and hooks.sandbox() is not None:
            seat = raw.Seat(place)
            await seat.choose()
            _seat.set(seat)
            target = place.target()  # psycopg looks the host up before it connects
            return params if target is None else to_psycopg(params, target)
        return redirect(place, params)

    def sync_parameters(cls: Any, /, conninfo: str = "", **options: Any) -> dict[str, Any]:
        params: dict[str, Any] = sync_parameters_of(cls, conninfo, **options)
        if hooks.in_sqlalchemy.get() or raw.opening.get():
            return params
        if hooks.active and not raw.keeps_itself(sys._getframe(1).f_locals.get("cursor_factory")):
            raise SandboxError(
                f"a synchronous connection of psycopg is opened at {raw.line() or '(no line of yours)'}. A test that "
                "is isolated by rollback has one connection, which only asyncio code can share, so this one would "
                'really commit. Give the test real connections: @pytest.mark.db(isolation="commit").'
            )
        return redirect(raw.Place(hooks, address_of_psycopg(params), partial(_engine, params)), params)

    def redirect(place: raw.Place, params: dict[str, Any]) -> dict[str, Any]:
        target, rule = place.target(), hooks.rule()
        if target is not None:
            return to_psycopg(params, target)
        if rule.must_verify(place.address) and place.address not in verified:
            token = raw.opening.set(True)
            try:
                with psycopg.connect(**params, autocommit=True) as connection:
                    row = connection.execute(MARK_QUERY).fetchone()
            finally:
                raw.opening.reset(token)
            rule.verify(place.address, row[0] if row else None, raw.line())
            verified.add(place.address)
        return params

    def open_connection(cls: Any, *args: Any, **options: Any) -> Any:
        seat = _seat.get()
        if seat is not None and issubclass(cls, AsyncConnection):
            _seat.set(None)
            return virtual(cls)(seat)
        own = hooks.in_sqlalchemy.get() or raw.opening.get()
        if own:
            return (yield from connect_gen(cls, *args, **options))
        connection = yield from connect_gen(_guarded(cls), *args, **options)
        connection._asyncapi_loop = asyncio.get_running_loop() if issubclass(cls, AsyncConnection) else None
        _real.add(connection)
        return connection

    asynchronous._get_connection_params = classmethod(parameters)
    synchronous._get_connection_params = classmethod(sync_parameters)
    for kind in _classes:
        kind._connect_gen = classmethod(open_connection)

    hooks.renewals.append(_renew_pools)

    def detach() -> None:
        hooks.renewals.remove(_renew_pools)
        asynchronous._get_connection_params = classmethod(parameters_of)
        synchronous._get_connection_params = classmethod(sync_parameters_of)
        for kind in _classes:
            del kind._connect_gen
        _hooks.remove(hooks)

    return detach


async def _renew_pools() -> None:
    """Have the pools of psycopg_pool replace their connections, which they do not look at before they lend them."""
    here = asyncio.get_running_loop()
    pooled = [each for each in list(_real) if each._asyncapi_pool is not None and each._asyncapi_loop in {None, here}]
    for connection in pooled:
        connection.pgconn.finish()
    for pool in {each._asyncapi_pool for each in pooled if not each._asyncapi_pool.closed}:
        await (pool.check() if inspect.iscoroutinefunction(pool.check) else asyncio.to_thread(pool.check))


def _engine(params: dict[str, Any], target: Target | None) -> AsyncEngine:
    """An engine whose connections are those that the app asked for, but for what each sets for itself."""
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    arguments = to_psycopg(params, target) if target is not None else params

    async def connect() -> Any:
        return await AsyncConnection.connect(**arguments)

    return pools.our_own(create_async_engine("postgresql+psycopg://", poolclass=NullPool, async_creator=connect))
