"""Transactions behave as on connections of their own: what commits stays for the test, what fails is undone alone."""

import asyncio
import sys

import pytest
from sqlalchemy import event, func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, InternalError
from sqlalchemy.ext.asyncio import async_sessionmaker

from pytest_asyncapi.errors import SandboxError, SandboxWarning


async def test_integrity_error_undoes_its_transaction_only(app, session, count):
    """An app that answers 409 goes on, and so do the rows before and after."""
    await app.request("ada")

    with pytest.raises(IntegrityError):
        await app.request("ada")
    await app.request("bob")

    assert await app.emails() == ["ada", "bob"]
    assert await count() == 2


async def test_rows_before_an_error_are_undone_with_it(app, sandbox):
    async with app.Session() as session:
        session.add(app.User(email="ada"))
        await session.flush()
        session.add(app.User(email="ada"))
        with pytest.raises(IntegrityError):
            await session.flush()
        await session.rollback()
        session.add(app.User(email="bob"))
        await session.commit()

    assert await app.emails() == ["bob"]


async def test_error_in_a_savepoint_keeps_the_rest(app, sandbox):
    async with app.Session() as session:
        session.add(app.User(email="ada"))
        await session.flush()
        with pytest.raises(IntegrityError):
            async with session.begin_nested():
                session.add(app.User(email="ada"))
        async with session.begin_nested():
            session.add(app.User(email="bob"))
        await session.commit()

    assert await app.emails() == ["ada", "bob"]


async def test_nested_savepoints_of_two_sessions_do_not_mix(app, session):
    """Each names its savepoints from 1 up."""
    session.add(app.User(email="ada"))
    await session.flush()
    async with session.begin_nested():
        session.add(app.User(email="bob"))
        await session.flush()
        async with app.Session() as other, other.begin(), other.begin_nested() as inner:
            other.add(app.User(email="eve"))
            await other.flush()
            await inner.rollback()

    assert await app.emails() == ["ada", "bob"]


@pytest.mark.parametrize("deferrable_row", [True, False])
async def test_deferred_constraint_is_checked_at_commit(app, sandbox, deferrable_row):
    """A pet may come before its owner, but not without one."""
    async with app.Session() as session:
        session.add(app.Pet(id=1, owner_id=7))
        await session.flush()
        if deferrable_row:
            session.add(app.User(id=7, email="ada"))
            await session.commit()
        else:
            with pytest.raises(IntegrityError):
                await session.commit()

    async with app.Session() as session:
        assert await session.scalar(select(func.count()).select_from(app.Pet)) == int(deferrable_row)
        # and it is deferred for those who come later, too
        session.add(app.Pet(id=2, owner_id=8))
        await session.flush()
        session.add(app.User(id=8, email="bob"))
        await session.commit()


async def test_autocommit_stays_when_the_session_rolls_back(app, sandbox):
    engine = app.engine.execution_options(isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text("INSERT INTO users (email) VALUES ('ada')"))
        with pytest.raises(IntegrityError):
            await connection.execute(text("INSERT INTO users (email) VALUES ('ada')"))
        await connection.execute(text("INSERT INTO users (email) VALUES ('bob')"))
        await connection.rollback()

    assert await app.emails() == ["ada", "bob"]


async def test_autocommit_of_the_whole_engine(app, sandbox):
    if app.name == "memory":
        pytest.skip("another engine is another database")
    engine = app.make_engine(isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text("INSERT INTO users (email) VALUES ('ada')"))
        await connection.rollback()
        assert (await connection.execute(text("SELECT email FROM users"))).all() == [("ada",)]
    await engine.dispose()


async def test_isolation_level_of_one_checkout_does_not_stay(app, sandbox):
    async with app.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("INSERT INTO users (email) VALUES ('ada')"))
    async with app.engine.connect() as connection:
        await connection.execute(text("INSERT INTO users (email) VALUES ('bob')"))
        await connection.rollback()

    assert await app.emails() == ["ada"]


