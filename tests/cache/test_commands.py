"""Parity: what Redis does, both engines do. Each test runs on both."""

from __future__ import annotations

import contextlib
import math
import platform

import pytest
import redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError, WatchError

pytestmark = pytest.mark.usefixtures("engine")

WRITTEN = {
    ("0.1", "0.2"): b"0.3",
    ("0", "0.1"): b"0.1",
    ("3.0", "0"): b"3",
    ("10.5", "0.1"): b"10.6",
    ("5.0e3", "2.0e2"): b"5200",
    ("-0.1", "0.1"): b"0",
    ("1", "-1.5"): b"-0.5",
    ("1e17", "0.5"): b"100000000000000000.5",
    ("1e-18", "0"): b"0",
    ("128", "0.1"): b"128.10000000000000001",
    ("1000", "1.8"): b"1001.79999999999999999",
    ("0.69", "6.9"): b"7.59",
    ("123456789.123", "1e-9"): b"123456789.12300000099639874",
    ("99999999999999999", "0.1"): b"99999999999999999.1015625",
    ("-2.5", "-0.000001"): b"-2.500001",
}


async def test_strings(redis_cache):
    assert await redis_cache.set("a", "1") is True
    assert await redis_cache.set("a", "2", nx=True) is None
    assert await redis_cache.set("a", "2", xx=True) is True
    assert await redis_cache.set("a", "3", get=True) == b"2"
    assert await redis_cache.getset("a", "4") == b"3"
    assert await redis_cache.append("a", "5") == 2
    assert await redis_cache.strlen("a") == 2
    assert await redis_cache.getrange("a", 0, 0) == b"4"
    assert await redis_cache.setrange("a", 1, "xyz") == 4
    assert await redis_cache.get("a") == b"4xyz"
    assert await redis_cache.getdel("a") == b"4xyz"
    assert await redis_cache.get("a") is None
    assert await redis_cache.mset({"b": 1, "c": 2}) is True
    assert await redis_cache.mget("b", "c", "d") == [b"1", b"2", None]
    assert await redis_cache.msetnx({"b": 1, "e": 2}) == 0
    assert await redis_cache.exists("b", "c", "d") == 2
    assert await redis_cache.delete("b", "c", "d") == 2


async def test_binary_values_and_keys_pass_unchanged(redis_cache):
    value = bytes(range(256)) * 300 + b"\r\n$3\r\nfoo\r\n"

    await redis_cache.set(b"\x00\xff\r\n", value)

    assert await redis_cache.get(b"\x00\xff\r\n") == value
    assert await redis_cache.keys() == [b"\x00\xff\r\n"]


async def test_counters(redis_cache):
    assert await redis_cache.incr("n") == 1
    assert await redis_cache.incrby("n", 41) == 42
    assert await redis_cache.decr("n", 2) == 40
    assert await redis_cache.incrbyfloat("n", 0.5) == 40.5
    with pytest.raises(ResponseError, match="not an integer"):
        await redis_cache.incr("n")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="a long double has other digits there")
@pytest.mark.parametrize(("first", "second"), WRITTEN)
async def test_sums_of_decimals_are_written_as_a_server_writes_them(redis_cache, first, second):
    await redis_cache.set("n", first)
    await redis_cache.hset("h", "n", first)
    total = await redis_cache.execute_command("INCRBYFLOAT", "n", second)
    await redis_cache.execute_command("HINCRBYFLOAT", "h", "n", second)

    assert await redis_cache.get("n") == await redis_cache.hget("h", "n") == WRITTEN[first, second]
    assert float(total) == float(WRITTEN[first, second])


async def test_what_is_no_number_is_not_added_to(redis_cache):
    await redis_cache.set("n", "text")
    for bad in ("nan", "text", ""):
        with pytest.raises(ResponseError, match="not a valid float"):
            await redis_cache.execute_command("INCRBYFLOAT", "missing", bad)
    with pytest.raises(ResponseError, match="not a valid float"):
        await redis_cache.incrbyfloat("n", 1)


