"""What pytest shows of the database: errors that say what to do, sections of failing tests, the limit of queries."""

import subprocess
import sys

import pytest

BLOCK = """
import importlib.util
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *args: None if name in {names} else find_spec(name, *args)
"""
EMPTY_INI = """
[pytest]
addopts = -p asyncio -p asyncapi
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
asyncapi_names = true
"""


def test_session_without_sqlalchemy_names_the_extra(pytester):
    pytester.makefile(".ini", pytest=EMPTY_INI)
    pytester.makeconftest(BLOCK.format(names=["sqlalchemy"]))
    pytester.makepyfile("async def test_one(db_session): pass")

    result = pytester.runpytest_subprocess("-q")

    result.stdout.fnmatch_lines(
        [
            "fixture 'db_session' needs SQLAlchemy, which is not installed: pip install 'pytest-asyncapi[[]sqlalchemy]'"
            " (or 'pytest-asyncapi[[]postgres]', with asyncpg and a PostgreSQL server)."
        ]
    )


def test_db_without_any_library_names_the_extras(pytester):
    pytester.makefile(".ini", pytest=EMPTY_INI)
    pytester.makeconftest(BLOCK.format(names=["sqlalchemy", "asyncpg", "psycopg", "aiosqlite"]))
    pytester.makepyfile("async def test_one(db): pass")

    result = pytester.runpytest_subprocess("-q")

    result.stdout.fnmatch_lines(
        [
            "fixture 'db' needs SQLAlchemy, asyncpg, psycopg or aiosqlite, and none of them is installed: pip install"
            " 'pytest-asyncapi[[]sqlalchemy]', or 'pytest-asyncapi[[]postgres]' for PostgreSQL."
        ]
    )


def test_no_database_at_all(shop):
    """`asyncapi_database = none`: a test that asks for one is told so, others get none."""
    result = shop(
        "sqlite",
        "async def test_one(db): pass\nasync def test_two(_asyncapi_database): assert _asyncapi_database is None",
        "-o",
        "asyncapi_database=none",
    )

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["fixture 'db' needs a test database, and asyncapi_database = none says that there is to be none."]
    )


def test_a_project_without_a_database_pays_nothing(pytester):
    """Neither library is imported: none of ours is either."""
    pytester.makefile(".ini", pytest=EMPTY_INI)
    pytester.makepyfile(
        """
        import sys
        async def test_one(_asyncapi_database):
            assert _asyncapi_database is None
            ours = {name for name in sys.modules if name.startswith("pytest_asyncapi.database")}
            light = ("", ".fixtures", ".hooks", ".guard", ".interception", ".targets")
            assert ours <= {f"pytest_asyncapi.database{part}" for part in light}
            assert not {"sqlalchemy", "asyncpg", "aiosqlite"} & set(sys.modules)
        """
    )

    pytester.runpytest_subprocess("-q").assert_outcomes(passed=1)


def test_the_fixtures_module_imports_nothing_heavy():
    code = "import sys, pytest; from pytest_asyncapi.database import fixtures, hooks; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert not {"asyncio", "sqlalchemy", "asyncpg", "sqlite3", "anyio"} & set(shown)


def test_another_dialect_than_the_tests_one_is_refused(shop):
    """The app's engine speaks PostgreSQL, and the ini names SQLite: the error names the address and the line."""
    result = shop("asyncpg", "async def test_one(db): await shop.add('a')", "-o", "asyncapi_database=sqlite")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*: the app connects to postgresql+asyncpg://user@localhost*/dbname in a test, but no database of "
            "the harness speaks postgresql. The test database is sqlite (asyncapi_database): set it to auto, or to "
            "what the app speaks.",
            "E* at *shop.py:* in add",
        ]
    )


@pytest.mark.parametrize("isolation", ["rollback", "commit"])
def test_without_redirection_only_the_harnesss_databases_may_be_used(shop, pytester, isolation):
    """SQLite: a file that is not ours. Nothing is written before the refusal."""
    result = shop(
        "sqlite",
        "async def test_one(db): await shop.add('a')",
        "-o",
        "asyncapi_redirect=false",
        "-o",
        f"asyncapi_isolation={isolation}",
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*: the app connects to sqlite+aiosqlite:///*app.db in a test, but asyncapi_redirect is off and "
            "this file was not made by the harness. Point the app at sqlite:////* (db.url), or switch "
            "asyncapi_redirect on."
        ]
    )
    assert not (pytester.path / "app.db").exists()


