"""Bare psycopg: its own connections and pools are in the sandbox, with all that they can do."""

import asyncio
import contextvars
import re
import sys

import psycopg
import pytest
from psycopg import AsyncConnection, sql
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool
from sqlalchemy import text

from pytest_asyncapi.database import admin
from pytest_asyncapi.database.interception import hooks
from pytest_asyncapi.database.queries import QueryLog
from pytest_asyncapi.database.sandbox import Links, RollbackSandbox
from pytest_asyncapi.errors import SandboxClosed, SandboxError, SandboxTimeout, SandboxWarning

INSERT = "INSERT INTO users (email) VALUES (%s)"


@pytest.fixture
def dsn(postgres, no_redirect):
    return postgres.url()


@pytest.fixture
async def clean(postgres):
    """After the test, no row is left."""
    yield
    session = await admin.connect(postgres)
    assert await session.fetch("SELECT email FROM users") == []
    await session.close()


@pytest.fixture
async def sandbox(clean, no_redirect):
    async with RollbackSandbox(hooks, lock_timeout=0.5) as sandbox:
        yield sandbox


async def emails(connection):
    return [email for (email,) in await (await connection.execute("SELECT email FROM users ORDER BY 1")).fetchall()]


@pytest.fixture
async def connection(dsn, sandbox):
    async with await AsyncConnection.connect(dsn) as connection:
        yield connection


async def test_twenty_at_the_same_time_through_a_pool(dsn, sandbox, caplog):
    """Half of them fail; the pool has nothing to complain of."""

    async def request(pool, number):
        async with pool.connection() as connection:
            await connection.execute(INSERT, (f"user{number:02}",))
            await asyncio.sleep(0.002)
            if number % 2:
                raise ValueError

    async with AsyncConnectionPool(dsn, min_size=2, max_size=20, open=False) as pool:
        results = await asyncio.gather(*(request(pool, number) for number in range(20)), return_exceptions=True)
        async with pool.connection() as connection:
            found = await emails(connection)

    assert sum(result is None for result in results) == 10
    assert found == [f"user{number:02}" for number in range(0, 20, 2)]
    assert len(list(sandbox.links)) == 1
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []


async def test_it_is_a_real_connection(dsn, sandbox):
    """Of the class that was asked for, with its row factory; rows, errors and the state are psycopg's."""

    class Mine(AsyncConnection):
        pass

    connection = await Mine.connect(dsn, row_factory=dict_row)

    assert isinstance(connection, Mine)
    assert not connection.closed
    assert not connection.broken
    assert await (await connection.execute("SELECT 1 AS one")).fetchone() == {"one": 1}
    with pytest.raises(psycopg.errors.UndefinedTable):
        await connection.execute("SELECT * FROM nothing")
    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        await connection.execute("SELECT 1")
    await connection.rollback()
    assert await (await connection.execute("SELECT 2 AS two")).fetchone() == {"two": 2}
    await connection.close()
    assert connection.closed
    with pytest.raises(psycopg.OperationalError, match="the connection is closed"):
        await connection.execute("SELECT 1")


async def test_commit_and_rollback(dsn, connection):
    """Another connection sees what was committed, and nothing else."""
    other = await AsyncConnection.connect(dsn)
    await connection.execute(INSERT, ("kept",))
    await connection.commit()
    await connection.execute(INSERT, ("undone",))
    await connection.rollback()

    assert await emails(other) == ["kept"]
    await other.close()


async def test_closing_undoes_what_was_not_committed(dsn, connection):
    other = await AsyncConnection.connect(dsn)
    await other.execute(INSERT, ("lost",))
    await other.close()

    assert await emails(connection) == []


async def test_autocommit(dsn, sandbox, connection):
    other = await AsyncConnection.connect(dsn, autocommit=True)
    await other.execute(INSERT, ("a",))
    with pytest.raises(psycopg.errors.UniqueViolation):
        await other.execute(INSERT, ("a",))
    await other.execute(INSERT, ("b",))

    assert await emails(connection) == ["a", "b"]
    await connection.rollback()
    await connection.set_autocommit(True)
    assert await emails(connection) == ["a", "b"]
    await other.close()


async def test_autocommit_cannot_be_changed_in_a_transaction(connection):
    await connection.execute("SELECT 1")
    with pytest.raises(psycopg.ProgrammingError, match="can't change 'autocommit' now"):
        await connection.set_autocommit(True)


async def nested(connection, *emails, name=None):
    async with connection.transaction(name):
        for email in emails:
            await connection.execute(INSERT, (email,))


def status_of(transaction):
    """As its representation says it: psycopg 3.2 tells no more than that it is over."""
    return re.search(r"\((\w+)\)", repr(transaction)).group(1)