async def test_quit_ends_the_connection(redis_cache, connect):
    client = connect(retry=Retry(NoBackoff(), 0))
    assert await client.execute_command("QUIT") is True
    with contextlib.suppress(redis.ConnectionError):  # unless the client has seen the end already
        await client.ping()
    assert await client.set("a", 1) is True


async def test_expiry(redis_cache):
    await redis_cache.set("a", 1, ex=60)
    await redis_cache.set("b", 1, px=1500)
    await redis_cache.set("c", 1)
    assert await redis_cache.ttl("a") == 60
    assert 1000 < await redis_cache.pttl("b") <= 1500
    assert await redis_cache.ttl("c") == -1
    assert await redis_cache.ttl("d") == -2
    assert await redis_cache.expire("c", 10) is True
    assert await redis_cache.expire("c", 100, nx=True) is False
    assert await redis_cache.persist("c") is True

    redis_cache.advance(2)

    assert await redis_cache.mget("a", "b", "c") == [b"1", None, b"1"]
    assert await redis_cache.ttl("a") == 58
    redis_cache.advance(58)
    assert await redis_cache.keys() == [b"c"]


async def test_set_keeps_or_drops_the_ttl(redis_cache):
    await redis_cache.set("a", 1, ex=60)
    await redis_cache.set("a", 2, keepttl=True)
    assert await redis_cache.ttl("a") == 60
    await redis_cache.set("a", 3)
    assert await redis_cache.ttl("a") == -1


async def test_setex_and_getex(redis_cache):
    await redis_cache.set("a", 1)
    assert await redis_cache.getex("a", ex=30) == b"1"
    assert await redis_cache.ttl("a") == 30
    assert await redis_cache.setex("a", 45, "1") is True
    assert await redis_cache.ttl("a") == 45
    assert await redis_cache.pipeline().setex("a", 50, "1").ttl("a").execute() == [True, 50]
    assert await redis_cache.getex("a", persist=True) == b"1"
    assert await redis_cache.ttl("a") == -1


@pytest.mark.parametrize("bad", [0, -1])
async def test_a_ttl_that_cannot_be_is_an_error(redis_cache, bad):
    with pytest.raises(ResponseError, match=r"^invalid expire time in 'set' command$"):
        await redis_cache.set("a", 1, ex=bad)
    with pytest.raises(ResponseError, match=r"^invalid expire time in 'setex' command$"):
        await redis_cache.setex("a", bad, 1)


async def test_hashes(redis_cache):
    assert await redis_cache.hset("h", mapping={"a": 1, "b": "x"}) == 2
    assert await redis_cache.hgetall("h") == {b"a": b"1", b"b": b"x"}
    assert await redis_cache.hincrby("h", "a", 2) == 3
    assert await redis_cache.hincrbyfloat("h", "a", 0.5) == 3.5
    assert await redis_cache.hmget("h", "a", "z") == [b"3.5", None]
    assert await redis_cache.hsetnx("h", "a", 9) == 0
    assert await redis_cache.hexists("h", "b") is True
    assert sorted(await redis_cache.hkeys("h")) == [b"a", b"b"]
    assert await redis_cache.hdel("h", "a", "b") == 2
    assert await redis_cache.exists("h") == 0


async def test_lists(redis_cache):
    assert await redis_cache.rpush("l", "a", "b", "c") == 3
    assert await redis_cache.lpush("l", "z") == 4
    assert await redis_cache.lrange("l", 0, -1) == [b"z", b"a", b"b", b"c"]
    assert await redis_cache.lpop("l", 2) == [b"z", b"a"]
    assert await redis_cache.lindex("l", 0) == b"b"
    assert await redis_cache.linsert("l", "before", "c", "x") == 3
    assert await redis_cache.lrem("l", 0, "x") == 1
    assert await redis_cache.lmove("l", "m", "LEFT", "RIGHT") == b"b"
    assert await redis_cache.llen("l") == 1
    assert await redis_cache.ltrim("l", 1, 0) is True
    assert await redis_cache.lpos("m", "b") == 0


