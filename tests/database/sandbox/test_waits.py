"""Waits: in order of arrival, and when one cannot end, an error that says who holds the connection, and where."""

import asyncio
import contextvars
import re
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from pytest_asyncapi.database.interception import hooks
from pytest_asyncapi.database.sandbox import RollbackSandbox
from pytest_asyncapi.errors import SandboxDeadlock, SandboxTimeout

HERE = Path(__file__)


def line(marker: str) -> str:
    """The site of the line of this file that ends with a comment."""
    number = next(n for n, text in enumerate(HERE.read_text().splitlines(), 1) if text.endswith(f"# {marker}"))
    return f"{HERE}:{number}"


def stranger(coroutine, name):
    """A task that descends from nobody."""
    return asyncio.get_running_loop().create_task(coroutine, name=name, context=contextvars.Context())


def normal(error) -> str:
    """The message without what differs from run to run."""
    message = re.sub(r"open for \d+\.\d\d s", "open for N s", str(error))
    return re.sub(r"database sandbox '[^']*'", "database sandbox 'DB'", message)


@pytest.fixture
async def two(tmp_path, no_redirect):
    """An app with two databases."""
    engines = [create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/{name}.db") for name in ("first", "second")]
    for engine in engines:
        async with engine.begin() as connection:
            await connection.execute(text("CREATE TABLE notes (body TEXT)"))
        await engine.dispose()
    yield [async_sessionmaker(engine) for engine in engines]
    for engine in engines:
        await engine.dispose()


async def write(session, body):
    await session.execute(text("INSERT INTO notes VALUES (:body)"), {"body": body})


async def test_time_out_names_both_parties(app):
    """The whole message: the holder's begin, its line now, its last statement, the waiter's line, and what to do.

    The time-out is real: the loops of the clock room do not jump while a database has a socket or a thread open.
    """
    holds, release = asyncio.Event(), asyncio.Event()

    async def holder():
        async with app.Session() as session:
            await session.execute(text("INSERT INTO users (email) VALUES ('ada')"))  # holder begins
            holds.set()
            await release.wait()  # holder waits
            await session.rollback()

    async def waiter():
        async with app.Session() as session:
            await session.execute(text("INSERT INTO users (email) VALUES ('bob')"))  # waiter waits

    async with RollbackSandbox(hooks, lock_timeout=0.2):
        holding = stranger(holder(), "request-A")
        await holds.wait()
        waiting = stranger(waiter(), "request-B")
        with pytest.raises(SandboxTimeout) as caught:
            await waiting
        release.set()
        await holding
        assert await app.emails() == []

    assert (
        normal(caught.value)
        == f"""\
database sandbox 'DB': SQLAlchemy connection in task request-B waited to begin a transaction,
and no transaction moved for 0.2 s.
A test that is isolated by rollback has one connection to a database, and all transactions share it.
  holder: SQLAlchemy connection in task request-A, open for N s
    began at  {line("holder begins")} in holder
    now at    {line("holder waits")} in holder
    last SQL  INSERT INTO users (email) VALUES ('ada')
  waiter: SQLAlchemy connection in task request-B
    at        {line("waiter waits")} in waiter
What to do: commit, roll back or close the holder's session before it waits for the other party;
or give this test real connections: @pytest.mark.db(isolation="commit")."""
    )


async def test_circle_is_an_error_at_once(two):
    """Two requests take two databases in opposite orders: neither can ever go on. No time-out is waited for."""
    First, Second = two
    both = asyncio.Barrier(2)

    async def request(outer, inner, name):
        async with outer() as one, inner() as other:
            await write(one, f"{name} one")  # begins
            await both.wait()
            await write(other, f"{name} other")  # crosses
            await one.commit()
            await other.commit()

    async with RollbackSandbox(hooks, lock_timeout=3600):
        tasks = [stranger(request(First, Second, "A"), "request-A"), stranger(request(Second, First, "B"), "request-B")]
        results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), timeout=20)

    errors = [error for error in results if error is not None]
    assert [type(error) for error in errors] == [SandboxDeadlock]
    waits, holds = ("A", "B") if results[0] is not None else ("B", "A")
    began, crosses = line("begins"), line("crosses")
    assert (
        normal(errors[0])
        == f"""\
database sandbox 'DB': SQLAlchemy connection in task request-{waits} waits to begin a transaction,
and can never have its turn: those that hold the connection wait for it, in a circle.
A test that is isolated by rollback has one connection to a database, and all transactions share it.
  holder: SQLAlchemy connection in task request-{holds}, open for N s
    began at  {HERE}:{began_in_write()} in write
              {began} in request
    now at    {HERE}:{began_in_write()} in write
              {crosses} in request
    last SQL  INSERT INTO notes VALUES (?)
  holder: SQLAlchemy connection in task request-{waits}, open for N s
    began at  {HERE}:{began_in_write()} in write
              {began} in request
    now at    {HERE}:{began_in_write()} in write
              {crosses} in request
    last SQL  INSERT INTO notes VALUES (?)
  waiter: SQLAlchemy connection in task request-{waits}
    at        {HERE}:{began_in_write()} in write
              {crosses} in request
What to do: commit, roll back or close the holder's session before it waits for the other party;
or give this test real connections: @pytest.mark.db(isolation="commit")."""
    )


