"""Parity of what waits, and of what the server sends by itself: blocking commands, messages, streams."""

from __future__ import annotations

import asyncio

import pytest

pytestmark = pytest.mark.usefixtures("engine")


async def test_a_blocking_pop_waits_for_a_push(redis_cache, connect, blocked):
    waiting = asyncio.create_task(connect().blpop("l", timeout=5))
    await blocked(redis_cache)
    await redis_cache.rpush("l", "v")

    assert await waiting in [(b"l", b"v"), [b"l", b"v"]]


async def test_a_blocking_pop_ends_without_a_value(redis_cache):
    assert await redis_cache.blpop("l", timeout=0.05) is None


async def test_commands_behind_a_blocking_one_wait_for_it(redis_cache, connect, blocked):
    pipe = connect().pipeline(transaction=False)
    pipe.blpop("l", timeout=5)
    pipe.set("after", 1)
    waiting = asyncio.create_task(pipe.execute())
    await blocked(redis_cache)
    assert await redis_cache.get("after") is None
    await redis_cache.rpush("l", "v")

    popped, done = await waiting
    assert list(popped) == [b"l", b"v"]
    assert done is True


async def test_publish_and_subscribe(redis_cache, connect):
    async with connect().pubsub() as pubsub:
        await pubsub.subscribe("news")
        await pubsub.psubscribe("n*")
        for _ in range(2):
            assert (await pubsub.get_message(timeout=5))["type"] in ("subscribe", "psubscribe")
        assert await redis_cache.publish("news", "hello") == 2
        got = [await pubsub.get_message(timeout=5) for _ in range(2)]
        assert {message["type"] for message in got} == {"message", "pmessage"}
        assert {message["data"] for message in got} == {b"hello"}
        await pubsub.unsubscribe("news")
        assert (await pubsub.get_message(timeout=5))["type"] == "unsubscribe"
        assert await redis_cache.pubsub_numsub("news") == [(b"news", 0)]


async def test_listen_follows_a_channel(redis_cache, connect):
    async def first():
        async with connect().pubsub() as pubsub:
            await pubsub.subscribe("news")
            async for message in pubsub.listen():
                if message["type"] == "message":
                    return message["data"]
                ready.set()
        return None

    ready = asyncio.Event()
    task = asyncio.create_task(first())
    await ready.wait()
    await redis_cache.publish("news", "extra")

    assert await task == b"extra"


async def test_keyspace_events(redis_cache, connect):
    await redis_cache.config_set("notify-keyspace-events", "KEA")
    async with connect().pubsub() as pubsub:
        await pubsub.psubscribe("__keyevent@0__:*")
        assert (await pubsub.get_message(timeout=5))["type"] == "psubscribe"
        await redis_cache.set("a", 1)
        message = await pubsub.get_message(timeout=5)

    assert (message["channel"], message["data"]) == (b"__keyevent@0__:set", b"a")


async def test_streams(redis_cache, connect, blocked):
    first = await redis_cache.xadd("s", {"n": 1})
    await redis_cache.xadd("s", {"n": 2})
    assert await redis_cache.xlen("s") == 2
    assert [fields for _, fields in await redis_cache.xrange("s")] == [{b"n": b"1"}, {b"n": b"2"}]
    await redis_cache.xgroup_create("s", "workers", id="0")
    got = await redis_cache.xreadgroup("workers", "one", {"s": ">"}, count=1)
    entries = got[b"s"][0] if isinstance(got, dict) else got[0][1]
    assert entries == [(first, {b"n": b"1"})] or entries == [[first, {b"n": b"1"}]]
    assert await redis_cache.xack("s", "workers", first) == 1
    assert await redis_cache.xdel("s", first) == 1

    waiting = asyncio.create_task(connect().xread({"s": "$"}, block=5000))
    await blocked(redis_cache)
    await redis_cache.xadd("s", {"n": 3})
    assert b"3" in str(await waiting).encode()
