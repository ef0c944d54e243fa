"""`Database`: the test database during one test, in the isolation of that test. It is what the `db` fixture gives."""

from __future__ import annotations

import asyncio
import contextvars
import warnings
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from pytest_asyncapi.database import pools, waits
from pytest_asyncapi.database.home import Home
from pytest_asyncapi.database.interception import hooks
from pytest_asyncapi.database.naming import Key
from pytest_asyncapi.database.queries import Query, QueryLog
from pytest_asyncapi.database.sandbox import Links, RollbackSandbox
from pytest_asyncapi.database.statements import Kind, kind_of
from pytest_asyncapi.database.store import Store
from pytest_asyncapi.database.targets import Target, route
from pytest_asyncapi.errors import DatabaseError, SandboxWarning

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession


class Isolation(str):
    """How a test is kept apart from the others: `rollback`, `commit` or `database`; and `reason`, who says so."""

    __slots__ = ("reason",)
    reason: str

    def __new__(cls, name: str, reason: str = "the default") -> Isolation:
        self = super().__new__(cls, name)
        self.reason = reason
        return self

    def __repr__(self) -> str:
        return f"{str(self)!r} ({self.reason})"


class LoopDatabases:
    """What lives as long as one event loop: physical connections, and the engine of the test's own sessions."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.links = Links()
        self.seeded = False
        self.generation = home.generation
        self._engines: dict[str, AsyncEngine] = {}

    async def __aenter__(self) -> LoopDatabases:
        self.home.hold()
        await self.links.__aenter__()
        return self

    async def __aexit__(self, *exception: Any) -> None:
        try:
            await self.close_connections()
            if self.seeded:  # by a lifespan that this loop's tests have shared
                for store in self.home.stores:
                    if (await store.reset(original=True)).changed:
                        await store.remake()
        finally:
            self.home.release()

    async def release_links(self) -> None:
        """Close the physical connections of sandboxes."""
        for link in self.links:
            await self.links.release(link)

    async def close_connections(self) -> None:
        """Close the real connections of the app's engines, and of ours."""
        await self.release_links()
        await pools.dispose_engines()
        for engine in self._engines.values():
            await engine.dispose()
        self._engines.clear()

    def engine(self, target: Target) -> AsyncEngine:
        """An engine of our own to a database of the harness."""
        url = target.url(self.home.driver(target.dialect))
        if url not in self._engines:
            from sqlalchemy.ext.asyncio import create_async_engine

            self._engines[url] = pools.our_own(create_async_engine(url))
        return self._engines[url]


