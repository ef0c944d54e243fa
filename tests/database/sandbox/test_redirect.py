"""Where a connection goes: never to the address that the app names, and nowhere without the harness's mark."""

import sqlite3
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from pytest_asyncapi.database.interception import hooks
from pytest_asyncapi.database.sandbox import RollbackSandbox
from pytest_asyncapi.database.targets import Direct, Redirect, Target, routed
from pytest_asyncapi.errors import ForeignDatabase

HERE = Path(__file__)
NOWHERE = "user:password@db.production.example.com/dbname"


@pytest.fixture
def redirect(postgres, tmp_path, monkeypatch):
    """All of PostgreSQL to our server, all of SQLite to a file of ours; hooks in place, no sandbox."""
    file = tmp_path / "harness.db"
    sqlite3.connect(file).execute("CREATE TABLE notes (body TEXT)")
    targets = {"postgresql": postgres, "sqlite": Target("sqlite", database=str(file))}
    monkeypatch.setattr(hooks, "redirect", Redirect(lambda address: targets.get(address.dialect)))
    hooks.install()
    yield targets
    hooks.uninstall()


@pytest.fixture
def unmarked(postgres, tmp_path, monkeypatch):
    """asyncapi_redirect is off, and this server's databases carry no mark."""
    monkeypatch.setattr(
        hooks, "redirect", Redirect(lambda address: {"postgresql": postgres}.get(address.dialect), enabled=False)
    )
    hooks.install()
    yield
    hooks.uninstall()


@pytest.mark.parametrize("sandboxed", [True, False])
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_hard_coded_address_of_an_engine(redirect, driver, sandboxed):
    """`postgresql+asyncpg://user:password@localhost/dbname`, ssl and all, reaches only the harness's database."""
    options = {"connect_args": {"ssl": "require"}} if driver == "asyncpg" else {"connect_args": {"sslmode": "require"}}
    engine = create_async_engine(f"postgresql+{driver}://{NOWHERE}", **options)
    sandbox = RollbackSandbox(hooks)
    if sandboxed:
        await sandbox.__aenter__()
    async with engine.connect() as connection:
        found = (await connection.execute(text("SELECT current_database(), current_user"))).one()
    if sandboxed:
        await sandbox.__aexit__(None, None, None)
    await engine.dispose()

    assert found == ("sandbox", "postgres")


@pytest.mark.parametrize("sandboxed", [True, False])
async def test_hard_coded_address_of_bare_asyncpg(redirect, sandboxed):
    sandbox = RollbackSandbox(hooks)
    if sandboxed:
        await sandbox.__aenter__()
    for arguments in (
        {"dsn": f"postgresql://{NOWHERE}"},
        {"host": "db.example.com", "user": "u", "database": "d", "ssl": True},
    ):
        connection = await asyncpg.connect(**arguments, server_settings={"application_name": "shop"})
        assert await connection.fetchval("SELECT current_database()") == "sandbox"
        await connection.close()
    if sandboxed:
        await sandbox.__aexit__(None, None, None)


@pytest.mark.parametrize("sandboxed", [True, False])
async def test_file_of_sqlite(redirect, tmp_path, sandboxed):
    """The app's own file is not even made."""
    own = tmp_path / "precious.db"
    engine = create_async_engine(f"sqlite+aiosqlite:///{own}")
    sandbox = RollbackSandbox(hooks)
    if sandboxed:
        await sandbox.__aenter__()
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT * FROM notes"))).all() == []
    if sandboxed:
        await sandbox.__aexit__(None, None, None)
    await engine.dispose()
    assert not own.exists()


async def test_two_engines_with_other_addresses_are_one_database(redirect):
    """Whatever they name, there is one harness's database, and one connection to it."""
    first = create_async_engine("postgresql+asyncpg://a:b@one.example.com/x")
    second = create_async_engine("postgresql+asyncpg://c:d@two.example.com:5433/y")
    async with RollbackSandbox(hooks) as sandbox:
        for engine in (first, second):
            async with engine.begin() as connection:
                await connection.execute(text("SELECT 1"))
        assert len(list(sandbox.links)) == 1


def test_synchronous_engine_without_a_sandbox(redirect, tmp_path):
    """In the other isolations it works, on the harness's database."""
    engine = create_engine(f"sqlite:///{tmp_path}/precious.db")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT * FROM notes")).all() == []
    engine.dispose()
    engine = create_engine(f"postgresql+psycopg://{NOWHERE}")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT current_database()")).scalar() == "sandbox"
    engine.dispose()


async def test_memory_database_is_the_apps_own(redirect):
    engine = create_async_engine("sqlite+aiosqlite://")
    async with RollbackSandbox(hooks), engine.connect() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM sqlite_master"))).scalar() == 0
    await engine.dispose()


async def test_dialect_that_nothing_answers(redirect):
    """An error that names the address and the app's line."""
    hooks.redirect = Redirect(lambda address: None)
    async with RollbackSandbox(hooks):
        with pytest.raises(ForeignDatabase) as caught:
            await asyncpg.connect("postgresql://u:p@db.example.com/shop")  # here
    line = next(n for n, code in enumerate(HERE.read_text().splitlines(), 1) if code.endswith("# here"))
    assert str(caught.value) == (
        "the app connects to postgresql+asyncpg://u@db.example.com:5432/shop in a test, but no database of the harness "
        "speaks postgresql. Set asyncapi_database to what the app speaks, or to none to leave the app's databases "
        f"alone.\n  at {HERE}:{line} in test_dialect_that_nothing_answers"
    )


@pytest.mark.parametrize("sandboxed", [True, False])
@pytest.mark.parametrize("kind", ["asyncpg", "psycopg", "bare"])
async def test_database_without_the_mark_is_refused_before_anything_is_written(unmarked, postgres, kind, sandboxed):
    async def connect():
        if kind == "bare":
            await asyncpg.connect(postgres.url())
        else:
            async with create_async_engine(postgres.url(kind)).connect():
                pass

    sandbox = RollbackSandbox(hooks)
    if sandboxed:
        await sandbox.__aenter__()
    with pytest.raises(ForeignDatabase, match="does not carry the harness's mark"):
        await connect()
    if sandboxed:
        await sandbox.__aexit__(None, None, None)


async def test_route_of_a_context_is_real_and_goes_where_it_says(redirect, tmp_path):
    """For the harness's own connections: no redirect, no sandbox."""
    own = tmp_path / "own.db"
    engine = create_async_engine(f"sqlite+aiosqlite:///{own}")
    async with RollbackSandbox(hooks) as sandbox:
        with routed(Direct()):
            async with engine.begin() as connection:
                await connection.execute(text("CREATE TABLE mine (x INT)"))
        assert list(sandbox.links) == []
    await engine.dispose()
    assert own.exists()
