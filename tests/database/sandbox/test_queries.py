"""The query log: of a test, of a block, of a request; the line that sent a query, N+1, and the slowest."""

import asyncio
import re
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from pytest_asyncapi.asgi import current_scope
from pytest_asyncapi.database.interception import hooks
from pytest_asyncapi.database.queries import QueryLog
from pytest_asyncapi.database.sandbox import RollbackSandbox

HERE = Path(__file__)


@pytest.fixture
def log(sandbox):
    with QueryLog() as log:
        yield log


async def in_request(path, work):
    """Run `work` as the request of a client would be."""
    token = current_scope.set({"type": "http", "method": "GET", "path": path})
    try:
        return await work
    finally:
        current_scope.reset(token)


async def n_plus_one(app, count=4):
    async with app.Session() as session:
        for number in range(count):
            await session.execute(select(app.User).where(app.User.id == number))  # again and again


async def test_queries_of_a_test(app, log):
    """What the app and the test sent, without what the sandbox and SQLAlchemy do to transactions."""
    async with app.Session() as session:
        session.add(app.User(email="ada"))
        async with session.begin_nested():
            await session.flush()
        await session.commit()
    await app.emails()

    assert [query.sql.split()[0] for query in log] == ["INSERT", "SELECT"]
    insert, query = log
    assert insert.site.file == str(HERE)
    assert query.site.file.endswith("conftest.py")
    assert query.site.function == "emails"
    assert query.sites[1].file == str(HERE)
    assert query.seconds > 0
    assert query.request is None


async def test_failed_query(app, log):
    await app.request("ada")
    with pytest.raises(IntegrityError):
        await app.request("ada")

    assert [query.error is not None for query in log] == [False, True]
    assert "!!" in str(log.queries[1])


async def test_number_of_queries(app, log):
    """The whole message when it is another one."""
    with log.assert_queries(2):
        await app.emails()
        await app.emails()
    with log.assert_queries(at_most=2):
        await app.emails()

    async def too_many():
        with log.assert_queries(1):
            await app.request("ada")
            await app.emails()

    with pytest.raises(AssertionError) as caught:
        await too_many()

    message = re.sub(r" +\d+\.\d\d ms", " N ms", str(caught.value))
    insert, query = (" ".join(query.sql.split()) for query in log.queries[-2:])
    conftest = HERE.with_name("conftest.py")
    lines = message.splitlines()
    assert lines[0] == "expected 1 query, got 2:"
    assert lines[1] == f"  1. N ms  {insert}"
    assert re.fullmatch(rf" +{re.escape(str(conftest))}:\d+ in request", lines[2])
    assert lines[3] == f"  2. N ms  {query}"
    assert re.fullmatch(rf" +{re.escape(str(conftest))}:\d+ in emails", lines[4])
    assert len(lines) == 5
    with pytest.raises(TypeError, match="takes a count, or at_most="):
        log.assert_queries().__enter__()


async def test_queries_of_a_block_under_concurrency(app, log):
    """A block sees its own queries and those of the tasks it starts, not those of its neighbours."""

    async def many(count):
        with log.capture() as block:
            for _ in range(count):
                await app.emails()
        return len(block)

    async def with_children():
        with log.capture() as block:
            await asyncio.gather(app.emails(), app.emails(), app.emails())
        return len(block)

    assert await asyncio.gather(many(5), many(1), with_children()) == [5, 1, 3]
    assert len(log) == 9


async def test_task_that_no_block_started_counts_for_the_open_block(app, log):
    """A server in the test's loop, or a worker of the lifespan."""
    go = asyncio.Event()

    async def worker():
        await go.wait()
        await app.emails()

    task = asyncio.create_task(worker())
    with log.assert_queries(1):
        go.set()
        await task


async def test_queries_of_a_request(app, log):
    """Each query knows the request that sent it; so do those of the tasks that the request starts."""

    async def gathering():
        await asyncio.gather(app.emails(), app.emails())

    await asyncio.gather(
        in_request("/one", app.emails()), in_request("/two", gathering()), in_request("/one", app.request("ada"))
    )

    requests = log.by_request()
    assert {request: sorted(len(queries) for queries in each) for request, each in requests.items()} == {
        "GET /one": [1, 1],
        "GET /two": [2],
    }


async def test_n_plus_one_by_line(app, log):
    """The same query again and again from one line: named with the line to fix, and the request."""
    await in_request("/users", n_plus_one(app))
    await n_plus_one(app, count=2)  # not often enough
    for _ in range(4):
        await app.emails()  # the same values

    (repetition,) = log.n_plus_one()
    line = next(n for n, code in enumerate(HERE.read_text().splitlines(), 1) if code.endswith("# again and again"))
    assert len(repetition.queries) == 4
    assert (repetition.site.file, repetition.site.line) == (str(HERE), line)
    assert str(repetition).startswith(f"4 x {repetition.shape} in GET /users\n    at {HERE}:{line} in n_plus_one")
    assert "selectinload" in str(repetition)
    assert "N+1:\n  4 x" in log.judge(1)


async def test_writes_are_no_n_plus_one(app, log):
    """No eager load would spare them."""
    async with app.engine.begin() as connection:
        for number in range(3):
            await connection.execute(text("INSERT INTO users (email) VALUES (:email)"), {"email": f"user{number}"})

    assert (len(log), log.n_plus_one()) == (3, [])


async def test_values_in_the_text_are_values_too(app, log):
    async with app.Session() as session:
        for number in range(3):
            await session.execute(text(f"SELECT email FROM users WHERE id = {number} AND email <> 'it''s {number}'"))

    (repetition,) = log.n_plus_one()
    assert repetition.shape == "SELECT email FROM users WHERE id = ? AND email <> ?"


async def test_slowest(app, log):
    await app.emails()
    await app.emails()
    log.queries[1].seconds = 10.0
    assert log.slowest(1) == [log.queries[1]]


async def test_explain(app, log, session):
    """The plan of a query, on demand, which is not logged itself."""
    await app.emails()
    plan = await log.explain(log.queries[0], session)
    assert "users" in plan
    assert len(log) == 1


async def test_nothing_is_kept_when_nobody_asks(app, sandbox):
    with QueryLog() as log:
        pass
    await app.emails()
    assert len(log) == 0


async def test_bare_asyncpg(postgres, no_redirect):
    """Its queries are in the log once, in the sandbox and without; those of SQLAlchemy over asyncpg not twice."""
    hooks.install()
    for inside in (True, False):
        with QueryLog() as log:
            sandbox = RollbackSandbox(hooks)
            if inside:
                await sandbox.__aenter__()
            connection = await asyncpg.connect(postgres.url())
            async with connection.transaction():
                await connection.fetch("SELECT $1::int", 1)
                await connection.execute("SELECT 2")
                await connection.executemany("SELECT $1::int", [(1,), (2,)])
            await connection.close()
            if inside:
                await sandbox.__aexit__(None, None, None)
        assert [query.sql for query in log] == ["SELECT $1::int", "SELECT 2", "SELECT $1::int"]
        assert all(query.site.file == str(HERE) for query in log)
        assert all(query.seconds > 0 for query in log)
    hooks.uninstall()
