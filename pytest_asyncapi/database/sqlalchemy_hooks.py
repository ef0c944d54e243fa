"""The hooks in SQLAlchemy: where every checkout of every engine passes, and where every connection is made.

`Pool.connect` is the first: while a sandbox is active, it answers from a `SandboxPool` in place of the engine's pool.
So engines may be older or younger than the test, need no registry, and nothing has to be put back.
`DefaultDialect.connect` is the second: it has the arguments that the driver is about to get, and changes the address
in them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import URL, Engine
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import Pool, StaticPool
from sqlalchemy.pool.base import _ConnectionRecord

from pytest_asyncapi.database import raw
from pytest_asyncapi.database.adapted import AdaptedLink, VirtualConnection
from pytest_asyncapi.database.addresses import Peeked, address_of, redirected
from pytest_asyncapi.database.frames import Member
from pytest_asyncapi.database.greenlets import await_, greenlet_spawn
from pytest_asyncapi.database.interception import hooks as the_hooks
from pytest_asyncapi.database.sites import callers
from pytest_asyncapi.database.targets import MARK_QUERY, Address
from pytest_asyncapi.errors import SandboxError

if TYPE_CHECKING:
    from pytest_asyncapi.database.interception import Hooks
    from pytest_asyncapi.database.sandbox import Links, RollbackSandbox

_physical: ContextVar[bool] = ContextVar("pytest_asyncapi_database_physical", default=False)
_peeking: ContextVar[bool] = ContextVar("pytest_asyncapi_database_peeking", default=False)
_connect = Pool.connect
_OWN_CREATOR = "sqlalchemy.engine.create"  # where the creator of an engine comes from that the app gave none


class SandboxPool(Pool):
    """Hands out virtual connections in the place of an engine's pool, whose events, dialect and reset it shares."""

    def __init__(self, origin: Pool, *, transparent: bool = False) -> None:
        creator: Any = self._connect_virtual
        super().__init__(creator, dialect=origin._dialect, reset_on_return=origin._reset_on_return)
        self.__dict__["dispatch"] = origin.dispatch
        _lock_tasks(origin)
        self.origin = origin
        self.driver = str(origin._dialect.driver)  # type: ignore[union-attr]
        self.transparent = transparent
        self.label = "the test's session" if transparent else "SQLAlchemy connection"
        self._idle: list[Any] = []
        self._key: Any = None

    def _do_get(self) -> Any:
        sandbox = the_hooks.sandbox()
        if sandbox is None:
            raise SandboxError("this engine belongs to a test that has ended")
        while self._idle:
            record = self._idle.pop()
            if _rejoin(record, sandbox):
                return record
        if self.driver == "asyncpg":
            return _ConnectionRecord(self)  # the hook under asyncpg gives the virtual connection
        link: AdaptedLink = await_(self._link(sandbox))
        if link.held is not None:
            link.held.move_to(self.origin)
        record = _ConnectionRecord(self, connect=False)
        member = Member(sandbox.scheduler(link), self.label, transparent=self.transparent)
        record.dbapi_connection = VirtualConnection(link, member)
        record.info.update(link.record.info)
        record.fresh = True
        return record

    def _do_return_conn(self, record: Any) -> None:
        if record.dbapi_connection is not None:
            self._idle.append(record)

    def _connect_virtual(self, connection_record: Any) -> Any:
        connection = self.origin._invoke_creator(connection_record)
        _protocol(connection).describe(self.label, transparent=self.transparent)
        return connection

    def recreate(self) -> Pool:
        return self

    def dispose(self) -> None:
        self._idle.clear()

    def status(self) -> str:
        return f"SandboxPool({self.origin.status()})"

    # ---- the physical connection of aiosqlite and psycopg
    async def _link(self, sandbox: RollbackSandbox) -> AdaptedLink:
        key, address = self._where()
        return await sandbox.link(key, self.driver, functools.partial(self._open, address))

    def _where(self) -> tuple[Any, Address | None]:
        """Which database the engine means, without connecting to it."""
        address = _peek(self.origin)
        if address is None:
            return ("creator", self.origin._creator), None
        if address.in_memory and "cache=shared" not in address.database:
            return ("memory", self.origin._creator), address
        target = the_hooks.rule().target_for(address, _where())
        return target or address.place, address

    async def _open(self, address: Address | None) -> AdaptedLink:
        link: AdaptedLink = await greenlet_spawn(self._open_sync, address)
        return link

    def _open_sync(self, address: Address | None) -> AdaptedLink:
        origin = self.origin
        alone = isinstance(origin, StaticPool)  # its one connection may be the database
        pool = origin if alone else origin.recreate()
        token, bypass = _physical.set(True), raw.opening.set(True)
        try:  # the app's connect listeners run here, before the transaction begins
            record: Any = pool.connection if isinstance(pool, StaticPool) else _ConnectionRecord(pool)
            record.get_connection()
        finally:
            _physical.reset(token)
            raw.opening.reset(bypass)
        name = (address.database if address is not None else "") or ":memory:"
        held = Held(origin, record) if alone else None
        link = AdaptedLink(record, origin._dialect, name, held.give_back if held is not None else record.close, held)
        link.prepare()
        return link