async def test_textual_begin_and_commit(app, sandbox):
    """Under AUTOCOMMIT an app may write its transactions by hand."""
    engine = app.engine.execution_options(isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        for statement in ["BEGIN", "INSERT INTO users (email) VALUES ('ada')", "COMMIT"]:
            await connection.execute(text(statement))
        for statement in ["BEGIN", "INSERT INTO users (email) VALUES ('bob')", "ROLLBACK"]:
            await connection.exec_driver_sql(statement)
        await connection.exec_driver_sql("/* begin */ BEGIN")
        await connection.exec_driver_sql("INSERT INTO users (email) VALUES ('eve')")
        await connection.exec_driver_sql("SAVEPOINT mine")
        await connection.exec_driver_sql("INSERT INTO users (email) VALUES ('mallory')")
        await connection.exec_driver_sql("ROLLBACK TO SAVEPOINT mine")
        await connection.exec_driver_sql("COMMIT")

    assert await app.emails() == ["ada", "eve"]


async def test_begin_recipe_for_sqlite(app, sandbox):
    """SQLAlchemy's documented recipe: no transactions by the driver, a textual BEGIN from an event."""
    if app.postgresql:
        pytest.skip("SQLite only")
    engine = app.make_engine()

    @event.listens_for(engine.sync_engine, "connect")
    def no_begin_of_the_driver(connection, record):
        connection.isolation_level = None

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection):
        connection.exec_driver_sql("BEGIN")

    Session = async_sessionmaker(engine)
    async with Session() as session:
        if app.name == "memory":
            await session.run_sync(lambda s: app.User.metadata.create_all(s.connection()))
        session.add(app.User(email="ada"))
        await session.commit()
        session.add(app.User(email="bob"))
        await session.flush()
        await session.rollback()
        assert (await session.scalars(select(app.User.email))).all() == ["ada"]
        await session.rollback()
    await engine.dispose()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sqlite3 has the option from Python 3.12")
async def test_autocommit_false_of_sqlite3(app, sandbox, tmp_path):
    """A transaction is always open then, and the isolation level means nothing."""
    if app.name != "file":
        pytest.skip("SQLite only")
    engine = app.make_engine(connect_args={"autocommit": False})
    Session = async_sessionmaker(engine)

    async def request(email, fail):
        async with Session() as session:
            session.add(app.User(email=email))
            await session.flush()
            await asyncio.sleep(0.002)
            await (session.rollback() if fail else session.commit())

    await asyncio.gather(*(request(f"user{number:02}", number % 2) for number in range(20)))
    async with Session() as session:
        emails = (await session.scalars(select(app.User.email).order_by(app.User.email))).all()
    assert emails == [f"user{number:02}" for number in range(0, 20, 2)]
    await engine.dispose()


async def test_commit_of_a_failed_transaction_is_a_rollback(app, sandbox):
    """As PostgreSQL answers COMMIT after an error."""
    if not app.postgresql:
        pytest.skip("SQLite goes on after an error")
    async with app.engine.connect() as connection:
        await connection.execute(text("INSERT INTO users (email) VALUES ('ada')"))
        with pytest.raises(DBAPIError):
            await connection.execute(text("SELECT 1/0"))
        with pytest.raises(DBAPIError, match="current transaction is aborted"):
            await connection.execute(text("SELECT 1"))
        await connection.commit()

    assert await app.emails() == []


async def test_read_only_transactions(app, sandbox):
    """They refuse to write, and do not make others read-only."""
    if not app.postgresql:
        pytest.skip("PostgreSQL only")
    engine = app.engine.execution_options(postgresql_readonly=True)
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT email FROM users"))).all() == []
        with pytest.raises((InternalError, DBAPIError), match="read-only transaction"):
            await connection.execute(text("INSERT INTO users (email) VALUES ('ada')"))
    await app.request("bob")

    assert await app.emails() == ["bob"]


async def test_more_isolation_is_warned_of(app, sandbox):
    """SERIALIZABLE is READ COMMITTED under a savepoint."""
    if not app.postgresql:
        pytest.skip("PostgreSQL only")
    engine = app.engine.execution_options(isolation_level="SERIALIZABLE")

    async def ask_twice():
        for _ in range(2):
            async with engine.begin() as connection:
                await connection.execute(text("SELECT 1"))

    with pytest.warns(SandboxWarning) as caught:
        await ask_twice()

    (warning,) = [str(warning.message) for warning in caught if warning.category is SandboxWarning]
    assert warning == (
        "the app asks for SERIALIZABLE; in the sandbox its transaction is a savepoint under READ COMMITTED. "
        '@pytest.mark.db(isolation="commit") shows the real thing.'
    )
    assert sandbox.warnings == [warning]


async def test_set_transaction_is_borne(app, sandbox):
    """Under a savepoint PostgreSQL would refuse it."""
    if not app.postgresql:
        pytest.skip("PostgreSQL only")
    async with app.engine.begin() as connection:
        with pytest.warns(SandboxWarning, match="REPEATABLE READ"):
            await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        await connection.execute(text("INSERT INTO users (email) VALUES ('ada')"))

    assert await app.emails() == ["ada"]