async def test_a_list_that_looks_like_a_message_is_a_list(redis_cache):
    await redis_cache.rpush("l", "message", "channel", "text")

    assert await redis_cache.lrange("l", 0, -1) == [b"message", b"channel", b"text"]


async def test_sets(redis_cache):
    assert await redis_cache.sadd("s", 1, 2, 3) == 3
    assert await redis_cache.sadd("t", 2, 3, 4) == 3
    assert set(await redis_cache.smembers("s")) == {b"1", b"2", b"3"}
    assert set(await redis_cache.sinter("s", "t")) == {b"2", b"3"}
    assert await redis_cache.sintercard(2, ["s", "t"]) == 2
    assert set(await redis_cache.sdiff("s", "t")) == {b"1"}
    assert await redis_cache.sunionstore("u", "s", "t") == 4
    assert await redis_cache.smismember("s", [1, 9]) == [1, 0]
    assert await redis_cache.srem("s", 1) == 1
    assert await redis_cache.scard("s") == 2


async def test_sorted_sets(redis_cache):
    assert await redis_cache.zadd("z", {"a": 1, "b": 2.5, "c": math.inf}) == 3
    assert await redis_cache.zscore("z", "b") == 2.5
    assert await redis_cache.zrange("z", 0, -1) == [b"a", b"b", b"c"]
    assert [tuple(each) for each in await redis_cache.zrange("z", 0, 1, withscores=True)] == [(b"a", 1.0), (b"b", 2.5)]
    assert await redis_cache.zrangebyscore("z", 2, "+inf") == [b"b", b"c"]
    assert await redis_cache.zincrby("z", 3, "a") == 4.0
    assert await redis_cache.zrank("z", "a") == 1
    assert await redis_cache.zcount("z", 0, 10) == 2
    assert await redis_cache.zremrangebyscore("z", 0, 3) == 1
    assert await redis_cache.zadd("z", {"a": 1}, gt=True) == 0
    assert [list(each) for each in await redis_cache.zpopmin("z")] == [[b"a", 4.0]]
    assert await redis_cache.zcard("z") == 1


async def test_bits_and_hyperloglog(redis_cache):
    assert await redis_cache.setbit("b", 7, 1) == 0
    assert await redis_cache.getbit("b", 7) == 1
    assert await redis_cache.bitcount("b") == 1
    assert await redis_cache.bitpos("b", 1) == 7
    assert await redis_cache.pfadd("p", "a", "b", "a") == 1
    assert await redis_cache.pfcount("p") == 2


