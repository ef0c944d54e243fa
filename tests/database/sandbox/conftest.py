"""An app's database code, as apps write it, on every driver; and the sandbox around it.

`app` is parametrised over asyncpg, psycopg, and aiosqlite with a file and with `:memory:`. After each test its tables
are looked at over a connection of another library: whatever the test committed, no row may be left.
"""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import JSON, ForeignKey, event, func, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from pytest_asyncapi.database import admin, server, waits
from pytest_asyncapi.database.interception import hooks
from pytest_asyncapi.database.sandbox import RollbackSandbox
from pytest_asyncapi.database.sessions import fresh_session
from pytest_asyncapi.database.targets import Target
from pytest_asyncapi.errors import ServerError

DRIVERS = ["asyncpg", "psycopg", "file", "memory"]


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    data: Mapped[dict | None] = mapped_column(JSON)


class Pet(Base):
    """A row that may be there before its owner, but not when the transaction commits."""

    __tablename__ = "pets"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id", deferrable=True, initially="DEFERRED"))


class App:
    """What an app has: an engine made before the test, a session factory, and code that uses them."""

    User = User
    Pet = Pet

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.url = url
        self.engine = self.make_engine()
        self.Session = async_sessionmaker(self.engine, expire_on_commit=False)

    @property
    def postgresql(self) -> bool:
        return self.name in {"asyncpg", "psycopg"}

    def make_engine(self, **options) -> AsyncEngine:
        engine = create_async_engine(self.url, **options)
        if not self.postgresql:

            @event.listens_for(engine.sync_engine, "connect")
            def foreign_keys(connection, record):
                cursor = connection.cursor()
                cursor.execute("PRAGMA foreign_keys=ON")
                cursor.close()

        return engine

    async def request(self, email: str, *, wait: float = 0.002, fail: bool = False) -> None:
        """Insert, wait, and commit; or fail before that."""
        async with self.Session() as session:
            session.add(User(email=email))
            await session.flush()
            await asyncio.sleep(wait)
            if fail:
                raise ValueError(email)
            await session.commit()

    async def emails(self) -> list[str]:
        async with self.Session() as session:
            return sorted((await session.scalars(select(User.email))).all())

    async def create(self) -> None:
        async with self.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Target]:
    """A server of our own, with the app's tables in a database `sandbox`."""
    try:
        running = server.start(f"sandbox-tests-{os.getpid()}")
    except ServerError as error:
        pytest.skip(str(error))

    async def fill() -> Target:
        session = await admin.connect(running.target)
        await session.execute("CREATE DATABASE sandbox")
        await session.close()
        target = Target("postgresql", running.target.host, running.target.port, "postgres", None, "sandbox")
        app = App("asyncpg", target.url("asyncpg"))
        await app.create()
        await app.engine.dispose()
        return target

    # in a thread, since an async fixture may have asked for this one; not redirected, whoever asks first
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as threads:
        patch.setattr(hooks, "redirect", None)
        target = threads.submit(asyncio.run, fill()).result()
    yield target
    running.stop()


@pytest.fixture
def no_redirect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else of this run uses the hooks, here an address is where it leads."""
    monkeypatch.setattr(hooks, "redirect", None)


@pytest.fixture
def postgres_app(postgres: Target, no_redirect: None) -> App:
    """The app on PostgreSQL, for what only asyncpg has."""
    return App("asyncpg", postgres.url("asyncpg"))


@pytest.fixture(params=DRIVERS)
async def app(request: pytest.FixtureRequest, tmp_path, no_redirect: None) -> AsyncIterator[App]:
    if request.param == "file":
        app = App("file", f"sqlite+aiosqlite:///{tmp_path}/app.db")
        await app.create()
        await app.engine.dispose()
    elif request.param == "memory":
        app = App("memory", "sqlite+aiosqlite://")
        await app.create()
    else:
        app = App(request.param, request.getfixturevalue("postgres").url(request.param))
    yield app
    if app.name == "memory":
        left = await app.emails()
    elif app.name == "file":
        left = sqlite3.connect(tmp_path / "app.db").execute("SELECT email FROM users").fetchall()
    else:
        session = await admin.connect(request.getfixturevalue("postgres"))
        left = await session.fetch("SELECT email FROM users")
        await session.close()
    await app.engine.dispose()
    assert left == []


@pytest.fixture
def make_app():
    """Makes the app on a driver, outside of a loop; its tables are still to be created on SQLite."""

    def make(driver: str, postgres: Target, directory) -> App:
        urls = {"file": f"sqlite+aiosqlite:///{directory}/loops.db", "memory": "sqlite+aiosqlite://"}
        return App(driver, urls.get(driver) or postgres.url(driver))

    return make


@pytest.fixture
async def sandbox(app: App) -> AsyncIterator[RollbackSandbox]:
    async with RollbackSandbox(hooks, lock_timeout=0.5) as sandbox:
        yield sandbox


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0)


@pytest.fixture
def queued() -> Callable[..., Awaitable[None]]:
    """`await queued(2)`: until two wait for the connection of a sandbox."""
    return lambda number=1: _until(lambda: len(waits.waiting) >= number)


@pytest.fixture
def at_work() -> Callable[[RollbackSandbox, str], Awaitable[None]]:
    """`await at_work(sandbox, sql)`: until the database has been sent a statement."""

    def sent(sandbox: RollbackSandbox, sql: str) -> bool:
        return any(frame.last_sql == sql for each in sandbox._schedulers.values() for frame in each.stack)

    return lambda sandbox, sql: _until(lambda: sent(sandbox, sql))


@pytest.fixture
def rolled_back() -> Callable[[RollbackSandbox], Awaitable[None]]:
    """`await rolled_back(sandbox)`: until no transaction is open in it."""
    return lambda sandbox: _until(lambda: not any(each.stack for each in sandbox._schedulers.values()))


@pytest.fixture
async def session(sandbox: RollbackSandbox, app: App) -> AsyncIterator[AsyncSession]:
    """The test's own session."""
    async with fresh_session(sandbox.engine(app.engine)) as session:
        yield session


@pytest.fixture
def count(session: AsyncSession):
    """How many users the test's session sees."""

    async def count() -> int:
        return await session.scalar(select(func.count()).select_from(User)) or 0

    return count
