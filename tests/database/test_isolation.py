"""The three isolations: each test finds the tables as the schema made them, and `db.isolation` tells how."""

import sys

import pytest

from tests.database.conftest import ISOLATION_BY_PARAMETER

TWICE = '@pytest.mark.parametrize("time", [1, 2])\n'
SESSION_LOOP = ("-o", "asyncio_default_test_loop_scope=session", "-o", "asyncio_default_fixture_loop_scope=session")
ALL = """
TWICE = pytest.mark.parametrize("time", [1, 2])

@TWICE
async def test_rollback(db, db_session, time):
    assert db.isolation == "rollback" and db.isolation.reason == "the default"
    db_session.add(shop.User(email="flushed"))
    await db_session.flush()
    assert await shop.emails() == ["flushed"]
    await asyncio.gather(*(shop.add(f"{n}@example.com") for n in range(5)))
    assert len((await db_session.scalars(select(shop.User))).all()) == 6

@TWICE
@pytest.mark.db(isolation="commit")
async def test_commit(db, db_session, time):
    assert db.isolation == "commit" and db.isolation.reason == "@pytest.mark.db(isolation='commit')"
    db_session.add(shop.User(email="flushed"))
    if "memory" not in str(shop.engine.url):  # there everybody has the one connection
        await db_session.flush()
        assert await shop.emails() == []
    await db_session.commit()
    assert await shop.emails() == ["flushed"]
    async with db.savepoint():
        await shop.add("undone")
        assert await shop.emails() == ["flushed", "undone"]
    assert await shop.emails() == ["flushed"]

@TWICE
@pytest.mark.db(isolation="database")
async def test_database(db, db_session, time):
    assert db.isolation == "database"
    async with shop.engine.begin() as connection:
        await connection.execute(text("CREATE TABLE extra (id int)"))
        await connection.execute(text("INSERT INTO extra VALUES (1)"))
    await shop.add("a@example.com")
    assert len((await db_session.scalars(select(shop.User))).all()) == 1

@TWICE
@pytest.mark.db(isolation="commit")
async def test_tables_that_a_test_makes_are_gone_too(db, time):
    async with shop.engine.begin() as connection:
        await connection.execute(text("CREATE TABLE extra (id int)"))
    await shop.add("a@example.com")

async def test_in_between_numbers_go_on(db):
    await shop.add("a@example.com")

@TWICE
@pytest.mark.db(isolation="commit")
async def test_numbers_begin_anew(db, db_session, time):
    user = shop.User(email="a@example.com")
    db_session.add(user)
    await db_session.commit()
    assert user.id == 1

async def test_in_the_end_nothing_is_left(db):
    assert await shop.emails() == []
"""


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("sqlite", ()),
        ("asyncpg", SESSION_LOOP),
        pytest.param("sqlite", SESSION_LOOP, marks=pytest.mark.slow),
        pytest.param("memory", (), marks=pytest.mark.slow),
        pytest.param("memory", SESSION_LOOP, marks=pytest.mark.slow),
        pytest.param("asyncpg", (), marks=pytest.mark.slow),
        pytest.param("psycopg", (), marks=pytest.mark.slow),
        pytest.param("psycopg", SESSION_LOOP, marks=pytest.mark.slow),
    ],
    ids=lambda value: value if isinstance(value, str) else "session" if value else "function",
)
def test_each_test_finds_the_tables_as_the_schema_made_them(shop, kind, options):
    """In all isolations, twice each, with a loop a test and a loop for all."""
    result = shop(kind, ALL, *options)

    result.assert_outcomes(passed=12)
    assert not (result._pytester.path / "app.db").exists() if hasattr(result, "_pytester") else True


def test_the_apps_own_file_is_never_touched(shop, pytester):
    """The app names ./app.db: no test makes that file."""
    shop("sqlite", "async def test_one(db): await shop.add('a')").assert_outcomes(passed=1)

    assert not (pytester.path / "app.db").exists()


