"""A test session never reaches the app's own database: at import, in shared fixtures, in tests that ask for none."""

import pytest

from tests.database.conftest import ISOLATION_BY_PARAMETER

URLS = {"sqlite": "sqlite+aiosqlite:///precious.db", "asyncpg": "postgresql+asyncpg://user:password@localhost/dbname"}
BOTH = pytest.mark.parametrize("kind", URLS)
SEED = """
import asyncio, pytest, pytest_asyncio, shop

@pytest_asyncio.fixture(scope="session", autouse=True, loop_scope="session")
async def seed():
    await shop.add("seed")

@pytest.fixture(autouse=True)
async def each():
    await shop.add("each")
"""


@pytest.fixture
def run(shop, pytester):
    def run(kind, tests, *options, **files):
        result = shop(URLS[kind], tests, "-p", "no:cacheprovider", *options, **files)
        assert not (pytester.path / "precious.db").exists()
        return result

    return run


@BOTH
@pytest.mark.parametrize("order", ["rollback commit rollback", "commit rollback commit"])
def test_what_shared_fixtures_write_is_there_in_each_test(run, kind, order):
    """An autouse fixture of scope session that takes nothing of ours, and one of each test, which is undone with it."""
    result = run(
        kind,
        f"""
@pytest.mark.parametrize("n", range(2))
@pytest.mark.parametrize("isolation", {[*dict.fromkeys(order.split())]!r})
class Test:
    async def test_one(self, db, db_session, n, isolation):
        emails = (await db_session.scalars(select(shop.User.email))).all()
        assert sorted(emails) == await shop.emails() == ["each", "seed"]
        await shop.add("own")
""",
        conftest=SEED + ISOLATION_BY_PARAMETER,
    )

    result.assert_outcomes(passed=4)


@BOTH
def test_shared_fixtures_of_a_later_module(run, kind):
    """What they write stays, though resets have put the database back before."""
    module = """
import pytest, pytest_asyncio, shop
pytestmark = pytest.mark.db(isolation="commit")

@pytest_asyncio.fixture(scope="module", autouse=True, loop_scope="module")
async def rows():
    await shop.add(__name__)

@pytest.mark.parametrize("n", range(2))
async def test_one(db, n):
    assert __name__ in await shop.emails()
    assert "own" not in await shop.emails()
    await shop.add("own")
"""
    result = run(kind, module, test_sub=module)

    result.assert_outcomes(passed=4)


@BOTH
def test_synchronous_engine_in_a_shared_fixture(run, kind):
    """It commits for real, in the harness's database."""
    sync = URLS[kind].replace("+aiosqlite", "").replace("asyncpg", "psycopg")
    result = run(
        kind,
        f"""
import sqlalchemy
sync = sqlalchemy.create_engine({sync!r})

@pytest.fixture(scope="session", autouse=True)
def seed():
    with sync.begin() as connection:
        connection.execute(text("INSERT INTO users (email) VALUES ('seed')"))
    sync.dispose()

async def test_one(db):
    assert await shop.emails() == ["seed"]
""",
    )

    result.assert_outcomes(passed=1)


@BOTH
def test_import_of_conftest(run, kind):
    """Nothing is there to connect to; the error names the line."""
    result = run(kind, "async def test_one(db): pass", conftest="import asyncio, shop\nasyncio.run(shop.add('early'))")

    assert result.ret != 0
    text = result.stdout.str() + result.stderr.str()
    assert "while no test runs (conftest.py and the tests are imported" in text
    assert "password" not in text
    assert "shop.py:" in text


@BOTH
def test_a_test_without_a_database(run, kind):
    """It is refused, also where the engine has an open connection from a test before it; and so is a late thread."""
    result = run(
        kind,
        """
@pytest.mark.db(isolation="commit")
async def test_before(db):
    await shop.add("x")

async def test_plain():
    await shop.add("y")

async def test_after(db):
    assert await shop.emails() == []
""",
        "-p",
        "no:randomly",
    )

    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*ForeignDatabase: the app connects to * in test_plain, a test without a database. Take the fixture*",
            "E*at *shop.py:* in add",
        ]
    )


def test_a_database_in_memory_is_the_apps_own_in_any_test(run):
    """There is nothing of anybody's in it."""
    result = run(
        "sqlite",
        """
async def test_plain():
    for url in ("sqlite+aiosqlite://", "sqlite+aiosqlite:///:memory:"):
        engine = shop.create_async_engine(url)
        async with engine.connect() as connection:
            await connection.exec_driver_sql("CREATE TABLE t (x INT)")
        await engine.dispose()
""",
    )

    result.assert_outcomes(passed=1)