def began_in_write() -> int:
    return write.__code__.co_firstlineno + 1


async def test_slow_requests_in_a_row_are_no_time_out(app):
    """The limit is for a sandbox in which nothing moves: twelve that take a while each may take longer together.

    Real time is what is tested.
    """
    async with RollbackSandbox(hooks, lock_timeout=0.15):
        await asyncio.gather(*(app.request(f"user{number:02}", wait=0.04) for number in range(12)))
        assert len(await app.emails()) == 12


async def test_order_of_arrival(app, sandbox):
    """Nobody overtakes."""
    order = []

    async def request(number):
        async with app.Session() as session:
            session.add(app.User(email=f"user{number}"))
            await session.flush()
            order.append(number)
            await asyncio.sleep(0)
            await session.commit()

    await app.emails()
    tasks = []
    for number in range(10):
        tasks.append(asyncio.create_task(request(number)))
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)

    assert order == sorted(order)


async def test_one_that_timed_out_lets_the_others_go_on(app):
    """The error ends one wait, after a real 0.1 s; the sandbox works as before."""
    holds, release = asyncio.Event(), asyncio.Event()

    async def holder():
        async with app.Session() as session:
            session.add(app.User(email="holder"))
            await session.flush()
            holds.set()
            await release.wait()
            await session.commit()

    async with RollbackSandbox(hooks, lock_timeout=0.1):
        task = stranger(holder(), "holder")
        await holds.wait()
        with pytest.raises(SandboxTimeout):
            await app.request("late")
        release.set()
        await task
        await app.request("next")
        assert await app.emails() == ["holder", "next"]


async def test_waiter_that_is_cancelled_leaves_the_queue(app, sandbox, queued):
    holds, release = asyncio.Event(), asyncio.Event()

    async def holder():
        async with app.Session() as session:
            session.add(app.User(email="holder"))
            await session.flush()
            holds.set()
            await release.wait()
            await session.commit()

    task = stranger(holder(), "holder")
    await holds.wait()
    gone = stranger(app.request("gone"), "gone")
    stays = stranger(app.request("stays"), "stays")
    await queued(2)
    gone.cancel()
    release.set()
    await asyncio.gather(task, stays)

    assert gone.cancelled()
    assert await app.emails() == ["holder", "stays"]


async def test_waiters_learn_that_the_test_is_over(app, queued):
    """Nobody waits for a sandbox that is no more."""
    from pytest_asyncapi.errors import SandboxClosed

    async with RollbackSandbox(hooks, lock_timeout=60) as sandbox:
        session = app.Session()
        session.add(app.User(email="ada"))
        await session.flush()
        waiting = stranger(app.request("bob"), "waiting")
        await queued()
    with pytest.raises(SandboxClosed):
        await waiting
    await session.close()
    assert len(sandbox.leaks) == 1