REASONS = """
@pytest.mark.parametrize("_", [0])
async def test_one(db, _):
    print(f"({db.isolation}: {db.isolation.reason})")
"""


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "(rollback: the default)"),
        (("-o", "asyncapi_isolation=commit"), "(commit: asyncapi_isolation in -o)"),
        (("--live",), "(commit: --live makes real commits)"),
    ],
)
def test_the_isolation_says_who_wants_it(shop, options, told):
    result = shop("sqlite", REASONS, "-s", *options)

    result.stdout.fnmatch_lines([f"*{told}*"])


def test_a_wider_loops_lifespan_keeps_its_rows_and_the_tests_do_not(shop):
    """`outside()`, as the client uses it for a lifespan that tests share: its rows are there until the loop ends."""
    result = shop(
        "sqlite",
        """
        @pytest.fixture(scope="module")
        def seeded():
            return []

        @pytest.mark.asyncio(loop_scope="module")
        @pytest.mark.parametrize("isolation", ["rollback", "commit", "rollback", "commit"])
        async def test_module_loop(asyncapi_db, seeded, isolation, request):
            if not seeded:
                async with asyncapi_db.outside():
                    await shop.add("lifespan")
                seeded.append(1)
            assert await shop.emails() == ["lifespan"]
            await shop.add("test")

        async def test_own_loop(db):
            pass
        """.replace("\n        ", "\n"),
        test_z="""
        import shop
        async def test_other_loop(db):
            assert await shop.emails() == []
        """,
    )

    result.assert_outcomes(passed=6)


def test_a_transaction_left_open_in_commit_isolation_is_named_and_ended(shop):
    """It would keep the database from being put back."""
    result = shop(
        "asyncpg",
        """
kept = []

@pytest.mark.db(isolation="commit")
@pytest.mark.asyncio(loop_scope="module")
async def test_leak(db):
    session = shop.Session()
    session.add(shop.User(email="leak"))
    await session.flush()
    kept.append(session)

@pytest.mark.asyncio(loop_scope="module")
async def test_next(db):
    assert await shop.emails() == []
    try:
        await kept.pop().close()
    except Exception:
        pass
""",
    )

    result.assert_outcomes(passed=2, warnings=1)
    result.stdout.fnmatch_lines(["*a connection left idle in transaction, last SQL: INSERT INTO users*"])


@pytest.mark.parametrize("kind", ["asyncpg", "psycopg"])
def test_no_connection_is_left_open(shop, pytester, kind):
    """In development mode, with every warning an error: neither the app's connections nor the harness's own leak."""
    tests = """
pytestmark = pytest.mark.filterwarnings("error")

@pytest.mark.parametrize("isolation", ["rollback", "commit", "database"])
@pytest.mark.parametrize("n", range(2))
async def test_one(db, db_session, isolation, n):
    await shop.add("x")
    assert (await db_session.scalars(select(shop.User.email))).all() == ["x"]
"""
    conftest = ISOLATION_BY_PARAMETER
    shop(kind, tests, "--collect-only", conftest=conftest)
    command = (sys.executable, "-X", "dev", "-W", "error", "-m", "pytest", "-q", "-W", "error", "-p", "no:randomly")

    result = pytester.run(*command)

    result.assert_outcomes(passed=6)
    assert result.ret == 0
    assert "unclosed" not in result.stdout.str() + result.stderr.str()


