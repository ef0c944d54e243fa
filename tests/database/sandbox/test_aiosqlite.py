"""Bare aiosqlite: its own connections are in the sandbox, in the harness's database."""

import asyncio
import contextvars
import sqlite3
import sys

import aiosqlite
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from pytest_asyncapi.database.interception import hooks
from pytest_asyncapi.database.queries import QueryLog
from pytest_asyncapi.database.sandbox import Links, RollbackSandbox
from pytest_asyncapi.database.targets import Redirect, Target
from pytest_asyncapi.errors import SandboxClosed, SandboxTimeout

INSERT = "INSERT INTO users (email) VALUES (?)"


@pytest.fixture
def file(tmp_path, monkeypatch):
    """The harness's file, which every address leads to; the app's own is never made, and no row is left."""
    file = tmp_path / "harness.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT UNIQUE)")
        connection.execute("CREATE TABLE pets (owner_id INTEGER REFERENCES users (id))")
    connection.close()
    target = Target("sqlite", database=str(file))
    monkeypatch.setattr(hooks, "redirect", Redirect(lambda address: {"sqlite": target}.get(address.dialect)))
    monkeypatch.chdir(tmp_path)
    yield file
    assert sqlite3.connect(file).execute("SELECT email FROM users").fetchall() == []
    assert not (tmp_path / "app.db").exists()


@pytest.fixture
async def sandbox(file):
    async with RollbackSandbox(hooks, lock_timeout=0.5) as sandbox:
        yield sandbox


@pytest.fixture
async def connection(sandbox):
    async with aiosqlite.connect("app.db") as connection:
        yield connection


async def emails(connection):
    return [email for (email,) in await connection.execute_fetchall("SELECT email FROM users ORDER BY email")]


async def test_twenty_at_the_same_time(sandbox):
    async def request(number):
        async with aiosqlite.connect("app.db") as connection:
            await connection.execute(INSERT, (f"user{number:02}",))
            await asyncio.sleep(0.002)
            if number % 2:
                raise ValueError
            await connection.commit()

    results = await asyncio.gather(*(request(number) for number in range(20)), return_exceptions=True)

    assert sum(result is None for result in results) == 10
    async with aiosqlite.connect("app.db") as connection:
        assert await emails(connection) == [f"user{number:02}" for number in range(0, 20, 2)]
    assert len(list(sandbox.links)) == 1


async def test_it_is_a_real_connection(connection):
    """Rows, row factories, cursors, errors and the state are aiosqlite's; the link's own rows stay tuples."""
    connection.row_factory = aiosqlite.Row
    async with connection.execute(INSERT, ("a",)) as cursor:
        assert (cursor.rowcount, cursor.lastrowid) == (1, 1)
    assert connection.in_transaction
    assert (await connection.execute_insert(INSERT, ("b",)))[0] == 2
    await connection.executemany(INSERT, [("c",), ("d",)])
    async with connection.execute("SELECT * FROM users ORDER BY id") as cursor:
        assert [row["email"] async for row in cursor] == ["a", "b", "c", "d"]
    cursor = await connection.cursor()
    await cursor.execute("SELECT count(*) AS n FROM users")
    assert (await cursor.fetchone())["n"] == 4
    with pytest.raises(sqlite3.IntegrityError):
        await connection.execute(INSERT, ("a",))
    await connection.rollback()
    assert not connection.in_transaction
    async with aiosqlite.connect("app.db") as plain:
        assert await plain.execute_fetchall("SELECT count(*) FROM users") == [(0,)]


async def test_commit_and_rollback(connection):
    async with aiosqlite.connect("app.db") as other:
        await connection.execute(INSERT, ("kept",))
        await connection.commit()
        await connection.execute(INSERT, ("undone",))
        await connection.rollback()
        assert await emails(other) == ["kept"]


async def test_closing_undoes_what_was_not_committed(connection):
    async with aiosqlite.connect("app.db") as other:
        await other.execute(INSERT, ("lost",))
    assert await emails(connection) == []
    with pytest.raises(ValueError, match="no active connection"):
        await other.execute("SELECT 1")


