"""What follows the clock: Redis, upstreams, retries, the wall clock on request; and what it needs of others."""

from __future__ import annotations

import asyncio
import datetime
import time
from time import perf_counter

import pytest
import redis.asyncio


async def test_redis_ttls(virtual_clock, redis_cache):
    await redis_cache.set("a", 1, ex=60)
    await asyncio.sleep(59)
    assert await redis_cache.ttl("a") == 1
    await asyncio.sleep(1)

    assert await redis_cache.get("a") is None


async def test_redis_ttls_do_not_count_what_the_test_itself_takes(virtual_clock, redis_cache):
    await redis_cache.set("a", 1, ex=60)
    time.sleep(0.01)  # as on a slow machine

    assert await redis_cache.pttl("a") == 60_000
    await asyncio.sleep(59.999)
    assert await redis_cache.get("a") == b"1"
    await asyncio.sleep(0.001)
    assert await redis_cache.get("a") is None


@pytest.mark.redis_cache(engine="server")
async def test_redis_ttls_of_a_real_server(virtual_clock, redis_cache):
    await redis_cache.set("a", 1, ex=60)
    await redis_cache.set("b", 1)
    await virtual_clock.advance(61)

    assert await redis_cache.mget("a", "b") == [None, b"1"]


async def test_a_redis_outage_with_the_clients_own_back_off(virtual_clock, redis_cache):
    redis_cache.down()
    begin = perf_counter()
    async with redis.asyncio.Redis() as client:
        with pytest.raises(redis.ConnectionError):
            await client.get("a")

    assert perf_counter() - begin < 2


async def test_redis_time_outs_and_blocking_pops(virtual_clock, redis_cache):
    assert await redis_cache.blpop("l", timeout=4) is None
    redis_cache.hang("GET", times=1)
    redis_cache.latency = 0.25
    async with redis.asyncio.Redis(socket_timeout=30, retry=None) as client:
        assert await client.set("a", 1) is True

    assert virtual_clock.elapsed == pytest.approx(4.25, abs=0.01)


async def test_upstream_time_outs(virtual_clock, upstream):
    httpx2 = pytest.importorskip("httpx2")
    upstream.get("https://slow.example.com/").reply({"ok": 1}, latency=45)

    async with httpx2.AsyncClient(timeout=60) as client:
        assert (await client.get("https://slow.example.com/")).json() == {"ok": 1}
        with pytest.raises(httpx2.ReadTimeout):
            await client.get("https://slow.example.com/", timeout=10)

    assert virtual_clock.elapsed == pytest.approx(55, abs=0.5)


@pytest.mark.virtual_clock(wall="2030-01-31T12:00Z")
async def test_the_wall_clock_on_request(virtual_clock, redis_cache):
    pytest.importorskip("time_machine")
    await redis_cache.set("a", 1, ex=60)
    await asyncio.sleep(86400)

    assert datetime.datetime.now(datetime.UTC).date() == datetime.date(2030, 2, 1)
    assert time.time() == pytest.approx(1896177600, abs=5)
    assert await redis_cache.get("a") is None


async def test_without_asking_the_wall_clock_stays(virtual_clock):
    before = time.time()
    await asyncio.sleep(86400)

    assert time.time() - before < 60


async def test_the_wall_clock_comes_back():
    assert datetime.datetime.now(datetime.UTC).year < 2030


def test_modes_and_runners_in_a_project(pytester):
    pytester.makefile(".ini", pytest="[pytest]\nasyncapi_names = true\nasyncapi_clock = frozen\nanyio_mode = auto\n")
    pytester.makepyfile(
        """
        import asyncio
        import pytest

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        async def test_frozen(virtual_clock):
            task = asyncio.create_task(asyncio.sleep(10))
            await virtual_clock.advance(10)
            assert task.done()

        @pytest.mark.virtual_clock(mode="jump")
        async def test_jump(virtual_clock):
            await asyncio.sleep(10)
            assert virtual_clock.elapsed == 10

        @pytest.mark.virtual_clock(mode="slow")
        async def test_wrong(virtual_clock): ...
        """
    )

    result = pytester.runpytest_inprocess("-p", "no:asyncio", "-p", "no:randomly")

    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        ["@pytest.mark.virtual_clock: 'slow' is no value for asyncapi_clock: expected one of jump, frozen, running"]
    )