def test_a_task_that_outlives_its_test_is_named_in_the_next(shop):
    """Where tests share a loop, it fills the tables of the next one. What a shared lifespan began is no test's."""
    result = shop(
        "sqlite",
        """
running = []

def begin(name):
    async def work():
        await go[-1].wait()
        await shop.add(name)
    running.append(asyncio.create_task(work(), name=name))

go = []

async def test_a(asyncapi_db):
    go.append(asyncio.Event())
    async with asyncapi_db.outside():
        begin("lifespan")
    begin("left")

async def test_b(db):
    go[-1].set()
    with pytest.warns(Warning) as caught:
        await asyncio.gather(*running)
    (told,) = [str(each.message) for each in caught]
    assert told == (
        "SQLAlchemy connection is used in task left, which an earlier test has left running: what it writes is in "
        "this test now. Await or cancel background work before the test ends.\\n  at " + told.rpartition("  at ")[2]
    )
    assert "shop.py:" in told
    assert await shop.emails() == ["left", "lifespan"]
""",
        *SESSION_LOOP,
        "-p",
        "no:randomly",
    )

    result.assert_outcomes(passed=2)


@pytest.mark.parametrize("kind", ["asyncpg", "sqlite"])
@pytest.mark.parametrize("first", ["rollback", "commit", "database"])
def test_the_rows_of_a_real_lifespan_are_there_for_all_tests_of_its_loop(shop, pytester, kind, first):
    """Which `client` starts in a context of its own, by an engine and (on PostgreSQL) by a bare pool of asyncpg."""
    pytester.makepyfile(
        web="""
import contextlib, asyncpg, shop

@contextlib.asynccontextmanager
async def started():
    await shop.add("lifespan")
    if shop.engine.dialect.driver == "aiosqlite":
        await shop.add("pool")
        yield
        return
    async with asyncpg.create_pool("postgresql://app@db.internal/dbname", min_size=1) as pool:
        await pool.execute("INSERT INTO users (email) VALUES ('pool')")
        yield

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        async with started():
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})
"""
    )
    result = shop(
        kind,
        """
from web import app

@pytest.fixture(scope="session")
def asgi_app():
    return app

@pytest.mark.parametrize("isolation", ["FIRST", "rollback", "database", "commit", "rollback"])
async def test_one(client, isolation):
    assert await shop.emails() == ["lifespan", "pool"]
    await shop.add("test")
""".replace("FIRST", first),
        *SESSION_LOOP,
        "-p",
        "no:randomly",
        conftest=ISOLATION_BY_PARAMETER,
    )

    result.assert_outcomes(passed=5)


def test_numbers_do_not_depend_on_the_tests_before(shop):
    """Those that were rolled back have moved the sequences of PostgreSQL, also before the first real commit."""
    result = shop(
        "asyncpg",
        """
@pytest.mark.parametrize("isolation", ["rollback", "commit", "rollback", "commit", "commit"])
async def test_one(db, db_session, isolation):
    user = shop.User(email="a@example.com")
    db_session.add(user)
    await db_session.commit()
    assert isolation == "rollback" or user.id == 1
""",
        "-p",
        "no:randomly",
        conftest=ISOLATION_BY_PARAMETER,
    )

    result.assert_outcomes(passed=5)


def test_a_pool_of_psycopg_that_tests_share_follows_them_into_their_databases(shop):
    """It does not look at a connection before it lends it, and those to the database before are closed."""
    result = shop(
        "psycopg",
        """
from psycopg_pool import AsyncConnectionPool

@pytest.fixture(scope="session")
async def pool():
    async with AsyncConnectionPool("postgresql://app@db.internal/dbname", min_size=2, open=False) as pool:
        async with pool.connection() as connection:
            await connection.execute("INSERT INTO users (email) VALUES ('seed')")
        yield pool

@pytest.mark.parametrize("isolation", ["commit", "database", "database", "commit"])
async def test_one(db, pool, isolation):
    async def add(n):
        async with pool.connection() as connection:
            await connection.execute("INSERT INTO users (email) VALUES (%s)", (str(n),))

    await asyncio.gather(*(add(n) for n in range(4)))
    assert await shop.emails() == ["0", "1", "2", "3", "seed"]
""",
        *SESSION_LOOP,
        "-p",
        "no:randomly",
        conftest=ISOLATION_BY_PARAMETER,
    )

    result.assert_outcomes(passed=4)
