"""An app with two databases of one kind: each has one of its own, in every isolation, by SQLAlchemy and without."""

import pytest

from pytest_asyncapi.database import naming
from pytest_asyncapi.errors import ConfigurationError

ENGINES = """
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

main = sa.MetaData()
notes = sa.Table("notes", main, sa.Column("id", sa.Integer, primary_key=True), sa.Column("body", sa.String))
other = sa.MetaData()
events = sa.Table("events", other, sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String))

zulu = create_async_engine({main!r})
analytics = create_async_engine({analytics!r})
replica = create_async_engine({replica!r})

async def write(engine, table, **values):
    async with engine.begin() as connection:
        await connection.execute(table.insert(), values)

async def read(engine, column):
    async with engine.connect() as connection:
        return (await connection.scalars(sa.select(column))).all()
"""
URLS = {
    "asyncpg": {
        "main": "postgresql+asyncpg://u:p@localhost/shop",
        "analytics": "postgresql+asyncpg://u:p@localhost/analytics",
        "replica": "postgresql+asyncpg://u:p@replica.example.com:5433/shop",
    },
    "sqlite": {
        "main": "sqlite+aiosqlite:///shop.db",
        "analytics": "sqlite+aiosqlite:///data/analytics.db",
        "replica": "sqlite+aiosqlite:///file:./shop.db?mode=ro&uri=true",
    },
}
NAMES = {"asyncpg": "shop, analytics", "sqlite": "shop.db, analytics.db"}
ALL = pytest.mark.parametrize("kind", ["asyncpg", "sqlite"])


@pytest.fixture
def engines(shop, pytester):
    """Runs tests of an app with three engines: two of them on one database."""

    def run(kind, tests, *options, schema="", **files):
        ini = "asyncio_default_fixture_loop_scope = function\n"
        ini += f"asyncio_mode = auto\nasyncapi_names = true\npythonpath = .\nasyncapi_schema = {schema}\n"
        pytester.makefile(".ini", pytest=f"[pytest]\naddopts = -p asyncio -p asyncapi -p xdist\n{ini}")
        pytester.makepyfile(app=ENGINES.format(**URLS[kind]))
        return shop(URLS[kind]["main"], "from app import *\n" + tests, *options, **files)

    return run


@ALL
@pytest.mark.parametrize("isolation", ["rollback", "commit", "database"])
def test_one_schema_is_in_each(engines, kind, isolation):
    """A table of one name holds other rows in each; the replica is the main one; afterwards nothing is left."""
    result = engines(
        kind,
        f"""
pytestmark = pytest.mark.db(isolation={isolation!r})

@pytest.mark.parametrize("n", [1, 2])
async def test_one(db, n):
    await write(zulu, notes, body="main")
    await write(analytics, notes, body="analytics")
    assert await read(zulu, notes.c.body) == await read(replica, notes.c.body) == ["main"]
    assert await read(analytics, notes.c.body) == ["analytics"]
    assert "databases {NAMES[kind]}" in db.description

async def test_sessions(db, db_session):
    await write(analytics, notes, body="analytics")
    for name in ("analytics", analytics):
        assert (await db.session(database=name).scalars(select(notes.c.body))).all() == ["analytics"]
    assert (await db_session.scalars(select(notes.c.body))).all() == []
    assert (await db.session(database="shop").scalars(select(notes.c.body))).all() == []
    await db.session(database=analytics).execute(notes.insert(), {{"body": "late"}})

async def test_again(db):
    assert await read(zulu, notes.c.body) == await read(analytics, notes.c.body) == []
""",
        schema="app:main",
    )

    result.assert_outcomes(passed=4)


