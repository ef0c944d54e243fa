"""A project with a database, for the tests that run pytest in it."""

import contextlib
import importlib
import json
import os
import pkgutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg  # noqa: F401 - pytester forgets what a test imports, and these two do not bear to be imported again
import pytest
import sqlalchemy.ext.asyncio  # noqa: F401

import pytest_asyncapi.database
from pytest_asyncapi.database import admin, binaries, server
from pytest_asyncapi.database.admin import Admin
from pytest_asyncapi.database.guard import LIBRARIES
from pytest_asyncapi.database.server import Server
from pytest_asyncapi.errors import ServerError

ISOLATION_BY_PARAMETER = """
import pytest

def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.db(isolation=item.callspec.params["isolation"]))
"""
"""A conftest file, for tests with a parameter `isolation`."""

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


@pytest.fixture(scope="session")
def _each_library_once() -> None:
    """Here the runs of pytester are processes of their own: what this one uses of the drivers is enough."""
    ours = [
        module.name for module in pkgutil.walk_packages(pytest_asyncapi.database.__path__, "pytest_asyncapi.database.")
    ]
    for name in (*LIBRARIES, *ours):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


class Forks:
    """Runs pytest as `pytester.runpytest_subprocess` does, but spares each run most of its imports (forks.py)."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forks.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._ask() == "ready"

    def run(self, pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
        stdout, stderr = pytester.path / "stdout", pytester.path / "stderr"
        began = time.perf_counter()
        code = self._ask(
            arguments=[f"--basetemp={pytester.path / 'basetemp'}", "-Wignore:Module already imported", *arguments],
            directory=str(pytester.path),
            environment={**os.environ, "PYTHONPATH": str(pytester.path), "HOME": str(pytester.path)},
            stdout=str(stdout),
            stderr=str(stderr),
        )
        told = [path.read_text(encoding="utf-8", errors="replace") for path in (stdout, stderr)]
        print(told[0], told[1], sep="\n")
        return pytest.RunResult(
            int(code), told[0].splitlines(), told[1].splitlines(), duration=time.perf_counter() - began
        )

    def _ask(self, **request: object) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if request:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    started = Forks()
    yield started
    started.close()


@pytest.fixture
def shop(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, forks: Forks, request: pytest.FixtureRequest
) -> Callable[..., pytest.RunResult]:
    """Runs tests in a small project whose engine speaks the named dialect and driver.

    On PostgreSQL they are given a server that runs already, unless the test names another or says `own_server`.
    """
    for name in list(os.environ):
        if name.startswith("PYTEST_XDIST") or name in {"DATABASE_URL", "PYTEST_ADDOPTS"}:
            monkeypatch.delenv(name)

    def run(kind: str, tests: str, *options: str, own_server: bool = False, **files: str) -> pytest.RunResult:
        url = URLS.get(kind, kind)
        monkeypatch.setenv("SHOP_URL", url)
        if url.startswith("postgresql") and not own_server and "DATABASE_URL" not in os.environ:
            target = request.getfixturevalue("running").target
            monkeypatch.setenv("DATABASE_URL", f"postgresql://postgres@/?host={target.host}&port={target.port}")
        pytester.makepyfile(shop=SHOP)
        if not (pytester.path / "pytest.ini").exists():
            pytester.makefile(".ini", pytest=INI)
        pytester.makepyfile(
            test_shop="import asyncio, pytest, shop\nfrom sqlalchemy import select, text\n" + tests, **files
        )
        return forks.run(pytester, "-q", *options)

    return run


class Outer:
    """A server of somebody else, with a database `shop` of theirs."""

    def __init__(self, running: Server) -> None:
        self.target = running.target
        self._admin = Admin()
        self._session = self._admin.run(admin.connect(running.target))
        self._others: set[str] = set()  # of tests before
        self._others.update(self.databases())

    def execute(self, sql: str) -> None:
        self._admin.run(self._session.execute(sql))

    def databases(self) -> list[str]:
        rows = self._admin.run(self._session.fetch("SELECT datname FROM pg_database ORDER BY 1"))
        return [name for (name,) in rows if name not in {"postgres", "template0", "template1"} | self._others]

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