def test_none_leaves_all_alone(shop, pytester):
    """asyncapi_database = none: the app's database is the app's business."""
    result = shop(
        URLS["sqlite"],
        """
async def test_plain():
    async with shop.engine.begin() as connection:
        await connection.run_sync(shop.Base.metadata.create_all)
    await shop.add("y")
""",
        "-o",
        "asyncapi_database=none",
    )

    result.assert_outcomes(passed=1)
    assert (pytester.path / "precious.db").exists()


def test_the_apps_file_is_not_opened_by_sqlite3(run):
    """Whoever looks into the app's own file finds none of the test's rows; other files are nobody's business."""
    result = run(
        "sqlite",
        """
import sqlite3
from sqlite3 import dbapi2

async def test_one(db, tmp_path):
    await shop.add("x")
    with pytest.raises(Exception) as caught:
        sqlite3.connect("./precious.db")  # here
    assert str(caught.value) == (
        "the app connects to sqlite+sqlite3:///./precious.db in a test, but that is the app's own file, and sqlite3 is "
        "not redirected. The rows of the test are in another one: read them by `db_session`, or open "
        f"`db.target.database`.\\n  at {__file__}:10 in test_one"
    )
    with pytest.raises(Exception, match="the app's own file"):
        dbapi2.connect(database=b"precious.db")
    sqlite3.connect(tmp_path / "other.db").close()
    sqlite3.connect(db.target.database).close()
    sqlite3.connect(":memory:").close()
""",
    )

    result.assert_outcomes(passed=1)


PSYCOPG2 = """
import psycopg2
import psycopg2.extensions
real = []
def connect(dsn=None, **options):
    return _connect(psycopg2.extensions.make_dsn(dsn, **options))
def _connect(dsn, connection_factory=None, **options):
    real.append(dsn)
    return dsn
"""
EXTENSIONS = """
def parse_dsn(dsn):
    return dict(part.split("=", 1) for part in dsn.split())
def make_dsn(dsn=None, **options):
    return " ".join(filter(None, [dsn, *(f"{key}={value}" for key, value in options.items())]))
"""


def test_psycopg2_is_redirected_and_refused_in_a_sandbox(run, pytester):
    """By what it has in common with a stand-in: `_connect(dsn)`, `parse_dsn` and `make_dsn`."""
    package = pytester.mkpydir("psycopg2")
    (package / "__init__.py").write_text(PSYCOPG2)
    (package / "extensions.py").write_text(EXTENSIONS)
    result = run(
        "asyncpg",
        """
import psycopg2

@pytest.mark.db(isolation="commit")
async def test_commit(db):
    psycopg2.connect(host="db.example.com", dbname="dbname", user="u", password="secret")
    assert f"dbname={db.target.database}" in psycopg2.real[-1]
    assert "example" not in psycopg2.real[-1] and "secret" not in psycopg2.real[-1]

async def test_rollback(db):
    with pytest.raises(Exception, match="a connection of psycopg2 is opened at .* would really commit"):
        psycopg2.connect("host=db.example.com dbname=shop")

def test_plain():
    with pytest.raises(Exception, match="in test_plain, a test without a database"):
        psycopg2.connect("host=db.example.com dbname=shop")
""",
    )

    result.assert_outcomes(passed=3)


@pytest.mark.parametrize("first", ["sqlalchemy_hooks", "psycopg_hooks"])
def test_libraries_that_are_first_imported_by_our_own_hooks(pytester, first):
    """A hook's module imports its library at its top, and is asked for its hook before it has run to its end."""
    modules = [first, "sqlalchemy_hooks", "psycopg_hooks", "asyncpg_hooks", "aiosqlite_hooks"]
    pytester.makefile(
        ".ini",
        pytest="[pytest]\nasyncio_mode = auto\naddopts = -p asyncio -p asyncapi\nasyncapi_database = sqlite\n"
        "asyncio_default_fixture_loop_scope = function\nasyncapi_names = true\n",
    )
    pytester.makeconftest(
        "import sys\nassert not {'sqlalchemy', 'psycopg', 'asyncpg', 'aiosqlite'} & set(sys.modules)\n"
        + "".join(f"import pytest_asyncapi.database.{module}\n" for module in modules)
    )
    pytester.makepyfile("""
import aiosqlite, asyncpg, psycopg, pytest, sqlalchemy
from pytest_asyncapi.errors import ForeignDatabase

DSN = "postgresql://app@db.internal/shop"

@pytest.mark.parametrize("connect", [
    lambda: sqlalchemy.create_engine("sqlite:///precious.db").connect(),
    lambda: psycopg.connect(DSN),
])
def test_a_plain_test(connect):
    with pytest.raises(ForeignDatabase, match="a test without a database"):
        connect()

@pytest.mark.parametrize("connect", [
    lambda: aiosqlite.connect("precious.db"),
    lambda: psycopg.AsyncConnection.connect(DSN),
    lambda: asyncpg.connect(DSN),
])
async def test_a_plain_async_test(connect):
    with pytest.raises(ForeignDatabase, match="a test without a database"):
        await connect()
""")

    pytester.runpytest_subprocess("-q").assert_outcomes(passed=5)
    assert not (pytester.path / "precious.db").exists()


