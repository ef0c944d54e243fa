"""Bare asyncpg: its own connections and pools are in the sandbox, with all that they can do."""

import asyncio
import contextvars
import json

import asyncpg
import pytest
from sqlalchemy import text

from pytest_asyncapi.database.interception import hooks
from pytest_asyncapi.database.sandbox import Links, RollbackSandbox
from pytest_asyncapi.errors import SandboxClosed, SandboxDeadlock, SandboxError, SandboxTimeout, SandboxWarning


@pytest.fixture
def dsn(postgres, no_redirect):
    return postgres.url()


@pytest.fixture
async def sandbox(no_redirect):
    async with RollbackSandbox(hooks, lock_timeout=0.5) as sandbox:
        yield sandbox


@pytest.fixture
async def clean(dsn):
    """After the test, no row is left."""
    yield
    connection = await asyncpg.connect(dsn)
    assert await connection.fetch("SELECT email FROM users") == []
    await connection.close()


pytestmark = pytest.mark.usefixtures("clean")

INSERT = "INSERT INTO users (email) VALUES ($1)"


async def emails(connection):
    return [row["email"] for row in await connection.fetch("SELECT email FROM users ORDER BY email")]


async def test_twenty_at_the_same_time_through_a_pool(dsn, sandbox):
    async def request(pool, number):
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(INSERT, f"user{number:02}")
            await asyncio.sleep(0.002)
            if number % 2:
                raise ValueError

    async with asyncpg.create_pool(dsn, min_size=2, max_size=20) as pool:
        results = await asyncio.gather(*(request(pool, number) for number in range(20)), return_exceptions=True)
        found = await emails(pool)

    assert sum(result is None for result in results) == 10
    assert found == [f"user{number:02}" for number in range(0, 20, 2)]
    assert len(list(sandbox.links)) == 1


async def test_a_statement_outside_of_a_transaction_is_one(dsn, sandbox):
    """It commits by itself, and an error takes nothing else with it."""
    first, second = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
    await first.execute(INSERT, "ada")
    with pytest.raises(asyncpg.UniqueViolationError):
        await second.execute(INSERT, "ada")
    await second.execute(INSERT, "bob")

    assert await emails(first) == ["ada", "bob"]
    await first.close()
    await second.close()


async def test_it_is_a_real_connection(dsn, sandbox):
    """isinstance, subclasses, record classes and settings are as they are."""

    class Mine(asyncpg.Connection):
        def hello(self):
            return "hello"

    class Row(asyncpg.Record):
        pass

    connection = await asyncpg.connect(dsn, connection_class=Mine, record_class=Row, timeout=5)
    assert isinstance(connection, Mine)
    assert connection.hello() == "hello"
    assert isinstance(await connection.fetchrow("SELECT 1 AS one"), Row)
    assert connection.get_server_version().major >= 15
    assert connection.get_settings().server_version
    assert connection.get_server_pid() > 0
    assert not connection.is_closed()
    await connection.close()
    assert connection.is_closed()
    with pytest.raises(asyncpg.InterfaceError, match="closed"):
        await connection.fetch("SELECT 1")


async def test_nested_transactions(dsn, sandbox):
    connection = await asyncpg.connect(dsn)
    async with connection.transaction():
        await connection.execute(INSERT, "ada")
        with pytest.raises(asyncpg.UniqueViolationError):
            async with connection.transaction():
                await connection.execute(INSERT, "ada")
        async with connection.transaction():
            await connection.execute(INSERT, "bob")
        assert connection.is_in_transaction()
    assert not connection.is_in_transaction()

    assert await emails(connection) == ["ada", "bob"]
    await connection.close()


async def test_transactions_by_hand(dsn, sandbox):
    connection = await asyncpg.connect(dsn)
    await connection.execute("BEGIN")
    await connection.execute(INSERT, "ada")
    assert await connection.execute("COMMIT") == "COMMIT"
    await connection.execute("BEGIN; INSERT INTO users (email) VALUES ('bob'); ROLLBACK")
    await connection.execute("BEGIN; INSERT INTO users (email) VALUES (';'), ($$; COMMIT$$); COMMIT; -- done; ROLLBACK")
    await connection.execute("BEGIN")
    with pytest.raises(asyncpg.UniqueViolationError):
        await connection.execute(INSERT, "ada")
    with pytest.raises(asyncpg.InFailedSQLTransactionError):
        await connection.execute(INSERT, "eve")
    assert await connection.execute("COMMIT") == "ROLLBACK"

    assert await emails(connection) == [";", "; COMMIT", "ada"]
    await connection.close()


