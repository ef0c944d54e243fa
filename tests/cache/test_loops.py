"""Clients and caching libraries of module level, in event loops of every scope, on both engines."""

from __future__ import annotations

import pytest

PROJECT = """
import asyncio

import pytest
import redis
import redis.asyncio
from aiocache import Cache, cached, cached_stampede
from aiocache.serializers import JsonSerializer
import cashews
import valkey.asyncio

ADDRESS = "cache.example.com"
CLIENT = redis.asyncio.from_url(f"redis://{ADDRESS}", max_connections=10)
POOLED = redis.asyncio.Redis(
    connection_pool=redis.asyncio.BlockingConnectionPool(host=ADDRESS, max_connections=2, timeout=5)
)
VALKEY = valkey.asyncio.Valkey(host=ADDRESS)
SYNC = redis.Redis(host=ADDRESS)
CACHE = Cache(Cache.REDIS, endpoint=ADDRESS, serializer=JsonSerializer(), namespace="app")
CASHEWS = cashews.Cache()
CASHEWS.setup(f"redis://{ADDRESS}", client_side=False)
calls = []


@cached(ttl=60, cache=Cache.REDIS, endpoint=ADDRESS, key="item", serializer=JsonSerializer())
async def item():
    calls.append("item")
    return {"n": 1}


@cached_stampede(lease=2, ttl=60, cache=Cache.REDIS, endpoint=ADDRESS, key="slow")
async def slow():
    calls.append("slow")
    return "value"


@CASHEWS(ttl="1m", key="user:{n}")
async def user(n):
    calls.append("user")
    return {"n": n}


try:
    import lupa
except ImportError:
    lupa = None


async def use_everything(redis_cache):
    calls.clear()
    await asyncio.gather(*(CLIENT.incr("n") for _ in range(10)), *(POOLED.incr("n") for _ in range(10)))
    await VALKEY.incr("n")
    await asyncio.to_thread(SYNC.incr, "n")
    assert await redis_cache.get("n") == b"22"
    await CACHE.set("a", {"n": 1}, ttl=60)
    assert await CACHE.get("a") == {"n": 1}
    assert await item() == await item() == {"n": 1}
    assert await user(1) == await user(1) == {"n": 1}
    assert calls == ["item", "user"]
    if lupa:
        assert await slow() == await slow() == "value"
        async with CLIENT.lock("job", timeout=10):
            assert not await POOLED.lock("job", blocking=False).acquire()
    redis_cache.advance(61)
    await item()
    assert calls.count("item") == 2
    async with CLIENT.pipeline() as pipe:
        await pipe.watch("n")
        pipe.multi()
        pipe.incr("n")
        assert await pipe.execute() == [23]
    async with CLIENT.pubsub() as pubsub:
        await pubsub.subscribe("news")
        assert (await pubsub.get_message(timeout=5))["type"] == "subscribe"
        await CLIENT.publish("news", "hello")
        assert (await pubsub.get_message(timeout=5))["data"] == b"hello"
    waiting = asyncio.create_task(POOLED.blpop("l", timeout=5))
    await CLIENT.rpush("l", "v")
    assert list(await waiting) == [b"l", b"v"]
    first = await CLIENT.xadd("s", {"n": 1})
    assert await CLIENT.xdel("s", first) == 1


@pytest.mark.parametrize("turn", [1, 2])
async def test_default(redis_cache, turn):
    await use_everything(redis_cache)


@pytest.mark.asyncio(loop_scope="function")
async def test_in_a_loop_of_its_own(redis_cache):
    await use_everything(redis_cache)


@pytest.mark.asyncio(loop_scope="module")
async def test_in_the_modules_loop(redis_cache):
    await use_everything(redis_cache)


class TestOfAClass:
    @pytest.mark.asyncio(loop_scope="class")
    @pytest.mark.parametrize("turn", [1, 2])
    async def test_it(self, redis_cache, turn):
        await use_everything(redis_cache)


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("turn", [1, 2])
async def test_in_the_sessions_loop(redis_cache, turn):
    await use_everything(redis_cache)


async def test_default_again(redis_cache):
    await use_everything(redis_cache)
"""


@pytest.mark.parametrize("scope", ["function", "session"])
@pytest.mark.parametrize("engine", ["memory", "server"])
def test_module_level_clients_work_in_every_loop(pytester, scope, engine):
    pytest.importorskip("cashews")
    pytest.importorskip("valkey")
    pytester.makepyfile(PROJECT)

    result = pytester.runpytest_inprocess(
        *("-p", "no:randomly", "-W", "ignore::DeprecationWarning", "-W", "error::ResourceWarning"),
        *("-W", "error::pytest.PytestUnraisableExceptionWarning"),
        *("-o", "asyncio_mode=auto", "-o", f"asyncio_default_test_loop_scope={scope}"),
        *("-o", "asyncio_default_fixture_loop_scope=function"),
        *("-o", "asyncapi_names=true", "-o", f"asyncapi_redis_engine={engine}"),
    )

    result.assert_outcomes(passed=9)


@pytest.mark.parametrize("engine", ["memory", "server"])
def test_module_level_clients_work_under_anyio_too(pytester, engine):
    pytest.importorskip("cashews")
    pytest.importorskip("valkey")
    lines = PROJECT.splitlines()
    project = "\n".join(line for line in lines if "pytest.mark.asyncio" not in line)
    pytester.makepyfile(project)

    result = pytester.runpytest_inprocess(
        *("-p", "no:asyncio", "-p", "no:randomly", "-W", "ignore::DeprecationWarning"),
        *("-o", "anyio_mode=auto", "-o", "asyncapi_names=true", "-o", f"asyncapi_redis_engine={engine}"),
        "-k",
        "not trio",
    )

    result.assert_outcomes(passed=9, deselected=9)