class Database:
    """The control of a test's database; an async context manager for the length of the test.

    `isolation` tells which isolation is in force and why. `queries` are the statements of this test, `warnings` what
    the harness has to remark, `url` and `description` where the database is.
    """

    def __init__(self, home: Home, loop: LoopDatabases, isolation: Isolation, *, lock_timeout: float = 5.0) -> None:
        self.isolation = isolation
        self.warnings: list[str] = []
        self._home = home
        self._loop = loop
        self._log = QueryLog()
        self._stack = AsyncExitStack()
        self._sessions: list[AsyncSession] = []
        self._engines: dict[Key, AsyncEngine] = {}
        self._sandbox: RollbackSandbox | None = None
        self._lock_timeout = lock_timeout
        self._tasks: WeakSet[asyncio.Task[Any]] = WeakSet()  # those that may outlive this test

    # ---- where

    @property
    def dialect(self) -> str:
        """`postgresql` or `sqlite`."""
        return self._home.default

    @property
    def target(self) -> Target:
        """Where the app's connections go in this test."""
        return self._home.target(Key(self.dialect))

    @property
    def url(self) -> str:
        """The database's address, in SQLAlchemy's spelling, with the driver that the app uses."""
        return self.target.url(self._home.driver(self.dialect))

    @property
    def description(self) -> str:
        """The database in words, for a report: its kind, its name and the isolation."""
        names = self._home.names
        several = f", databases {', '.join(names)}" if len(names) > 1 else ""
        return f"{self._home.store().description}{several}, {self.isolation} isolation ({self.isolation.reason})"

    @property
    def has_schema(self) -> bool:
        """Whether the project says where the tables come from."""
        return self._home.has_schema

    # ---- what the test does with it

    @property
    def engine(self) -> AsyncEngine:
        """An engine of the test's own. In rollback isolation what it has not committed is seen by the app."""
        return self._engine_of(Key(self.dialect))

    def engine_of(self, database: str | Engine | AsyncEngine) -> AsyncEngine:
        """The same for one of several databases: by its name, or by the app's engine.

        Raises DatabaseError for a name that no engine of the app, and no line of the schema, has.
        """
        return self._engine_of(self._home.find(database))

    def _engine_of(self, key: Key) -> AsyncEngine:
        if key not in self._engines:
            engine = self._home.memory_engine() if key == Key(self.dialect) else None
            engine = engine or self._loop.engine(self._home.target(key))
            self._engines[key] = self._sandbox.engine(engine) if self._sandbox is not None else engine
        return self._engines[key]

    def session(
        self,
        session_class: type[AsyncSession] | None = None,
        *,
        database: str | Engine | AsyncEngine | None = None,
    ) -> AsyncSession:
        """A new session of the test's own; it is closed at the end of the test. It reads what the app has committed.

        `session_class` may be SQLModel's `AsyncSession`, or any other. `database` is one of several, as `engine_of()`
        takes it; the main one otherwise.
        """
        from pytest_asyncapi.database.sessions import fresh_session

        session = fresh_session(self.engine if database is None else self.engine_of(database), session_class)
        self._sessions.append(session)
        return session

    @property
    def queries(self) -> list[Query]:
        """The statements that this test has made, in order; those of the harness itself are not among them."""
        return self._log.queries

    @property
    def log(self) -> QueryLog:
        """The statements, with what can be asked about them: `n_plus_one()`, `slowest()`, `by_request()`."""
        return self._log

    def assert_queries(
        self, count: int | None = None, *, at_most: int | None = None
    ) -> AbstractContextManager[QueryLog]:
        """Fail unless the block makes exactly `count` statements, or `at_most` so many."""
        return self._log.assert_queries(count, at_most=at_most)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """What is done in the block, by the test and by the app, is undone at its end."""
        if self._sandbox is not None:
            async with self._sandbox.savepoint():
                yield
        elif self.isolation == "database":
            raise DatabaseError(
                "db.savepoint() is there in rollback and commit isolation; this test has a database of its own"
            )
        else:
            async with AsyncExitStack() as stack:
                for store in self._home.stores:
                    await stack.enter_async_context(store.snapshot())
                yield

    @asynccontextmanager
    async def outside(self) -> AsyncIterator[contextvars.Context]:
        """What connects in the block commits for the whole life of the event loop: for a lifespan that tests share.

        It gives a context in which that is so too, and which has nothing else of this test: for tasks that outlive it.
        """
        context = contextvars.Context()
        stores = self._home.stores
        for store in stores:
            store.watch()
        before, tasks = len(self.queries), asyncio.all_tasks()
        try:
            if self._sandbox is not None:
                async with self._sandbox.outside():
                    context.run(route.set, route.get())
                    yield context
            elif self.isolation == "database" and not before:
                async with self._beside_clones():
                    yield context
            else:
                yield context
        finally:
            self._tasks.update(asyncio.all_tasks() - tasks)  # they are no test's
            self._loop.seeded = True
            if self.isolation == "database" and before:
                self.warnings.append(waits.late_lifespan())
            written = any(kind_of(query.sql) is Kind.WRITE for query in self.queries[before:])
            if written or self.isolation != "commit":  # or what this test has committed would stay for the others
                for store in stores:
                    await store.rebase()

    @asynccontextmanager
    async def _beside_clones(self) -> AsyncIterator[None]:
        await self._loop.close_connections()
        with self._home.beside_clones():
            try:
                yield
            finally:
                await self._loop.close_connections()
        await hooks.renew()

    # ---- the length of the test

    async def __aenter__(self) -> Database:
        enter = {"rollback": self._rollback, "commit": self._commit, "database": self._clone}[self.isolation]
        self._tasks.update(asyncio.all_tasks())
        pools.refresh()
        pools.leave_other_loops()
        if self._loop.generation != self._home.generation:
            self._loop.generation = self._home.generation
            await self._loop.close_connections()
        if not self._home.settled:
            self._home.settled = self._home.seeded = True
            for store in self._home.stores:
                await store.settle()
        elif self._home.dirty:
            await self._reset(self._home.stores)
        await self._stack.enter_async_context(enter())
        self._stack.enter_context(self._log)
        return self

    async def __aexit__(self, *exception: Any) -> None:
        here = asyncio.current_task()
        self._loop.links.outlived.update(
            task for task in asyncio.all_tasks() if task is not here and task not in self._tasks
        )
        try:
            for session in self._sessions:
                await session.close()
        finally:
            await self._stack.aclose()
        told = self._sandbox.warnings if self._sandbox is not None else []  # when it happened
        for text in self.warnings:
            if text in told:
                continue
            warnings.warn(text, SandboxWarning, stacklevel=2)

    @asynccontextmanager
    async def _rollback(self) -> AsyncIterator[None]:
        sandbox = RollbackSandbox(hooks, self._loop.links, lock_timeout=self._lock_timeout)
        async with sandbox:
            self._sandbox = sandbox
            try:
                yield
            finally:
                for store in self._home.stores:
                    store.moved = store.dialect == "postgresql"  # SQLite counts back
        self.warnings += [*sandbox.warnings, *(str(leak) for leak in sandbox.leaks)]

    @asynccontextmanager
    async def _commit(self) -> AsyncIterator[None]:
        self._home.begin_commits()
        if self._home.memory_engine() is not None:  # its one connection is to be the app's own again
            await self._loop.release_links()
        await self._reset([store for store in self._home.stores if store.moved])
        self._home.dirty = True
        try:
            yield
        finally:
            await self._reset(self._home.stores)

    async def _reset(self, stores: list[Store]) -> None:
        for store in stores:
            found = await store.reset()
            store.moved = False
            self.warnings += [f"at the end of a test in commit isolation: {text}" for text in found.left_open]
            if found.changed:
                await self._loop.close_connections()
                await store.remake()
                await hooks.renew()
        self._home.dirty = False

    @asynccontextmanager
    async def _clone(self) -> AsyncIterator[None]:
        await self._loop.close_connections()  # those to the worker's own database
        store = self._home.store()
        self._home.begin_clones(whole=self._loop.seeded)
        try:
            await asyncio.to_thread(self._home.target, Key(self.dialect))
            await hooks.renew()
            yield
        finally:
            await self._loop.close_connections()
            self._home.end_clones()
            await hooks.renew()
            if self._home.memory_engine() is not None:  # it has no other address: put it back instead
                await self._reset([store])
