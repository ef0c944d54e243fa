"""Where one connection shows something else than several: pinned here, and real with isolation="commit"."""

import asyncio
import gc
import resource
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from pytest_asyncapi.database.interception import hooks
from pytest_asyncapi.database.sandbox import Links, RollbackSandbox
from pytest_asyncapi.database.sessions import fresh_session


@pytest.fixture
async def connection(postgres, no_redirect):
    async with RollbackSandbox(hooks):
        connection = await asyncpg.connect(postgres.url())
        yield connection
        await connection.close()


async def test_now_stands_still(connection):
    """It is the time at which the outer transaction began."""
    first = await connection.fetchval("SELECT now()")
    assert await connection.fetchval("SELECT now()") == first
    assert await connection.fetchval("SELECT clock_timestamp()") > first


async def test_sequences_go_on(postgres, no_redirect):
    """PostgreSQL does not roll them back: a test must not expect an id."""
    ids = []
    for _ in range(2):
        async with RollbackSandbox(hooks):
            connection = await asyncpg.connect(postgres.url())
            ids.append(await connection.fetchval("INSERT INTO users (email) VALUES ('ada') RETURNING id"))
            await connection.close()
    assert ids[1] == ids[0] + 1


@pytest.mark.filterwarnings("ignore::pytest_asyncapi.errors.SandboxWarning")
async def test_locks_never_conflict(connection, postgres):
    """All are of one session."""
    other = await asyncpg.connect(postgres.url())
    await connection.execute("INSERT INTO users (email) VALUES ('ada')")
    async with connection.transaction():
        assert await connection.fetchval("SELECT pg_try_advisory_xact_lock(1)")
        assert await connection.fetch("SELECT email FROM users FOR UPDATE")
        async with other.transaction():
            assert await other.fetchval("SELECT pg_try_advisory_xact_lock(1)")
            assert (
                await other.fetchval("SELECT count(*) FROM (SELECT * FROM users FOR UPDATE SKIP LOCKED) AS free") == 1
            )
    await other.close()


async def test_notifications_are_not_heard(connection):
    """They are sent when the outer transaction commits, which it never does."""
    heard = []
    await connection.add_listener("news", lambda *arguments: heard.append(arguments))
    await connection.execute("NOTIFY news, 'hello'")
    await connection.fetchval("SELECT 1")  # a notification stands before the answer to this
    await asyncio.sleep(0)
    assert heard == []


async def test_settings_of_the_session_reach_the_others(connection, postgres):
    """Until the end of the test, and not further."""
    other = await asyncpg.connect(postgres.url())
    await connection.execute("SET statement_timeout = '77s'")
    assert await other.fetchval("SHOW statement_timeout") == "77s"
    await other.close()


async def test_settings_of_the_session_end_with_the_test(postgres, no_redirect):
    async with Links() as links:
        for _ in range(2):
            async with RollbackSandbox(hooks, links):
                connection = await asyncpg.connect(postgres.url())
                assert await connection.fetchval("SHOW statement_timeout") == "0"
                await connection.execute("SET statement_timeout = '77s'")
                await connection.close()


@pytest.mark.parametrize("statement", ["VACUUM", "CREATE INDEX CONCURRENTLY i ON users (email)", "CREATE DATABASE x"])
async def test_what_runs_in_no_transaction(connection, statement):
    with pytest.raises(asyncpg.ActiveSQLTransactionError):
        await connection.execute(statement)
    assert await connection.fetchval("SELECT 1") == 1


async def test_autoincrement_of_sqlite_begins_anew(app):
    """SQLite does roll it back."""
    if app.postgresql:
        pytest.skip("SQLite only")
    for _ in range(2):
        async with RollbackSandbox(hooks):
            async with app.Session.begin() as session:
                user = app.User(email="ada")
                session.add(user)
            assert user.id == 1


async def test_rolled_back_objects_expire(app, session):
    """As in every session: after rollback() an object has to be read again."""
    ada = app.User(email="ada")
    session.add(ada)
    await session.commit()
    await session.rollback()
    assert (await session.get(app.User, ada.id)).email == "ada"
    with pytest.raises(DBAPIError):
        await session.execute(text("SELECT no_such_column FROM users"))
    await session.rollback()
    await session.refresh(ada)
    assert ada.email == "ada"


@pytest.mark.soak
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the memory of the process from /proc")
async def test_a_thousand_tests(app):
    """In one loop, over kept links: neither memory nor connections nor prepared statements grow."""
    if app.name not in {"asyncpg", "memory"}:
        pytest.skip("like the others")

    async def test(links):
        async with RollbackSandbox(hooks, links) as sandbox, fresh_session(sandbox.engine(app.engine)) as session:
            session.add(app.User(email="ada"))
            await session.flush()
            await asyncio.gather(*(app.request(f"user{number}", wait=0) for number in range(3)))
            assert len(await app.emails()) == 4

    def size() -> float:
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20

    async with Links() as links:
        for _ in range(100):
            await test(links)
        before = size()
        for _ in range(900):
            await test(links)
        grown = size() - before
        assert len(list(links)) == 1
        if app.name == "asyncpg":
            (link,) = links
            assert await link.connection.fetchval("SELECT count(*) FROM pg_prepared_statements") < 40
            assert (
                await link.connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE datname = 'sandbox'") == 1
            )
    assert grown < 20