class Held:
    """Sits in a StaticPool, whose one connection is its database, while a sandbox has that connection.

    An app that disposes of its engine at shut-down would close the sandbox's connection otherwise.
    """

    dbapi_connection = True  # what dispose() looks at

    def __init__(self, pool: Pool, record: Any) -> None:
        self._record = record
        self._homes = [pool]
        pool.__dict__["connection"] = self

    def move_to(self, pool: Pool) -> None:
        """The engine has another pool by now."""
        if "connection" not in pool.__dict__:
            pool.__dict__["connection"] = self
            self._homes.append(pool)

    def close(self) -> None:
        """What dispose() calls."""

    def give_back(self) -> None:
        """The sandbox is over: the pool has its connection again, unless it was disposed of."""
        homes = [pool for pool in self._homes if pool.__dict__.get("connection") is self]
        for pool in homes:
            pool.__dict__["connection"] = self._record
        if not homes:
            self._record.close()


def _lock_tasks(pool: Pool) -> None:
    """Let what listens to the first connection, and awaits under a lock, do so under a lock of tasks.

    An older SQLAlchemy 2.0 gives a pool that is made anew by dispose(), as the harness does it after a test with
    real connections, a thread's lock for it: two tasks that connect at once would stop the loop for good.
    """
    if "_asyncapi_locks_tasks" not in pool.__dict__:
        pool.__dict__["_asyncapi_locks_tasks"] = True
        for event in (pool.dispatch.first_connect, pool.dispatch.connect):
            event.for_modify(pool.dispatch)._set_asyncio()


def _protocol(connection: Any) -> Any:
    return connection._connection._protocol


def _rejoin(record: Any, sandbox: RollbackSandbox) -> bool:
    """Bring a virtual connection of an earlier checkout into the sandbox of now."""
    connection = record.dbapi_connection
    if connection is None:
        return False
    if not isinstance(connection, VirtualConnection):
        return bool(_protocol(connection).is_connected())  # it looks for its sandbox itself
    member, link = connection._member, connection._link
    if not link.alive or link not in list(sandbox.links):
        return False
    member.scheduler = sandbox.scheduler(link)
    member.stale = False
    return True


def _where() -> str:
    sites = callers(1)
    return str(sites[0]) if sites else ""


def _sandbox_pool(origin: Pool, links: Links, *, transparent: bool = False) -> SandboxPool:
    """The pool that stands in for `origin`; it lives as long as `origin`, or until the links are others."""
    name = "_asyncapi_transparent" if transparent else "_asyncapi_pool"
    kept: tuple[Links, SandboxPool] | None = origin.__dict__.get(name)
    if kept is not None and kept[0] is links:
        return kept[1]
    pool = SandboxPool(origin, transparent=transparent)
    origin.__dict__[name] = (links, pool)
    return pool