@pytest.mark.parametrize("autocommit", [True, False])
async def test_transaction_blocks(dsn, sandbox, autocommit):
    """Nested ones are savepoints; Rollback and force_rollback end them quietly; errors undo their own block."""
    async with await AsyncConnection.connect(dsn, autocommit=autocommit) as connection:
        async with connection.transaction() as outer:
            await connection.execute(INSERT, ("outer",))
            with pytest.raises(psycopg.errors.UniqueViolation):
                await nested(connection, "inner", "outer")
            async with connection.transaction():
                await connection.execute(INSERT, ("second",))
            with pytest.raises(psycopg.ProgrammingError, match=r"commit\(\) forbidden within a Transaction"):
                await connection.commit()
        assert status_of(outer) in {"committed", "terminated"}
        with pytest.raises(TypeError, match="transaction blocks can be used only once"):
            await outer.__aenter__()
        async with connection.transaction(force_rollback=True):
            await connection.execute(INSERT, ("forced",))
        async with connection.transaction() as explicit:
            await connection.execute(INSERT, ("explicit",))
            raise psycopg.Rollback(explicit)
        assert status_of(explicit) in {"rolled_back_explicitly", "terminated"}
        with pytest.raises(psycopg.errors.UniqueViolation):
            await nested(connection, "failed", "outer", name="named")
        assert await emails(connection) == ["outer", "second"]


async def test_transactions_by_hand(connection):
    await connection.set_autocommit(True)
    for end in ("COMMIT", "ROLLBACK"):
        await connection.execute("BEGIN")
        await connection.execute(INSERT, (end,))
        await connection.execute(end)
    await connection.execute("BEGIN; INSERT INTO users (email) VALUES ('script'); COMMIT")

    assert await emails(connection) == ["COMMIT", "script"]


async def test_statements_are_prepared_under_names_of_their_own(dsn, connection):
    """Two connections prepare as psycopg would number them alike; an error does not deallocate another's."""
    other = await AsyncConnection.connect(dsn, prepare_threshold=0)
    for _ in range(2):
        assert await (await connection.execute("SELECT %s + 1", (1,), prepare=True)).fetchone() == (2,)
        assert await (await other.execute("SELECT %s + 2", (1,))).fetchone() == (3,)
        await other.rollback()
    await other.close()


async def test_many_copy_stream_and_server_cursors(dsn, connection):
    async with connection.cursor() as cursor:
        await cursor.executemany(INSERT, [(f"m{number}",) for number in range(3)])
        await cursor.executemany(INSERT + " RETURNING email", [("r1",), ("r2",)], returning=True)
        returned = [await cursor.fetchone()]
        while cursor.nextset():
            returned.append(await cursor.fetchone())
        assert returned == [("r1",), ("r2",)]
        async with cursor.copy("COPY users (email) FROM STDIN") as copy:
            for number in range(3):
                await copy.write_row((f"c{number}",))
        async with cursor.copy("COPY users (email) TO STDOUT") as copy:
            rows = [row async for row in copy.rows()]
        assert len(rows) == 8
        assert len([row async for row in cursor.stream("SELECT email FROM users")]) == 8
    async with connection.cursor("named") as cursor:
        await cursor.execute("SELECT email FROM users ORDER BY email")
        assert await cursor.fetchmany(2) == [("c0",), ("c1",)]
        assert await cursor.fetchone() == ("c2",)
    async with connection.pipeline() as pipeline:
        await connection.execute(sql.SQL("INSERT INTO users ({}) VALUES (%s)").format(sql.Identifier("email")), ("p",))
        await pipeline.sync()
    assert len(await emails(connection)) == 9
    await connection.rollback()


async def test_copy_keeps_others_away_until_it_is_over(dsn, connection):
    other = await AsyncConnection.connect(dsn, autocommit=True)
    done = []

    async def insert():
        await other.execute(INSERT, ("other",))
        done.append("insert")

    async with connection.cursor() as cursor, cursor.copy("COPY users (email) FROM STDIN") as copy:
        task = asyncio.create_task(insert(), context=contextvars.Context())  # a stranger
        for number in range(3):
            await copy.write_row((f"c{number}",))
            await asyncio.sleep(0.005)
        done.append("copy")
    await connection.commit()
    await task

    assert done == ["copy", "insert"]
    assert len(await emails(connection)) == 4
    await other.close()


async def test_more_isolation_is_warned_of(dsn, sandbox):
    connection = await AsyncConnection.connect(dsn)
    await connection.set_isolation_level(psycopg.IsolationLevel.SERIALIZABLE)
    with pytest.warns(SandboxWarning, match="the app asks for SERIALIZABLE"):
        await connection.execute("SELECT 1")
    await connection.close()
    connection = await AsyncConnection.connect(dsn)
    with pytest.warns(SandboxWarning, match="the app asks for REPEATABLE READ"):
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    await connection.close()


async def test_read_only(dsn, connection):
    await connection.set_read_only(True)
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        await connection.execute(INSERT, ("a",))
    await connection.rollback()


async def test_two_phase_commit_is_refused(connection):
    with pytest.raises(SandboxError, match="PREPARE TRANSACTION cannot be done"):
        await connection.tpc_begin(connection.xid(1, "a", "b"))


async def test_notifications_never_come(connection):
    assert [each async for each in connection.notifies(timeout=0.01)] == []


