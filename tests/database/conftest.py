"""A project with a database, for the tests that run pytest in it."""

import os
from collections.abc import Callable

import asyncpg  # noqa: F401 - pytester forgets the modules that a test imports, and asyncpg crashes when it comes again
import pytest

SHOP = '''
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
'''
INI = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
asyncapi_names = true
asyncapi_schema = shop:Base.metadata
pythonpath = .
addopts = -p no:randomly -p no:cacheprovider
"""
URLS = {
    "sqlite": "sqlite+aiosqlite:///./app.db",
    "memory": "sqlite+aiosqlite:///:memory:",
    "asyncpg": "postgresql+asyncpg://user:password@localhost/dbname",
    "psycopg": "postgresql+psycopg://user:password@localhost/dbname",
}


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
        pytester.makepyfile(test_shop="import asyncio, pytest, shop\nfrom sqlalchemy import select, text\n" + tests, **files)
        return pytester.runpytest_subprocess("-q", *options)

    return run