async def test_prepared_statements_and_cursors(dsn, sandbox):
    """Each connection has its own, and they do not replace one another's."""
    one, two = await asyncpg.connect(dsn, statement_cache_size=0), await asyncpg.connect(dsn, statement_cache_size=0)
    await one.executemany(INSERT, [(f"user{number}",) for number in range(5)])
    assert (await one.fetchval("SELECT count(*) FROM users"), await two.fetchval("SELECT 'x'")) == (5, "x")
    first = await one.prepare("SELECT email FROM users WHERE email > $1 ORDER BY email")
    second = await two.prepare("SELECT $1::int + 1")
    assert await second.fetchval(1) == 2
    assert await first.fetchval("user3") == "user4"
    async with one.transaction():
        assert [row["email"] async for row in one.cursor("SELECT email FROM users ORDER BY email", prefetch=2)][
            -1
        ] == "user4"
        cursor = await one.cursor("SELECT email FROM users ORDER BY email")
        assert len(await cursor.fetch(2)) == 2
        await cursor.forward(1)
        assert (await cursor.fetchrow())["email"] == "user3"
    await asyncio.gather(*(connection.fetch("SELECT $1::int", number) for number, connection in enumerate([one, two])))
    await one.close()
    await two.close()


async def test_copy(dsn, sandbox, tmp_path):
    connection = await asyncpg.connect(dsn)
    await connection.copy_records_to_table("users", records=[("ada",), ("bob",)], columns=["email"])
    await connection.copy_from_query(
        "SELECT email FROM users ORDER BY email", output=tmp_path / "out.csv", format="csv"
    )
    assert (tmp_path / "out.csv").read_text() == "ada\nbob\n"
    (tmp_path / "in.csv").write_text("eve\n")
    await connection.copy_to_table("users", source=tmp_path / "in.csv", columns=["email"], format="csv")

    assert await emails(connection) == ["ada", "bob", "eve"]
    await connection.close()


@pytest.mark.parametrize("by", ["itself", "a task that it awaits"])
async def test_copy_that_queries_the_database_is_an_error(dsn, sandbox, by):
    """On one connection it would wait for itself for ever."""
    one, two = await asyncpg.connect(dsn), await asyncpg.connect(dsn)

    async def records():
        query = two.fetchval("SELECT 'ada'")
        yield (await (query if by == "itself" else asyncio.create_task(query)),)

    with pytest.raises(
        SandboxDeadlock, match="while the same task has the connection for a statement that is not over"
    ):
        async with asyncio.timeout(10):
            await one.copy_records_to_table("users", records=records(), columns=["email"])
    assert await emails(two) == []
    await one.close()
    await two.close()


