"""A project with a database, for the tests that run pytest in it."""

import os
from collections.abc import Callable, Iterator

import asyncpg  # noqa: F401 - pytester forgets what a test imports, and these two do not bear to be imported again
import pytest
import sqlalchemy.ext.asyncio  # noqa: F401

from pytest_asyncapi.database import admin, binaries, server
from pytest_asyncapi.database.admin import Admin
from pytest_asyncapi.database.server import Server
from pytest_asyncapi.errors import ServerError

SHOP = """
import os
from sqlalchemy import ForeignKey, func, select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

class Base(DeclarativeBase):
    pass

class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)

class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))

engine = create_async_engine(os.environ["SHOP_URL"])
Session = async_sessionmaker(engine, expire_on_commit=False)

async def add(email):
    async with Session() as session:
        session.add(User(email=email))
        await session.commit()

async def emails():
    async with Session() as session:
        return sorted((await session.scalars(select(User.email))).all())
"""
INI = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
asyncapi_names = true
asyncapi_schema = shop:Base.metadata
pythonpath = .
addopts = -p asyncio -p asyncapi -p xdist
"""
URLS = {
    "sqlite": "sqlite+aiosqlite:///./app.db",
    "memory": "sqlite+aiosqlite:///:memory:",
    "asyncpg": "postgresql+asyncpg://user:password@localhost/dbname",
    "psycopg": "postgresql+psycopg://user:password@localhost/dbname",
}


@pytest.fixture(autouse=True)
def few_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pytest that a test starts loads only what its project names: it is faster, and imports nothing else."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.fixture
def shop(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Callable[..., pytest.RunResult]:
    """Runs tests in a small project whose engine speaks the named dialect and driver."""
    for name in list(os.environ):
        if name.startswith("PYTEST_XDIST") or name in {"DATABASE_URL", "PYTEST_ADDOPTS"}:
            monkeypatch.delenv(name)

    def run(kind: str, tests: str, *options: str, **files: str) -> pytest.RunResult:
        monkeypatch.setenv("SHOP_URL", URLS.get(kind, kind))
        pytester.makepyfile(shop=SHOP)
        if not (pytester.path / "pytest.ini").exists():
            pytester.makefile(".ini", pytest=INI)
        pytester.makepyfile(
            test_shop="import asyncio, pytest, shop\nfrom sqlalchemy import select, text\n" + tests, **files
        )
        return pytester.runpytest_subprocess("-q", *options)

    return run


class Outer:
    """A server of somebody else, with a database `shop` of theirs."""

    def __init__(self, running: Server) -> None:
        self.target = running.target
        self._admin = Admin()
        self._session = self._admin.run(admin.connect(running.target))

    def execute(self, sql: str) -> None:
        self._admin.run(self._session.execute(sql))

    def databases(self) -> list[str]:
        rows = self._admin.run(self._session.fetch("SELECT datname FROM pg_database ORDER BY 1"))
        return [name for (name,) in rows if name not in {"postgres", "template0", "template1"}]

    def url(self, user: str = "postgres", database: str = "shop") -> str:
        return f"postgresql+asyncpg://{user}@/{database}?host={self.target.host}&port={self.target.port}"

    def close(self) -> None:
        self._admin.run(self._session.close())
        self._admin.close()


@pytest.fixture(scope="session")
def running() -> Iterator[Server]:
    """A PostgreSQL server for the tests of this process."""
    try:
        binaries.find()
    except ServerError as error:
        pytest.skip(str(error))
    started = server.start(f"test-{os.getpid()}")
    yield started
    started.stop()


@pytest.fixture
def outer(running: Server) -> Iterator[Outer]:
    """That server, as one that others use too."""
    outer = Outer(running)
    outer.execute("CREATE DATABASE shop")
    yield outer
    for name in outer.databases():
        outer.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    outer.close()
