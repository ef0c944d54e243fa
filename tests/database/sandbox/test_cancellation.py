"""A task may be cancelled at any point: its transaction is undone, everybody else goes on, no row is lost or left."""

import asyncio
import random

import anyio
import pytest
from sqlalchemy import select, text

from pytest_asyncapi.database.interception import hooks
from pytest_asyncapi.database.sandbox import Links, RollbackSandbox


async def test_cancelled_while_it_holds_a_transaction(app, sandbox):
    holds = asyncio.Event()

    async def request():
        async with app.Session() as session:
            session.add(app.User(email="gone"))
            await session.flush()
            holds.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(request())
    await holds.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await app.request("ada")

    assert await app.emails() == ["ada"]


async def test_cancelled_in_the_middle_of_a_statement(app, sandbox, at_work):
    """The database is at work when the client goes."""
    if app.postgresql:
        slow = "SELECT pg_sleep(30)"
    else:
        slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) SELECT max(i) FROM n"

    async def request():
        async with app.Session() as session:
            session.add(app.User(email="gone"))
            await session.flush()
            await session.execute(text(slow))

    await app.emails()
    task = asyncio.create_task(request())
    await at_work(sandbox, slow)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await app.request("ada")

    assert await app.emails() == ["ada"]


async def test_time_out_of_the_app(app, sandbox):
    """asyncio.timeout() and wait_for() around database work: they end in real time, as the app's do."""
    await app.emails()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await app.request("late", wait=60)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(app.request("late", wait=60), 0.05)
    await app.request("ada")

    assert await app.emails() == ["ada"]


async def test_cancel_scope_of_anyio(app, sandbox, queued):
    """anyio (and with it Starlette) cancels again and again, until the scope is left; first by a real time-out."""
    await app.emails()
    with anyio.move_on_after(0.05):
        await app.request("late", wait=60)
    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(app.request, f"late{number}")
        await queued()
        group.cancel_scope.cancel()
    before = await app.emails()
    await app.request("ada")

    assert await app.emails() == sorted([*before, "ada"])


async def test_cancelled_during_the_first_connect(app):
    """Half a physical connection would be no connection for those who come after."""
    for delay in range(8):
        async with RollbackSandbox(hooks) as sandbox:
            tasks = [asyncio.create_task(app.request(f"user{number}")) for number in range(4)]
            for _ in range(delay):
                await asyncio.sleep(0)
            tasks[0].cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(error) for error in results if error is not None] == [asyncio.CancelledError]
            assert await app.emails() == ["user1", "user2", "user3"]
            assert len(list(sandbox.links)) == 1


@pytest.mark.parametrize("steps", range(1, 40, 3))
async def test_cancelled_after_any_number_of_steps(app, sandbox, steps):
    """Wherever the cancellation hits (begin, statement, commit, roll-back), the outcome is all or nothing."""
    if app.name not in {"asyncpg", "memory"}:
        pytest.skip("the others are in the stress test")
    await app.request("before")
    task = asyncio.create_task(app.request("maybe", wait=0))
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await app.request("after")

    expected = ["after", "before"] if task.cancelled() else ["after", "before", "maybe"]
    assert await app.emails() in (expected, ["after", "before", "maybe"])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_stress(app, seed):
    """Hundreds of requests of which every third is cancelled at a random moment, over sandboxes that share a link."""
    chance = random.Random(seed)
    cancelled = 0

    async def request(email):
        async with app.Session() as session:
            session.add(app.User(email=email))
            await session.flush()
            await asyncio.sleep(chance.choice([0, 0, 0.001, 0.003]))
            if chance.random() < 0.2:
                async with session.begin_nested():
                    await session.execute(select(app.User).limit(3))
            if chance.random() < 0.2:
                await asyncio.gather(app.emails(), app.emails())
            if chance.random() < 0.2:
                raise ValueError(email)
            await session.commit()

    async with Links() as links:
        for round_ in range(5):
            async with RollbackSandbox(hooks, links, lock_timeout=10) as sandbox:
                sandbox.warn = lambda text: None
                tasks = {
                    f"{round_}-{number}": asyncio.create_task(request(f"{round_}-{number}")) for number in range(60)
                }
                victims = chance.sample(list(tasks), 30)
                for victim in victims:
                    await asyncio.sleep(chance.choice([0, 0, 0.001, 0.004]))
                    tasks[victim].cancel()
                results = dict(zip(tasks, await asyncio.gather(*tasks.values(), return_exceptions=True), strict=True))
                unexpected = [
                    error
                    for error in results.values()
                    if not isinstance(error, (ValueError, asyncio.CancelledError, type(None)))
                ]
                assert unexpected == []
                cancelled += sum(isinstance(error, asyncio.CancelledError) for error in results.values())
                emails = set(await app.emails())
                committed = {email for email, error in results.items() if error is None}
                assert committed <= emails
                # a cancellation that comes with the answer to COMMIT finds the row committed, as on a real connection
                assert emails - committed <= {
                    e for e, error in results.items() if isinstance(error, asyncio.CancelledError)
                }
                await app.request(f"after-{round_}")
            assert sandbox.leaks == []
    assert cancelled >= 34  # of one seed; over the seeds at least a hundred
