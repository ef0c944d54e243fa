"""Parity: caching libraries, unchanged, on both engines."""

from __future__ import annotations

import asyncio

import pytest

pytestmark = [
    pytest.mark.usefixtures("engine"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # aiocache uses old names of redis-py
]


@pytest.fixture
def lua(engine):
    if engine == "memory":
        pytest.importorskip("lupa")


async def test_aiocache(redis_cache):
    from aiocache import Cache
    from aiocache.serializers import JsonSerializer

    async with Cache(Cache.REDIS, endpoint="cache.example.com", serializer=JsonSerializer(), namespace="app") as cache:
        await cache.set("a", {"n": 1}, ttl=60)
        assert await cache.get("a") == {"n": 1}
        assert await redis_cache.ttl("app:a") == 60
        await cache.multi_set([("b", 1), ("c", 2)])
        assert await cache.multi_get(["b", "c", "d"]) == [1, 2, None]
        assert await cache.increment("n") == 1
        with pytest.raises(ValueError, match="already exists"):
            await cache.add("a", 1)
        assert await cache.delete("a") == 1
        await cache.clear()
    assert await redis_cache.keys() == []


async def test_aiocache_decorator_expires(redis_cache):
    from aiocache import Cache, cached
    from aiocache.serializers import JsonSerializer

    calls = []

    @cached(
        ttl=60,
        cache=Cache.REDIS,
        endpoint="cache.example.com",
        key_builder=lambda f, n: f"item:{n}",
        serializer=JsonSerializer(),
    )
    async def item(n):
        calls.append(n)
        return {"n": n}

    assert await item(1) == await item(1) == {"n": 1}
    assert calls == [1]
    redis_cache.advance(61)
    await item(1)
    assert calls == [1, 1]
    await item.cache.close()


@pytest.mark.usefixtures("lua")
async def test_aiocache_stampede_and_optimistic_locks(redis_cache):
    from aiocache import Cache, cached_stampede
    from aiocache.lock import OptimisticLock, OptimisticLockError

    calls = []

    @cached_stampede(lease=2, ttl=60, cache=Cache.REDIS, endpoint="cache.example.com", key="slow")
    async def slow():
        calls.append(1)
        while len([each for each in redis_cache.commands if each.name == "SET"]) < 6:
            await asyncio.sleep(0)  # until the others have asked for the lock
        return "value"

    # Over a real connection aiocache lets in who asks while the lock's holder still waits for the answer to its SET:
    # only then does RedLock note the event that the others wait for. So the others come when the first is inside.
    first = asyncio.create_task(slow())
    while not calls:
        await asyncio.sleep(0)
    assert set(await asyncio.gather(first, *(slow() for _ in range(5)))) == {"value"}
    assert calls == [1]
    await slow.cache.close()

    async with Cache(Cache.REDIS, endpoint="cache.example.com") as cache:
        await cache.set("a", "1")
        async with OptimisticLock(cache, "a") as lock:
            await lock.cas("2")
        async with OptimisticLock(cache, "a") as lock:
            await cache.set("a", "other")
            with pytest.raises(OptimisticLockError):
                await lock.cas("3")


async def test_an_outage_does_not_take_aiocache_down(redis_cache):
    from aiocache import Cache, cached

    @cached(ttl=60, cache=Cache.REDIS, endpoint="cache.example.com", key="k", timeout=0.2)
    async def item():
        return "fresh"

    redis_cache.down()

    assert await item() == "fresh"
    await item.cache.close()


@pytest.mark.usefixtures("lua")
async def test_cashews(redis_cache):
    cashews = pytest.importorskip("cashews")
    cache = cashews.Cache()
    cache.setup("redis://cache.example.com", client_side=False)
    calls = []

    @cache(ttl="1m", key="user:{n}")
    async def user(n):
        calls.append(n)
        return {"n": n}

    assert await user(1) == await user(1) == {"n": 1}
    assert calls == [1]
    redis_cache.advance(61)
    await user(1)
    assert calls == [1, 1]
    async with cache.lock("job", expire=10):
        assert await cache.is_locked("job")
    await cache.close()


async def test_fastapi_cache2(redis_cache, connect):
    backend = pytest.importorskip("fastapi_cache.backends.redis", exc_type=ImportError)

    cache = backend.RedisBackend(connect())
    await cache.set("a", b"value", expire=60)
    assert tuple(await cache.get_with_ttl("a")) == (60, b"value")
    redis_cache.advance(61)
    assert await cache.get("a") is None