async def test_geo(redis_cache):
    await redis_cache.geoadd("g", (13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania"))

    assert await redis_cache.geodist("g", "Palermo", "Catania", unit="km") == pytest.approx(166.27, abs=0.1)
    found = await redis_cache.geosearch("g", longitude=15, latitude=37, radius=100, unit="km")
    assert found == [b"Catania"]


async def test_scan(redis_cache):
    await redis_cache.mset({f"user:{n}": n for n in range(50)} | {"other": 1})

    assert len([key async for key in redis_cache.scan_iter("user:*", count=7)]) == 50
    await redis_cache.hset("h", mapping={f"f{n}": n for n in range(30)})
    assert len([each async for each in redis_cache.hscan_iter("h")]) == 30
    assert await redis_cache.type("h") == b"hash"
    assert await redis_cache.rename("other", "another") is True
    assert await redis_cache.dbsize() == 52
    assert await redis_cache.copy("another", "third") is True


async def test_databases_are_apart(redis_cache, connect):
    second = connect("redis://cache.example.com/2")
    await redis_cache.set("a", "zero")
    await second.set("a", "two", ex=10)

    assert await redis_cache.get("a") == b"zero"
    assert await second.get("a") == b"two"
    redis_cache.advance(11)
    assert await second.get("a") is None
    await second.set("b", 1)
    await redis_cache.flushdb()
    assert await second.get("b") == b"1"
    await redis_cache.flushall()
    assert await second.get("b") is None


async def test_a_transaction_is_whole(redis_cache):
    async with redis_cache.pipeline(transaction=True) as pipe:
        pipe.set("a", 1).incr("a").get("a")
        assert await pipe.execute() == [True, 2, b"2"]


async def test_commands_about_the_server_in_a_transaction(redis_cache):
    """They are queued like all others, and see what came before them."""
    queue = redis_cache.pipeline().set("a", 1).touch("a", "b").info("server").config_get("maxmemory-policy")

    done, touched, info, config = await queue.execute()

    assert (done, touched, config) == (True, 1, {"maxmemory-policy": "noeviction"})
    assert "redis_version" in info


async def test_an_error_in_a_transaction_is_in_its_place(redis_cache):
    async with redis_cache.pipeline(transaction=True) as pipe:
        pipe.set("a", "text").incr("a").get("a")
        done, error, value = await pipe.execute(raise_on_error=False)

    assert (done, value) == (True, b"text")
    assert isinstance(error, ResponseError)


async def test_watch_notices_a_change(redis_cache, connect):
    other = connect()
    await redis_cache.set("a", 1)
    async with redis_cache.pipeline() as pipe:
        await pipe.watch("a")
        await other.set("a", 2)
        pipe.multi()
        pipe.set("a", 3)
        with pytest.raises(WatchError):
            await pipe.execute()

    assert await redis_cache.get("a") == b"2"


async def test_watch_lets_through_what_was_not_changed(redis_cache):
    async def double(pipe):
        value = int(await pipe.get("a"))
        pipe.multi()
        pipe.set("a", value * 2)

    await redis_cache.set("a", 21)

    assert await redis_cache.transaction(double, "a") == [True]
    assert await redis_cache.get("a") == b"42"


async def test_pipelines_without_a_transaction(redis_cache):
    pipe = redis_cache.pipeline(transaction=False)
    for n in range(500):
        pipe.set(f"k{n}", n)

    assert await pipe.execute() == [True] * 500
    assert await redis_cache.dbsize() == 500


async def test_a_wrong_type_is_an_error(redis_cache):
    await redis_cache.set("a", 1)

    with pytest.raises(ResponseError, match="WRONGTYPE Operation against a key holding the wrong kind of value"):
        await redis_cache.lpush("a", 1)
    await redis_cache.rpush("l", 1)
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await redis_cache.get("l")


async def test_a_wrong_number_of_arguments_is_an_error(redis_cache):
    with pytest.raises(ResponseError, match="wrong number of arguments for 'get' command"):
        await redis_cache.execute_command("GET")


async def test_an_unknown_command_is_an_error(redis_cache):
    with pytest.raises(ResponseError, match="unknown command 'NOSUCH'"):
        await redis_cache.execute_command("NOSUCH", "x")
    assert await redis_cache.ping()


async def test_a_protocol_that_does_not_exist(redis_cache):
    with pytest.raises(ResponseError, match="NOPROTO"):
        await redis_cache.execute_command("HELLO", "4")
    assert await redis_cache.ping() is True


async def test_info_and_friends(redis_cache):
    assert await redis_cache.ping() is True
    assert await redis_cache.echo("x") == b"x"
    await redis_cache.set("a", 1, ex=60)
    info = await redis_cache.info()
    assert info["redis_version"]
    assert (info["role"], info["loading"], info["db0"]["keys"], info["db0"]["expires"]) == ("master", 0, 1, 1)
    assert (await redis_cache.info("replication"))["role"] == "master"
    config = await redis_cache.config_get("maxmemory*")
    assert (config["maxmemory"], config["maxmemory-policy"]) == ("0", "noeviction")
    assert await redis_cache.touch("a", "b") == 1
    assert (await redis_cache.role())[0] == b"master"
    assert await redis_cache.wait(0, 10) == 0
    assert await redis_cache.client_id() > 0
    assert await redis_cache.client_getname() is None
    assert len(await redis_cache.time()) == 2


def test_exception_classes_are_the_clients_own():
    assert issubclass(WatchError, redis.RedisError)