@pytest.mark.parametrize("driver", ["asyncpg", pytest.param("psycopg", marks=pytest.mark.slow)])
def test_without_redirection_a_database_needs_the_harnesss_mark(shop, outer, driver):
    """PostgreSQL: theirs is refused before the first write; the one that `db.url` names is ours."""
    url = outer.url().replace("asyncpg", driver)

    result = shop(
        url,
        """
from sqlalchemy.ext.asyncio import create_async_engine

@pytest.mark.parametrize("isolation", ["rollback", "commit"])
async def test_theirs(db, isolation):
    await shop.add("a")

async def test_ours(db):
    async with create_async_engine(db.url).begin() as connection:
        await connection.execute(text("INSERT INTO users (email) VALUES ('a')"))
""",
        "-o",
        "asyncapi_redirect=false",
    )

    result.assert_outcomes(failed=2, passed=1)
    result.stdout.fnmatch_lines(
        [
            f"E*: the app connects to postgresql+{driver}://postgres@*/shop in a test, but asyncapi_redirect "
            "is off and this database does not carry the harness's mark: tests run in a database that pytest-asyncapi "
            "made, never in yours. Point the app at db.url, or switch asyncapi_redirect on."
        ]
    )


def test_a_limit_of_queries(shop):
    """By marker: the test fails in its call phase, with the queries; those of its fixtures do not count."""
    result = shop(
        "sqlite",
        """
@pytest.fixture
async def user(db_session):
    db_session.add(shop.User(email="a"))
    await db_session.commit()

@pytest.mark.db(max_queries=1)
async def test_within(user):
    await shop.emails()

@pytest.mark.db(max_queries=1)
async def test_above(user):
    await shop.emails()
    await shop.emails()
""",
    )

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["expected at most 1 quer*, got 2:", "*SELECT users.email FROM users*", "*shop.py:* in emails*"]
    )


def test_a_failing_test_shows_its_database(shop):
    """Where it ran, its slowest queries with their lines, and the N+1 among them."""
    result = shop(
        "sqlite",
        """
async def test_fails(db):
    await shop.add("a@example.com")
    for n in range(3):
        async with shop.Session() as session:
            await session.get(shop.User, n)
    assert False
""",
    )

    result.stdout.re_match_lines(
        [
            r"-+ database -+",
            r"SQLite [\d.]+, rollback isolation \(the default\)",
            r"4 queries in [\d.]+ ms; the slowest:",
            r"  1\. +[\d.]+ ms  (INSERT INTO users|SELECT users.id)",
            r"N\+1:",
            r"  3 x SELECT users.id\b.* FROM users WHERE users.id = \?",
            r"    at .*test_shop.py:8 in test_fails",
        ]
    )


def test_a_missing_table_says_that_there_is_no_schema(shop, pytester):
    (pytester.path / "pytest.ini").write_text(EMPTY_INI)

    result = shop("sqlite", "async def test_one(db): await shop.add('a')")

    result.stdout.fnmatch_lines(
        [
            "The database began empty, for the project names no schema: set asyncapi_schema, for instance to "
            "package.module:Base.metadata, or override the fixture db_schema."
        ]
    )


def test_a_sync_test_is_told_to_be_async(shop):
    result = shop("sqlite", "def test_one(db_session): pass")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*is asynchronous, but test_one is a plain function: make it `async def`."])


def test_a_sync_test_hears_of_the_fixture_that_it_has_named(shop):
    """Also where a hook of ours asks for the database first."""
    result = shop("sqlite", "async def test_one(db_session): pass\ndef test_two(db_session): pass")

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["fixture 'db_session' is asynchronous, but test_two is a plain function: *"])


def test_the_user_may_redefine_the_short_names(shop):
    """Ours depend on one another by their long names."""
    result = shop(
        "sqlite",
        """
@pytest.fixture
def db():
    return "mine"

async def test_one(db, db_session):
    assert db == "mine"
    db_session.add(shop.User(email="a"))
    await db_session.flush()
    assert await shop.emails() == ["a"]
""",
    )

    result.assert_outcomes(passed=1)