async def test_codecs_are_of_one_connection(dsn, sandbox, postgres_app):
    """SQLAlchemy's codec for json does not reach a bare connection, nor the other way round."""
    plain, own = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
    await own.set_type_codec("json", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    query = "SELECT data FROM users"
    async with postgres_app.engine.begin() as connection:
        await connection.execute(text("""INSERT INTO users (email, data) VALUES ('ada', '{"a": 1}')"""))
    async with postgres_app.engine.begin() as connection:
        for _ in range(2):
            assert (await connection.execute(text(query))).scalar() == {"a": 1}
            assert await own.fetchval(query) == {"a": 1}
            assert json.loads(await plain.fetchval(query)) == {"a": 1}
            assert isinstance(await plain.fetchval(query), str)
    await plain.close()
    await own.close()


async def test_time_outs(dsn, sandbox):
    """A statement's own, the connection's, and none while it waits for its turn: the driver's, in real time."""
    connection = await asyncpg.connect(dsn, command_timeout=0.05)
    with pytest.raises(TimeoutError):
        await connection.execute("SELECT pg_sleep(10)")
    with pytest.raises(TimeoutError):
        await connection.execute("SELECT pg_sleep(10)", timeout=0.05)
    await connection.execute(INSERT, "ada")
    assert await connection.fetchval("SELECT pg_sleep(0.1), 7", column=1, timeout=5) == 7

    assert await emails(connection) == ["ada"]
    await connection.close()


async def test_settings_of_a_transaction_end_with_it(dsn, sandbox):
    connection = await asyncpg.connect(dsn)
    async with connection.transaction():
        await connection.execute("SELECT set_config($1, $2, true)", "app.tenant", "7")
        assert await connection.fetchval("SHOW app.tenant") == "7"
    assert await connection.fetchval("SELECT current_setting('app.tenant', true)") == ""
    await connection.close()


async def test_one_operation_at_a_time(dsn, sandbox, at_work):
    """As asyncpg itself says it."""
    connection = await asyncpg.connect(dsn)
    task = asyncio.create_task(connection.execute("SELECT pg_sleep(0.05)"))
    await at_work(sandbox, "SELECT pg_sleep(0.05)")
    with pytest.raises(asyncpg.InterfaceError, match="another operation is in progress"):
        await connection.fetch("SELECT 1")
    await task
    await connection.close()


async def test_begin_that_failed_leaves_no_transaction_behind(dsn, sandbox):
    """asyncpg notes it before BEGIN; later ones would be savepoints of a transaction that never was."""
    first, second = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
    holds, release = asyncio.Event(), asyncio.Event()

    async def holder():
        async with first.transaction():
            holds.set()
            await release.wait()

    task = asyncio.get_running_loop().create_task(holder(), context=contextvars.Context())
    await holds.wait()
    with pytest.raises(SandboxTimeout):
        async with second.transaction():
            pass
    release.set()
    await task
    async with second.transaction():
        await second.execute(INSERT, "ada")

    assert await emails(first) == ["ada"]
    await first.close()
    await second.close()


async def test_release_to_the_pool_resets_nothing_of_others(dsn, sandbox):
    """RESET ALL, CLOSE ALL and DISCARD ALL would reach everybody."""
    pool = await asyncpg.create_pool(dsn, min_size=1, max_size=2)
    async with pool.acquire() as holder, holder.transaction():
        cursor = await holder.cursor("SELECT 1")
        async with pool.acquire() as other:
            await other.execute("DISCARD ALL")
        assert await cursor.fetchrow() == (1,)
    await pool.close()


async def test_more_isolation_is_warned_of_once(dsn, sandbox):
    connection = await asyncpg.connect(dsn)

    async def twice():
        for _ in range(2):
            async with connection.transaction(isolation="serializable", readonly=True):
                await connection.fetch("SELECT 1")

    with pytest.warns(SandboxWarning, match="SERIALIZABLE") as caught:
        await twice()
    assert len(caught) == 1
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        async with connection.transaction(readonly=True):
            await connection.execute(INSERT, "ada")
    await connection.close()


async def test_two_phase_commit_is_refused(dsn, sandbox):
    connection = await asyncpg.connect(dsn)
    async with connection.transaction():
        with pytest.raises(SandboxError, match="PREPARE TRANSACTION"):
            await connection.execute("PREPARE TRANSACTION 'x'")
    await connection.close()


async def test_pool_and_engine_share_the_transaction(dsn, sandbox, postgres_app):
    """Bare asyncpg and SQLAlchemy over asyncpg see the same rows."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(INSERT, "ada")
    await postgres_app.request("bob")

    assert await emails(connection) == ["ada", "bob"]
    assert await postgres_app.emails() == ["ada", "bob"]
    assert len(list(sandbox.links)) == 1
    await connection.close()


async def test_transaction_left_open_is_named_and_its_connection_says_so(dsn, no_redirect):
    async with RollbackSandbox(hooks) as sandbox:
        connection = await asyncpg.connect(dsn)
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(INSERT, "ada")
    (leak,) = sandbox.leaks
    assert "asyncpg connection to 'sandbox'" in str(leak)
    assert INSERT in str(leak)
    with pytest.raises(SandboxClosed):
        await connection.execute(INSERT, "bob")
    await transaction.rollback()


async def test_pool_of_a_shared_lifespan_is_in_the_sandbox_of_each_test(dsn, no_redirect):
    """It was opened outside of any sandbox, on real connections; what tests do with it is undone all the same."""
    hooks.install()
    async with Links() as links:
        pool = await asyncpg.create_pool(dsn, min_size=2, max_size=2)
        held = await pool.acquire()
        prepared = await held.prepare("SELECT count(*) FROM users")
        for _ in range(2):
            async with RollbackSandbox(hooks, links):
                await pool.execute(INSERT, "ada")
                assert await prepared.fetchval() == 1
                assert await emails(pool) == ["ada"]
            assert await emails(pool) == []
        assert await prepared.fetchval() == 0
        await pool.release(held)
        await pool.close()
    hooks.uninstall()


async def test_outside_really_commits(dsn, no_redirect):
    """What is done outside is there for everybody; the same connection is inside again afterwards."""
    async with RollbackSandbox(hooks) as sandbox:
        async with sandbox.outside():
            connection = await asyncpg.connect(dsn)
            await connection.execute("CREATE TABLE outside (word TEXT)")
        await connection.execute("INSERT INTO outside VALUES ('inside')")
        assert await connection.fetchval("SELECT count(*) FROM outside") == 1
        async with sandbox.outside():
            assert await connection.fetchval("SELECT count(*) FROM outside") == 0
        assert await connection.fetchval("SELECT count(*) FROM outside") == 1
        await connection.close()
    other = await asyncpg.connect(dsn)
    await other.execute("DROP TABLE outside")
    await other.close()


async def test_notifications_outside_of_a_sandbox(dsn, no_redirect):
    """With real connections LISTEN and NOTIFY work through the hook."""
    hooks.install()
    heard = asyncio.get_running_loop().create_future()
    listener, speaker = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
    await listener.add_listener("news", lambda connection, pid, channel, payload: heard.set_result((channel, payload)))
    await speaker.execute("NOTIFY news, 'hello'")
    assert await asyncio.wait_for(heard, 5) == ("news", "hello")
    await listener.close()
    await speaker.close()
    hooks.uninstall()


async def test_prepared_statements_of_closed_connections_are_deallocated(dsn, no_redirect):
    """A link that is kept over a thousand tests does not gather what their connections prepared."""
    async with Links() as links:
        for number in range(5):
            async with RollbackSandbox(hooks, links):
                connection = await asyncpg.connect(dsn)
                await connection.fetch(f"SELECT {number}, $1::int", 1)
                await connection.close()
        (link,) = links
        count = await link.connection.fetchval("SELECT count(*) FROM pg_prepared_statements")
        assert count <= 2