async def test_two_phase_commit_is_refused(app, sandbox):
    if not app.postgresql:
        pytest.skip("PostgreSQL only")
    async with app.engine.connect() as connection:
        with pytest.raises(SandboxError, match="PREPARE TRANSACTION cannot be done in the sandbox"):
            await connection.execute(text("PREPARE TRANSACTION 'x'"))


async def test_ddl_is_undone_too(app, sandbox):
    async with app.engine.begin() as connection:
        await connection.execute(text("CREATE TABLE notes (body TEXT)"))
        await connection.execute(text("INSERT INTO notes VALUES ('hello')"))
    async with app.engine.connect() as connection:
        assert (await connection.execute(text("SELECT body FROM notes"))).all() == [("hello",)]


async def test_streamed_result_lets_others_wait(app, sandbox):
    """A server-side cursor holds its transaction until it is read to its end, and others wait for that."""
    async with app.Session.begin() as session:
        session.add_all([app.User(email=f"user{number:03}") for number in range(120)])

    read = []

    async def reader():
        async with app.Session() as session:
            stream = await session.stream(
                select(app.User.email).order_by(app.User.email).execution_options(yield_per=10)
            )
            async for email in stream.scalars():
                read.append(email)
                if len(read) % 50 == 0:
                    await asyncio.sleep(0)

    await asyncio.gather(reader(), app.request("writer"), reader())

    assert len(read) >= 240
    assert "writer" in await app.emails()


async def test_json_of_an_app_is_json(app, session):
    """Type codecs that SQLAlchemy installs on its connections are in force on the virtual ones."""
    async with app.Session.begin() as other:
        other.add(app.User(email="ada", data={"a": [1, None]}))

    assert (await session.scalars(select(app.User))).one().data == {"a": [1, None]}


@pytest.mark.parametrize("way", ["statement", "function", "parameters"])
async def test_settings_of_a_transaction_end_with_it(app, sandbox, way):
    """As row-level security wants it: the next transaction finds what held before, committed or not."""
    if not app.postgresql:
        pytest.skip("of PostgreSQL")
    ways = {
        "statement": (text("SET LOCAL app.tenant = '7'"), None),
        "function": (text("SELECT set_config('app.tenant', :it, true)"), {"it": "7"}),
        "parameters": (select(func.set_config("app.tenant", "7", True)), None),
    }
    ask = text("SELECT coalesce(current_setting('app.tenant', true), '')")

    async def tenant(session):
        return (await session.execute(ask)).scalar()

    async with app.Session() as session:
        await session.execute(*ways[way])
        assert await tenant(session) == "7"
        async with session.begin_nested() as savepoint:
            await savepoint.rollback()
        assert await tenant(session) == "7"
        await session.commit()
        assert await tenant(session) == ""
        async with session.begin_nested() as savepoint:
            await session.execute(*ways[way])
            await savepoint.rollback()
        assert await tenant(session) == ""
        await session.execute(*ways[way])
        await session.execute(*ways[way])
        await session.commit()
    async with app.Session() as session:
        assert await tenant(session) == ""
        await session.execute(text("SET LOCAL ROLE pg_monitor"))
        await session.execute(text("SET LOCAL TIME ZONE 'Asia/Tokyo'"))
        await session.execute(text("SET LOCAL search_path TO public, pg_catalog"))
        await session.commit()
        settings = text("SELECT current_user, current_setting('timezone'), current_setting('search_path')")
        user, zone, path = (await session.execute(settings)).one()
        assert user == "postgres"
        assert zone != "Asia/Tokyo"
        assert path == '"$user", public'


async def test_temporary_table_until_the_commit(app, sandbox):
    """Each request of an import makes it anew."""
    if not app.postgresql:
        pytest.skip("of PostgreSQL")
    for _ in range(2):
        async with app.engine.begin() as connection:
            await connection.execute(text("CREATE TEMP TABLE incoming (LIKE users)\n  ON COMMIT DROP"))
            await connection.execute(text("INSERT INTO incoming (id, email) VALUES (1, 'ada')"))
            await connection.execute(text("INSERT INTO users (email) SELECT email || random() FROM incoming"))
    async with app.engine.connect() as connection:
        assert (await connection.execute(text("SELECT to_regclass('pg_temp.incoming')"))).scalar() is None