async def test_pool_and_engine_share_the_transaction(dsn, postgres, sandbox, make_app, tmp_path):
    """The test's own session sees what raw connections wrote, and they see its rows."""
    app = make_app("psycopg", postgres, tmp_path)
    async with AsyncConnectionPool(dsn, open=False) as pool, pool.connection() as connection:
        await connection.execute(INSERT, ("raw",))
        await connection.commit()
        async with sandbox.engine(app.engine).connect() as session:
            await session.execute(text("INSERT INTO users (email) VALUES ('orm')"))
            assert await emails(connection) == ["orm", "raw"]
            await connection.rollback()
        assert await app.emails() == ["raw"]
    assert len(list(sandbox.links)) == 1


async def test_wait_that_cannot_end_names_the_line(dsn, sandbox):
    holder = await AsyncConnection.connect(dsn)
    waiter = await AsyncConnection.connect(dsn)
    holding = asyncio.Event()

    async def hold():
        await holder.execute(INSERT, ("a",))
        holding.set()
        await asyncio.sleep(5)

    task = asyncio.create_task(hold(), name="holder")
    await holding.wait()
    with pytest.raises(SandboxTimeout) as caught:
        await waiter.execute(INSERT, ("b",))
    task.cancel()

    assert "holder: psycopg connection to 'sandbox' in task holder" in str(caught.value)
    assert "last SQL  INSERT INTO users (email) VALUES (%s)" in str(caught.value)
    await holder.close()
    await waiter.close()


async def test_cancelled_in_the_middle_of_a_statement(connection):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await connection.execute("SELECT pg_sleep(5)")
    await connection.rollback()
    assert await emails(connection) == []


async def test_its_queries_are_logged(connection):
    with QueryLog() as log:
        await connection.execute(INSERT, ("a",))
        await connection.execute("SELECT email FROM users")
        await connection.rollback()

    assert [(query.sql, query.site.function) for query in log] == [
        (INSERT, "test_its_queries_are_logged"),
        ("SELECT email FROM users", "test_its_queries_are_logged"),
    ]
    assert log.queries[0].parameters == ("a",)


async def test_transaction_left_open_is_named_and_its_connection_says_so(dsn, clean, no_redirect):
    async with RollbackSandbox(hooks) as sandbox:
        connection = await AsyncConnection.connect(dsn)
        await connection.execute(INSERT, ("a",))

    (leak,) = sandbox.leaks
    assert "psycopg connection to 'sandbox'" in str(leak)
    with pytest.raises(SandboxClosed, match="after the test that it belongs to has ended"):
        await connection.execute("SELECT 1")
    await connection.close()


async def test_pool_that_is_older_than_the_sandbox_is_refused(dsn, no_redirect, clean):
    """It has real connections, whose rows would stay; outside of a sandbox it works, and is logged."""
    hooks.install()
    async with AsyncConnectionPool(dsn, min_size=1, open=False) as pool:
        async with pool.connection() as connection:
            with QueryLog() as log:
                assert await emails(connection) == []
        assert len(log) == 1
        async with RollbackSandbox(hooks), pool.connection() as connection:
            with pytest.raises(SandboxError) as caught:
                await connection.execute(INSERT, ("a",))
    hooks.uninstall()

    assert "a connection of psycopg that was opened before the test is used at " in str(caught.value)
    assert "test_psycopg.py:" in str(caught.value)


async def test_synchronous_connection_is_refused(dsn, sandbox):
    with pytest.raises(SandboxError, match=r"a synchronous connection of psycopg is opened at .*test_psycopg\.py:"):
        psycopg.connect(dsn)


async def test_settings_of_a_transaction_end_with_it(connection):
    await connection.execute("SELECT set_config(%s, %s, true)", ("app.tenant", "7"))
    assert await (await connection.execute("SHOW app.tenant")).fetchone() == ("7",)
    await connection.commit()
    assert await (await connection.execute("SELECT current_setting('app.tenant', true)")).fetchone() == ("",)


async def test_djangos_connections_are_left_to_pytest_django(dsn, sandbox, monkeypatch):
    """It undoes what they write. Without it they would really commit, as any other synchronous connection."""
    made_by_django = type("Cursor", (psycopg.Cursor,), {"__module__": "django.db.backends.postgresql.base"})
    with pytest.raises(SandboxError, match="a synchronous connection of psycopg"):
        psycopg.connect(dsn, cursor_factory=made_by_django)
    monkeypatch.setitem(sys.modules, "pytest_django", sys)
    with pytest.raises(SandboxError, match="a synchronous connection of psycopg"):
        psycopg.connect(dsn)
    with psycopg.connect(dsn, cursor_factory=made_by_django) as connection:
        assert connection.execute("SELECT 7").fetchone() == (7,)


async def test_link_is_kept_from_test_to_test(dsn, no_redirect, clean):
    async with Links() as links:
        for _ in range(3):
            async with RollbackSandbox(hooks, links), await AsyncConnection.connect(dsn) as connection:
                assert await emails(connection) == []
                await connection.execute(INSERT, ("a",))
        assert len(list(links)) == 1