async def test_autocommit_and_transactions_by_hand(connection):
    async with aiosqlite.connect("app.db", isolation_level=None) as other:
        await other.execute(INSERT, ("a",))
        assert not other.in_transaction
        for end in ("COMMIT", "ROLLBACK"):
            await other.execute("BEGIN IMMEDIATE")
            await other.execute(INSERT, (end,))
            await other.execute(end)
    assert await emails(connection) == ["COMMIT", "a"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sqlite3.connect(autocommit=) came with Python 3.12")
@pytest.mark.parametrize("autocommit", [True, False])
async def test_autocommit_of_sqlite3(connection, autocommit):
    async with aiosqlite.connect("app.db", autocommit=autocommit) as other:
        await other.execute(INSERT, ("a",))
        assert other.in_transaction is not autocommit
    assert await emails(connection) == (["a"] if autocommit else [])


async def test_script_does_not_commit_the_test(connection):
    await connection.executescript("CREATE TABLE more (x); INSERT INTO more VALUES (1); BEGIN; COMMIT;")
    assert await connection.execute_fetchall("SELECT x FROM more") == [(1,)]
    await connection.commit()


async def test_ddl_needs_no_commit(connection):
    """sqlite3 begins transactions for rows only."""
    await connection.execute("CREATE TABLE more (x)")
    assert not connection.in_transaction
    async with aiosqlite.connect("app.db") as other:
        assert await other.execute_fetchall("SELECT * FROM more") == []


async def test_foreign_keys_are_in_force(connection):
    """The pragma does nothing in a transaction, so it runs before that of the test."""
    await connection.execute("PRAGMA foreign_keys = ON")
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        await connection.execute("INSERT INTO pets VALUES (99)")
    await connection.rollback()


async def test_engine_shares_the_transaction(sandbox):
    engine = create_async_engine("sqlite+aiosqlite:///app.db")
    async with aiosqlite.connect("app.db") as connection:
        await connection.execute(INSERT, ("raw",))
        await connection.commit()
        async with sandbox.engine(engine).connect() as session:
            await session.execute(text("INSERT INTO users (email) VALUES ('orm')"))
            assert await emails(connection) == ["orm", "raw"]
        async with engine.connect() as session:
            assert (await session.execute(text("SELECT email FROM users"))).all() == [("raw",)]
    assert len(list(sandbox.links)) == 1
    await engine.dispose()


async def test_wait_that_cannot_end_names_the_line(sandbox):
    holding = asyncio.Event()

    async def hold():
        async with aiosqlite.connect("app.db") as holder:
            await holder.execute(INSERT, ("a",))
            holding.set()
            await asyncio.sleep(5)

    task = asyncio.create_task(hold(), name="holder", context=contextvars.Context())
    await holding.wait()
    async with aiosqlite.connect("app.db") as waiter:
        with pytest.raises(SandboxTimeout) as caught:
            await waiter.execute(INSERT, ("b",))
    task.cancel()
    await asyncio.wait([task])

    assert "holder: aiosqlite connection to 'app.db' in task holder" in str(caught.value)
    assert "last SQL  INSERT INTO users (email) VALUES (?)" in str(caught.value)


async def test_its_queries_are_logged(connection):
    with QueryLog() as log:
        await connection.execute(INSERT, ("a",))
        await emails(connection)

    assert [query.sql for query in log] == [INSERT, "SELECT email FROM users ORDER BY email"]
    assert log.queries[0].parameters == ("a",)
    assert log.queries[0].site.function == "test_its_queries_are_logged"


async def test_connection_of_a_shared_lifespan_is_in_the_sandbox_of_each_test(file):
    """It was opened before the first test, and has a connection of its own between tests."""
    hooks.install()
    async with Links() as links, aiosqlite.connect("app.db") as connection:
        assert await emails(connection) == []
        for _ in range(2):
            async with RollbackSandbox(hooks, links):
                await connection.execute(INSERT, ("a",))
                await connection.commit()
                assert await emails(connection) == ["a"]
        assert await emails(connection) == []
    hooks.uninstall()


async def test_outside_of_a_sandbox_it_is_real_and_redirected(file):
    hooks.install()
    with QueryLog() as log:
        async with aiosqlite.connect("app.db") as connection:
            connection.row_factory = aiosqlite.Row
            await connection.execute(INSERT, ("a",))
            assert connection.in_transaction
            await connection.commit()
            assert sqlite3.connect(file).execute("SELECT email FROM users").fetchall() == [("a",)]
            await connection.execute("DELETE FROM users")
            await connection.commit()
    hooks.uninstall()
    assert [query.sql for query in log] == [INSERT, "DELETE FROM users"]


async def test_transaction_left_open_is_named_and_its_connection_says_so(file):
    async with RollbackSandbox(hooks) as sandbox:
        connection = await aiosqlite.connect("app.db")
        await connection.execute(INSERT, ("a",))

    (leak,) = sandbox.leaks
    assert "aiosqlite connection to 'app.db'" in str(leak)
    with pytest.raises(SandboxClosed, match="after the test that it belongs to has ended"):
        await connection.execute("SELECT 1")
    await connection.close()


async def test_memory_database_is_the_apps_own(sandbox):
    async with aiosqlite.connect(":memory:") as connection:
        await connection.execute("CREATE TABLE t (x)")
        await connection.commit()
    assert list(sandbox.links) == []