@pytest.mark.parametrize("kind", [*URLS, "psycopg"])
def test_what_shared_fixtures_write_is_in_a_database_of_a_tests_own(shop, pytester, kind):
    """A copy has their rows and their tables, also when a connection of theirs is still open."""
    result = shop(
        kind,
        """
import sqlalchemy
driver = shop.engine.url.get_backend_name().replace("postgresql", "postgresql+psycopg")
sync = sqlalchemy.create_engine(shop.engine.url.set(drivername=driver))

@pytest.fixture(scope="module", autouse=True)
def seed():
    with sync.begin() as connection:
        connection.execute(text("INSERT INTO users (email) VALUES ('seed')"))
        connection.execute(text("CREATE TABLE extra (id int)"))
    yield  # its pool has an open connection

async def emails(session):
    return sorted((await session.scalars(select(shop.User.email))).all())

@pytest.mark.parametrize("isolation", ["database", "rollback", "database", "commit", "rollback"])
async def test_one(db, db_session, isolation):
    async with shop.engine.begin() as connection:
        await connection.execute(text("INSERT INTO extra VALUES (1)"))
        assert (await connection.execute(text("SELECT count(*) FROM extra"))).scalar() == 1
    await shop.add("own")
    assert await shop.emails() == await emails(db_session) == ["own", "seed"]
    if isolation == "database" and db.dialect == "postgresql":
        found = await db_session.scalars(text("SELECT nspname FROM pg_namespace WHERE nspname LIKE '%asyncapi%'"))
        assert found.all() == []
""",
        "-p",
        "no:randomly",
        conftest=ISOLATION_BY_PARAMETER,
    )

    result.assert_outcomes(passed=5)


@pytest.mark.parametrize(("kind", "first"), [("sqlite", "database"), ("asyncpg", "database"), ("asyncpg", "commit")])
def test_what_a_shared_lifespan_writes_is_there_whichever_isolation_comes_first(shop, kind, first):
    """It outlives the reset after real commits, and is in copies; all of it goes with its loop."""
    result = shop(
        kind,
        """
seeded = []

@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("isolation", ["FIRST", "rollback", "database", "commit", "database"])
async def test_module_loop(asyncapi_db, isolation):
    if not seeded:
        async with asyncapi_db.outside():
            await shop.add("lifespan")
        seeded.append(1)
    assert await shop.emails() == ["lifespan"]
    await shop.add("test")
""".replace("FIRST", first),
        "-p",
        "no:randomly",
        test_z="""
import shop
async def test_other_loop(db):
    assert await shop.emails() == []
""",
        conftest="""
import pytest
def pytest_collection_modifyitems(items):
    for item in items:
        if "isolation" in item.fixturenames:
            item.add_marker(pytest.mark.db(isolation=item.callspec.params["isolation"]))
""",
    )

    result.assert_outcomes(passed=6)


def test_a_shared_lifespan_that_begins_late_is_warned_of(shop):
    """The test has rows in its own database by then, which no copy may take from it."""
    result = shop(
        "sqlite",
        """
@pytest.mark.db(isolation="database")
async def test_one(asyncapi_db):
    await shop.add("own")
    async with asyncapi_db.outside():
        await shop.add("lifespan")
    assert await shop.emails() == ["lifespan", "own"]
    (told,) = asyncapi_db.warnings
    assert told == (
        "the lifespan that tests share began when this test, of database isolation, had made queries in a database of "
        "its own: what it wrote at start-up is there only. Let `client` come first."
    )
""",
    )

    result.assert_outcomes(passed=1, warnings=1)
