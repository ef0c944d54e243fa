"""Every engine is in the sandbox, whatever its pool, its options and its age; and what cannot be is refused."""

import asyncio
import logging
import threading

import pytest
from sqlalchemy import create_engine, event, select, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool, StaticPool

from pytest_asyncapi.database.greenlets import greenlet_spawn
from pytest_asyncapi.database.interception import hooks
from pytest_asyncapi.database.sandbox import Links, RollbackSandbox
from pytest_asyncapi.database.sessions import fresh_session
from pytest_asyncapi.errors import SandboxError

INSERT = text("INSERT INTO users (email) VALUES (:email)")


async def test_every_way_to_connect(app, sandbox):
    """Connections, transactions of the engine, raw connections, and clones with other options."""
    async with app.engine.begin() as connection:
        await connection.execute(INSERT, {"email": "begin"})
    async with app.engine.connect() as connection:
        await connection.execute(INSERT, {"email": "connect"})
        await connection.commit()
    async with app.engine.execution_options(logging_token="x").begin() as connection:
        await connection.execute(INSERT, {"email": "clone"})
    async with AsyncSession(app.engine) as session, session.begin():
        await session.execute(INSERT, {"email": "session"})
        await session.run_sync(lambda sync: sync.execute(INSERT, {"email": "sync"}))
    raw = await app.engine.raw_connection()
    assert raw.driver_connection is not None

    def insert() -> None:
        cursor = raw.cursor()
        cursor.execute("INSERT INTO users (email) VALUES ('raw')")
        cursor.close()
        raw.commit()
        raw.close()

    await greenlet_spawn(insert)

    assert await app.emails() == ["begin", "clone", "connect", "raw", "session", "sync"]


@pytest.mark.parametrize("pool", [NullPool, AsyncAdaptedQueuePool, StaticPool])
async def test_every_pool(app, sandbox, pool):
    if app.name == "memory":
        pytest.skip("each engine has a database of its own")
    engine = app.make_engine(poolclass=pool)
    async with engine.begin() as connection:
        await connection.execute(INSERT, {"email": pool.__name__})
    assert await app.emails() == [pool.__name__]
    await engine.dispose()


async def test_engine_that_is_made_in_the_test(app, sandbox):
    """It shares the transaction of the app's engine: the same database is the same connection."""
    if app.name == "memory":
        pytest.skip("each engine has a database of its own")
    engine = app.make_engine()
    await app.request("ada")
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT email FROM users"))).all() == [("ada",)]
    assert len(list(sandbox.links)) == 1
    await engine.dispose()


async def test_dispose_in_the_lifespan(app):
    """The usual end of a lifespan; the next test's lifespan begins with the same engine. Also for :memory:."""
    async with Links() as links:
        for _ in range(2):
            async with RollbackSandbox(hooks, links):
                await app.request("ada")
                await app.engine.dispose()
                assert await app.emails() == ["ada"]
                await app.engine.dispose()
    if app.name == "memory":
        await app.create()  # its database went with its engine, as it does without a sandbox


async def test_first_connections_at_once_after_dispose(app):
    """What each new connection is set up with awaits, under a lock that must be no thread's: SQLAlchemy 2.0.22."""
    async with Links() as links:
        for _ in range(2):
            async with RollbackSandbox(hooks, links):
                await asyncio.gather(*(app.request(f"user {number}") for number in range(5)))
                assert len(await app.emails()) == 5
                await app.engine.dispose()
    if app.name == "memory":
        await app.create()


async def test_first_real_connections_at_once_after_dispose(postgres_app):
    """The same in the app's own pool, which is disposed of after a test with real commits."""
    engine = postgres_app.engine

    @event.listens_for(engine.sync_engine, "connect")
    def set_up(connection, record):
        cursor = connection.cursor()
        cursor.execute("SELECT pg_sleep(0.01)")  # it awaits, and so has others come
        cursor.close()

    hooks.install()
    for _ in range(2):
        assert await asyncio.gather(*(postgres_app.emails() for _ in range(5))) == [[]] * 5
        await engine.dispose()
    hooks.uninstall()


async def test_memory_database_outlives_a_sandbox_in_which_it_was_disposed_of_and_used(app):
    if app.name != "memory":
        pytest.skip(":memory: only")
    async with RollbackSandbox(hooks):
        await app.request("ada")
        await app.engine.dispose()
        assert await app.emails() == ["ada"]
    assert await app.emails() == []


