"""Who awaits whom, through everything that asyncio has for it."""

import asyncio

import pytest

from pytest_asyncapi.database.awaiting import awaits


async def directly(task):
    await task


async def by_gather(task):
    await asyncio.gather(task, asyncio.sleep(0))


async def by_wait(task):
    await asyncio.wait([task])


async def by_wait_for(task):
    await asyncio.wait_for(task, 60)


async def by_shield(task):
    await asyncio.shield(task)


async def by_timeout(task):
    async with asyncio.timeout(60):
        await task


async def by_group(task):
    async with asyncio.TaskGroup() as group:
        group.create_task(directly(task))


async def by_two_others(task):
    await asyncio.gather(asyncio.create_task(by_wait(task)), asyncio.create_task(by_shield(asyncio.sleep(60))))


@pytest.mark.parametrize(
    "way", [directly, by_gather, by_wait, by_wait_for, by_shield, by_timeout, by_group, by_two_others]
)
async def test_it_is_seen(way):
    end = asyncio.Event()
    awaited, stranger = asyncio.create_task(end.wait()), asyncio.create_task(end.wait())
    waiting = asyncio.create_task(way(awaited))
    for _ in range(4):
        await asyncio.sleep(0)
    assert awaits(waiting, awaited)
    assert not awaits(waiting, stranger)
    assert not awaits(awaited, waiting)
    assert not awaits(waiting, waiting)
    waiting.cancel()
    end.set()
    await asyncio.gather(waiting, awaited, stranger, return_exceptions=True)