def transparent_engine(engine: AsyncEngine | URL | str, links: Links) -> AsyncEngine:
    """An engine whose connections are the test's own."""
    if not isinstance(engine, AsyncEngine):
        engine = create_async_engine(engine)
    sync = engine.sync_engine
    own = Engine(_sandbox_pool(sync.pool, links, transparent=True), sync.dialect, sync.url)
    own.dispatch._update(sync.dispatch)
    return AsyncEngine(own)


def attach(hooks: Hooks) -> Callable[[], None]:
    """Put the hooks in place; the returned function takes them away."""
    dialect_connect = DefaultDialect.connect

    def pool_connect(pool: Pool) -> Any:
        if isinstance(pool, SandboxPool) or _physical.get():
            return _connect(pool)
        if not hooks.active:
            if pool._dialect.is_async:
                _lock_tasks(pool)
            _refuse_held(pool)
            if (rule := hooks.rule()).objection() and (address := _peek(pool)) is not None:
                rule.target_for(address, _where())
            return _connect(pool)
        if not pool._dialect.is_async:
            _refuse_sync(pool)
            return _connect(pool)
        sandbox = hooks.sandbox()
        return _connect(pool if sandbox is None else _sandbox_pool(pool, sandbox.links))

    def plain_connect(dialect: Any, *args: Any, **options: Any) -> Any:
        token = hooks.in_sqlalchemy.set(True)  # the hooks under the drivers need not look again
        try:
            return dialect_connect(dialect, *args, **options)
        finally:
            hooks.in_sqlalchemy.reset(token)

    def connect(dialect: Any, *args: Any, **options: Any) -> Any:
        if dialect.driver == "asyncpg" and not _peeking.get():  # its own hook looks at the address
            return plain_connect(dialect, *args, **options)
        address = address_of(dialect, args, options)
        if _peeking.get():
            return Peeked(address)
        rule, where = hooks.rule(), _where()
        target = rule.target_for(address, where)
        if target is not None:
            args, options = redirected(dialect, args, options, target)
        connection = plain_connect(dialect, *args, **options)
        if target is None and rule.must_verify(address):
            try:
                cursor = connection.cursor()
                cursor.execute(MARK_QUERY)
                row = cursor.fetchone()
                cursor.close()
                connection.rollback()
                rule.verify(address, row[0] if row else None, where)
            except BaseException:
                connection.close()
                raise
        return connection

    Pool.connect = pool_connect  # type: ignore[method-assign, assignment]
    DefaultDialect.connect = connect  # type: ignore[method-assign, assignment]

    def detach() -> None:
        Pool.connect = _connect  # type: ignore[method-assign]
        DefaultDialect.connect = dialect_connect  # type: ignore[method-assign]

    return detach


def _peek(pool: Pool) -> Address | None:
    """Where an engine's pool would connect to; None when the app gave the engine a `creator=` of its own."""
    if getattr(pool._creator, "__module__", "") != _OWN_CREATOR:
        return None
    token = _peeking.set(True)
    try:
        peeked: Any = pool._invoke_creator(_ConnectionRecord(pool, connect=False))
    finally:
        _peeking.reset(token)
    return peeked.address if isinstance(peeked, Peeked) else None


def _refuse_held(pool: Pool) -> None:
    if isinstance(pool.__dict__.get("connection"), Held):
        raise SandboxError(
            "this in-memory database is one connection, which the sandbox of the test has at this moment. Step out of "
            "the sandbox with `async with db.outside()` before the test writes to it."
        )


def _refuse_sync(pool: Pool) -> None:
    """A synchronous engine cannot share the connection of a sandbox, and would really commit."""
    if not isinstance(pool._dialect, DefaultDialect):
        return  # a pool without an engine
    address = _peek(pool)
    if address.in_memory if address is not None else pool._dialect.name == "sqlite":
        return
    raise SandboxError(
        f"a synchronous engine connects to {address or pool._dialect.name} at {_where() or '(no line of yours)'}. "
        "A test that is isolated by rollback has one connection, which only asyncio code can share, so this one "
        "would really commit. Give the test real connections, which are reset afterwards: "
        '@pytest.mark.db(isolation="commit").'
    )