async def test_listeners_of_the_app(app, sandbox):
    """Pool events fire for virtual connections as for real ones; what `connect` set up is in force."""
    if app.name == "memory":
        pytest.skip("its connection is older than the listeners")
    seen = []
    engine = app.make_engine(pool_pre_ping=True)
    for name in ("connect", "checkout", "checkin", "reset"):
        event.listen(engine.sync_engine, name, lambda *args, name=name: seen.append(name))

    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection, record):
        record.info["set up"] = True

    @event.listens_for(engine.sync_engine, "checkout")
    def checked_out(connection, record, fairy):
        assert record.info["set up"]

    async with engine.begin() as connection:
        await connection.execute(text("SELECT 1"))
        if not app.postgresql:
            assert (await connection.execute(text("PRAGMA foreign_keys"))).scalar() == 1
    assert seen == ["connect", "checkout", "reset", "checkin"]
    async with engine.begin() as connection:
        await connection.execute(text("SELECT 1"))
    assert seen[4:] == ["checkout", "reset", "checkin"]
    await engine.dispose()


async def test_invalidated_connection(app, sandbox):
    """An app that gives up a connection gets another one, and what was open is undone."""
    async with app.engine.connect() as connection:
        await connection.execute(INSERT, {"email": "gone"})
        await connection.invalidate()
        await connection.rollback()
        await connection.execute(INSERT, {"email": "ada"})
        await connection.commit()

    assert await app.emails() == ["ada"]


async def test_executescript_does_not_commit_the_test(app, sandbox):
    """sqlite3 would end the transaction first."""
    if app.postgresql:
        pytest.skip("SQLite only")
    async with app.engine.connect() as connection:
        raw = await connection.get_raw_connection()

        def run() -> None:
            cursor = raw.cursor()
            cursor.executescript(
                "INSERT INTO users (email) VALUES ('ada'); "
                "CREATE TRIGGER t AFTER INSERT ON users BEGIN SELECT 1; SELECT 2; END; "
                "INSERT INTO users (email) VALUES ('bob')"
            )
            cursor.close()
            raw.commit()

        await connection.run_sync(lambda _: run())

    assert await app.emails() == ["ada", "bob"]


async def test_creator_of_the_app(app, sandbox, tmp_path):
    """An engine that is told how to connect, and not where."""
    if app.name == "file":
        import aiosqlite

        engine = create_async_engine(
            "sqlite+aiosqlite://", async_creator=lambda: aiosqlite.connect(tmp_path / "app.db"), poolclass=NullPool
        )
    elif app.name == "asyncpg":
        import asyncpg

        url = app.engine.url
        engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=lambda: asyncpg.connect(
                user="postgres", database=url.database, host=url.query["host"], port=int(url.query["port"])
            ),
        )
    else:
        pytest.skip("like the others")
    async with engine.begin() as connection:
        await connection.execute(INSERT, {"email": "ada"})
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT email FROM users"))).all() == [("ada",)]
    await engine.dispose()


async def test_two_drivers_to_one_database_are_refused(postgres, no_redirect):
    """They cannot share a connection, and with two of them neither would see the other's rows."""
    first = create_async_engine(postgres.url("asyncpg"))
    second = create_async_engine(postgres.url("psycopg"))
    async with RollbackSandbox(hooks):
        async with first.connect() as connection:
            await connection.execute(text("SELECT 1"))
        with pytest.raises(SandboxError) as caught:
            async with second.connect():
                pass
    assert str(caught.value) == (
        "the app uses the database 'sandbox' through asyncpg and through psycopg. A test that is isolated by rollback "
        "has one connection for each database, which two drivers cannot share: use one driver, or give this test real "
        'connections: @pytest.mark.db(isolation="commit").'
    )
    await first.dispose()


async def test_two_databases(app, sandbox, tmp_path):
    """Each has a link of its own, and both are rolled back."""
    other = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/other.db")
    async with other.begin() as connection:
        await connection.execute(text("CREATE TABLE notes (body TEXT)"))
    await app.request("ada")
    async with other.connect() as connection:
        assert (await connection.execute(text("SELECT * FROM notes"))).all() == []
    assert len(list(sandbox.links)) == 2