@ALL
@pytest.mark.parametrize("form", ["engines", "names", "fixture"])
def test_a_schema_for_each(engines, kind, form):
    """By the engine that connects there, or by the database's name; each line a database, the first the main one."""
    lines = {
        "engines": "\n  app:zulu = app:main\n  app:analytics = app:other",
        "names": "\n  shop = app:main\n  analytics = app:other",
        "fixture": "",
    }[form]
    fixture = """
import app, pytest
@pytest.fixture(scope="session")
def db_schema():
    return {app.zulu: app.main, app.analytics: [app.other]}
"""
    result = engines(
        kind,
        """
@pytest.mark.parametrize("isolation", ["rollback", "commit", "database"])
async def test_one(db, db_session, isolation):
    await write(zulu, notes, body="main")
    await write(analytics, events, name="analytics")
    assert (await db_session.scalars(select(notes.c.body))).all() == ["main"]
    with pytest.raises(Exception, match="no such table|does not exist"):
        await read(analytics, notes.c.body)

async def test_savepoint(db):
    async with db.savepoint():
        await write(zulu, notes, body="main")
        await write(analytics, events, name="analytics")
    assert await read(zulu, notes.c.body) == await read(analytics, events.c.name) == []
""",
        schema=lines,
        **({"conftest": fixture} if form == "fixture" else {}),
    )

    result.assert_outcomes(passed=4)


def test_a_database_that_the_schema_does_not_name(engines):
    """A schema that is a mapping answers for what it names; the error says which line is missing."""
    result = engines(
        "asyncpg", "async def test_one(db):\n    await read(analytics, events.c.name)", schema="\n  shop = app:main"
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*the app connects to postgresql+asyncpg://u@localhost:5432/analytics in a test, but the schema of the "
            "test databases names shop only. Give it a line: analytics = package.module:Base.metadata*"
        ]
    )


def test_a_name_that_nothing_has(engines):
    result = engines(
        "sqlite",
        """
async def test_one(db):
    with pytest.raises(Exception) as caught:
        db.session(database="reports")
    assert str(caught.value) == "the app has no database 'reports'; there is analytics.db, shop.db"
""",
    )

    result.assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("shop", "For several databases it has a line each"),
        ("\n  shop = app:main\n  analytics", "For several databases it has a line each"),
        ("\n  app:missing = app:main", "'app:missing': module 'app' has no attribute 'missing'"),
        ("\n  app:main = app:main", "'app:main' is neither the name of a database, nor an engine, nor a URL"),
    ],
)
def test_a_mapping_that_is_none(engines, line, words):
    result = engines("sqlite", "async def test_one(db): pass", schema=line)

    result.assert_outcomes(errors=1)
    assert words in result.stdout.str() or line == "shop"


def test_bare_asyncpg(shop, pytester):
    """Two pools: the first that is connected to is the main one, unless the schema says it."""
    result = shop(
        "asyncpg",
        """
import asyncpg

async def test_one(db, db_session):
    async with asyncpg.create_pool("postgresql://u:p@h/analytics") as pool:
        assert await pool.fetchval("SELECT count(*) FROM users") == 0
        await pool.execute("INSERT INTO users (email) VALUES ('a')")
    await shop.add("b")
    assert (await db_session.scalars(select(shop.User.email))).all() == ["b"]
    assert (await db.session(database="analytics").scalars(select(shop.User.email))).all() == ["a"]
""",
    )

    result.assert_outcomes(passed=1)


@ALL
def test_kept_templates(engines, kind, monkeypatch, tmp_path):
    """--reuse-db keeps one for each schema, and the next run builds none."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    fixture = """
import app, pytest
def one(connection):
    print("built", file=open("built.txt", "a"))
    app.main.create_all(connection)
def two(connection):
    print("built", file=open("built.txt", "a"))
    app.other.create_all(connection)
@pytest.fixture(scope="session")
def db_schema():
    return {"shop": one, "analytics": two}
"""
    test = """
async def test_one(db):
    await write(zulu, notes, body="main")
    await write(analytics, events, name="analytics")

def test_built():
    assert open("built.txt").read().split() == ["built"] * 2
"""
    for _ in range(2):
        engines(kind, test, "--reuse-db", conftest=fixture).assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("no_such.database:engine", "there is no module 'no_such'. Is it installed"),
        ("json:JSONdecoder", "module 'json' has no attribute 'JSONdecoder' (did you mean 'JSONDecoder'?)"),
    ],
)
def test_an_engine_that_there_is_not(key, told):
    with pytest.raises(ConfigurationError) as failure:
        naming.entries_of({key: "tables.sql"})

    assert str(failure.value).startswith(f"the schema of the test database, {key!r}: {told}")
