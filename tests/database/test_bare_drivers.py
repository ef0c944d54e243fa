"""Apps that use a driver alone: `client` brings them the sandbox, in the first test too, which imports the driver."""

import pytest

INI = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
asyncapi_app = bare:app
asyncapi_schema = schema.sql
pythonpath = .
addopts = -p asyncio -p asyncapi
"""
APP = """
{imports}

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        assert (await receive())["type"] == "lifespan.startup"
        await send({{"type": "lifespan.startup.complete"}})
        await receive()
        return await send({{"type": "lifespan.shutdown.complete"}})
    async with {connect} as connection:
        if scope["method"] == "POST":
            await connection.execute("INSERT INTO notes VALUES ('tea')")
            await connection.commit()
        rows = await (await connection.execute("SELECT text FROM notes")).fetchall()
    body = ",".join(text for text, in rows).encode()
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": body}})
"""
DRIVERS = {
    "psycopg": ("import psycopg", "await psycopg.AsyncConnection.connect('postgresql://app:secret@db.internal/shop')"),
    "aiosqlite": ("import aiosqlite", "aiosqlite.connect('precious.db')"),
}
TESTS = """
import sys, pytest

def test_the_driver_is_not_imported_yet():
    assert not {"sqlalchemy", "asyncpg", "psycopg", "aiosqlite"} & set(sys.modules)

@pytest.mark.parametrize("n", range(2))
async def test_client_alone(client, n, request):
    assert (await client.get("/")).text == ""
    assert (await client.post("/")).text == "tea"
    from pytest_asyncapi.database.fixtures import DATABASE
    database = request.node.stash[DATABASE]
    assert database.isolation == "rollback"
    assert [query.sql for query in database.queries] == [
        "SELECT text FROM notes", "INSERT INTO notes VALUES ('tea')", "SELECT text FROM notes"
    ]

@pytest.mark.db(isolation="commit")
async def test_with_real_commits(client, db):
    assert (await client.post("/")).text == "tea"

async def test_the_tests_own_session_sees_it(client, db_session):
    from sqlalchemy import text
    await client.post("/")
    assert (await db_session.scalars(text("SELECT text FROM notes"))).all() == ["tea"]
"""


@pytest.fixture(autouse=True)
def project(pytester, monkeypatch, request):
    """A bare app with a schema; its PostgreSQL is a server that runs already."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    pytester.makefile(".ini", pytest=INI)
    (pytester.path / "schema.sql").write_text("CREATE TABLE notes (text text)")
    driver = request.node.callspec.params["driver"]
    if driver == "psycopg":
        target = request.getfixturevalue("running").target
        monkeypatch.setenv("DATABASE_URL", f"postgresql://postgres@/?host={target.host}&port={target.port}")
    imports, connect = DRIVERS[driver]
    pytester.makepyfile(bare=APP.format(imports=imports, connect=connect))


@pytest.mark.parametrize("driver", DRIVERS)
def test_client_alone_brings_the_sandbox(pytester, driver):
    """The app imports its driver, and nobody SQLAlchemy, until the first request is on its way."""
    pytester.makepyfile(TESTS)

    result = pytester.runpytest_subprocess("-q", "-p", "no:randomly", "-W", "error")

    result.assert_outcomes(passed=5)
    assert not (pytester.path / "precious.db").exists()