@pytest.mark.parametrize("kind", ["file", "creator"])
async def test_synchronous_engines_are_refused(tmp_path, no_redirect, kind):
    """They would really commit, and the rows would stay."""
    import sqlite3

    options = {} if kind == "file" else {"creator": lambda: sqlite3.connect(tmp_path / "x.db")}
    engine = create_engine(f"sqlite:///{tmp_path}/x.db", **options)
    async with RollbackSandbox(hooks) as sandbox:
        if kind == "file":
            with pytest.raises(
                SandboxError, match=r"a synchronous engine connects to sqlite\S*x\.db at \S*test_engines\.py"
            ):
                engine.connect()
        with create_engine("sqlite://").connect() as connection:  # nobody else's
            assert connection.execute(text("SELECT 1")).scalar() == 1
        async with sandbox.outside():
            with engine.begin() as connection:
                connection.execute(text("CREATE TABLE t (x INT)"))
    engine.dispose()


async def test_another_event_loop_is_refused(app, sandbox):
    """A thread with a loop of its own: the connection is the test's loop's."""
    errors = []

    def thread() -> None:
        try:
            asyncio.run(app.emails())
        except SandboxError as error:
            errors.append(str(error))

    other = threading.Thread(target=thread)
    other.start()
    await asyncio.to_thread(other.join)
    (error,) = errors
    assert "in another event loop than that of the test" in error


async def test_links_of_another_event_loop_are_refused(no_redirect):
    """The connections in them are bound to it."""
    links = await asyncio.to_thread(asyncio.run, Links().__aenter__())
    with pytest.raises(SandboxError, match="these links belong to another event loop"):
        await RollbackSandbox(hooks, links).__aenter__()
    assert not hooks.active


async def test_outside_really_commits(app):
    """What is done outside is there for everybody, and is not undone."""
    async with RollbackSandbox(hooks) as sandbox:
        async with sandbox.outside(), app.engine.begin() as connection:
            await connection.execute(text("CREATE TABLE outside (word VARCHAR(10))"))
        async with app.engine.begin() as connection:
            await connection.execute(text("INSERT INTO outside VALUES ('in')"))
        if app.name == "memory":
            with pytest.raises(SandboxError, match="is one connection, and the test has written to it already"):
                async with sandbox.outside():
                    pass
    async with app.engine.begin() as connection:
        assert (await connection.execute(text("SELECT * FROM outside"))).all() == []
        await connection.execute(text("DROP TABLE outside"))


async def test_tasks_that_begin_outside_are_inside_when_it_is_over(app, sandbox):
    """A worker that the lifespan starts works in the sandbox of the test."""
    go = asyncio.Event()

    async def worker():
        await go.wait()
        await app.request("worker")

    async with sandbox.outside():
        task = asyncio.create_task(worker())
    go.set()
    await task

    assert await app.emails() == ["worker"]


async def test_connection_that_dies_takes_one_test_with_it(app, no_redirect):
    """The next sandbox over the same links has a new one."""
    if not app.postgresql:
        pytest.skip("PostgreSQL only")
    async with Links() as links:
        async with RollbackSandbox(hooks, links):
            await app.request("ada")
            next(iter(links)).kill()
            with pytest.raises(SandboxError, match="the connection of the sandbox to 'sandbox' was lost in this test"):
                await app.request("bob")
        async with RollbackSandbox(hooks, links):
            await app.request("eve")
            assert await app.emails() == ["eve"]


async def test_nothing_stays_when_the_hooks_go(app):
    """Without a sandbox, and without hooks, the libraries are as they were."""
    from sqlalchemy.engine.default import DefaultDialect
    from sqlalchemy.pool import Pool

    before = Pool.connect, DefaultDialect.connect
    async with RollbackSandbox(hooks):
        await app.emails()
    assert (Pool.connect, DefaultDialect.connect) == before or hooks._installed > 0


async def test_no_error_is_logged(app, session, caplog):
    """SQLAlchemy logs what goes wrong with its pools."""
    with caplog.at_level(logging.ERROR, logger="sqlalchemy"):
        await asyncio.gather(*(app.request(f"user{number}") for number in range(5)))
        (await session.scalars(select(app.User))).all()
        async with fresh_session(app.engine) as other:
            await other.execute(text("SELECT 1"))
    assert caplog.records == []
