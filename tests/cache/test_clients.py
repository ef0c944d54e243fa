"""Parity: every client of redis-py and valkey, however it is made, talks to the test's server, on both engines."""

from __future__ import annotations

import asyncio
import importlib
import threading

import pytest
import redis
import redis.asyncio
import redis.exceptions

pytestmark = pytest.mark.usefixtures("engine")

MODULE_LEVEL = redis.asyncio.Redis(host="production.example.com", password="secret", max_connections=20)
BLOCKING_POOL = redis.asyncio.Redis(
    connection_pool=redis.asyncio.BlockingConnectionPool(host="production.example.com", max_connections=2, timeout=5)
)
SYNC_MODULE_LEVEL = redis.Redis(host="production.example.com")


@pytest.mark.parametrize(
    "url",
    [
        "redis://cache.example.com",
        "redis://user:secret@cache.example.com:7000/0",
        "rediss://cache.example.com:6380/0",
        "unix:///run/redis/no-such.sock",
    ],
)
async def test_async_clients_of_any_address(redis_cache, connect, url):
    if "secret" in url:
        await redis_cache.acl_setuser("user", enabled=True, passwords=["+secret"], commands=["+@all"], keys=["*"])
    await redis_cache.set("a", 1)

    assert await connect(url).get("a") == b"1"


@pytest.mark.parametrize("protocol", [2, 3])
async def test_the_password_of_the_apps_own_server_is_accepted(redis_cache, connect, protocol):
    client = connect("redis://:secret@production.example.com/1", protocol=protocol)

    assert await client.set("a", 1) is True
    assert await connect("redis://someone:secret@production.example.com/1", protocol=protocol).get("a") == b"1"


@pytest.mark.parametrize("protocol", [2, 3])
async def test_users_that_the_test_sets_up_count(redis_cache, connect, protocol):
    await redis_cache.acl_setuser("reader", enabled=True, passwords=["+right"], commands=["+get"], keys=["*"])

    with pytest.raises(redis.AuthenticationError):
        await connect("redis://reader:wrong@cache.example.com", protocol=protocol).get("a")
    reader = connect("redis://reader:right@cache.example.com", protocol=protocol)
    assert await reader.get("a") is None
    with pytest.raises(redis.exceptions.NoPermissionError):
        await reader.set("a", 1)


@pytest.mark.parametrize("protocol", [2, 3])
async def test_both_protocols_and_both_parsers(redis_cache, connect, protocol, parser):
    kind = parser(protocol)
    client = connect(protocol=protocol, parser_class=kind, decode_responses=True)
    version = redis.__version__
    if protocol == 3 and (version.startswith("5.0") or (version.startswith("5.") and "RESP3" in kind.__name__)):
        pytest.skip("redis-py 5.0, and 5's parser in Python, give no RESP3 messages to get_message(), from any server")
    await client.hset("h", mapping={"a": 1})
    await client.zadd("z", {"a": 1.5})

    assert await client.hgetall("h") == {"a": "1"}
    assert await client.zscore("z", "a") == 1.5
    assert await client.get("missing") is None
    assert not await client.smembers("s")
    async with client.pubsub() as pubsub:
        await pubsub.subscribe("news")
        await client.publish("news", "hello")
        got = [(await pubsub.get_message(timeout=5))["data"] for _ in range(2)]
        assert await pubsub.get_message(timeout=0.01) is None
    assert got == [1, "hello"]


@pytest.fixture(params=["python", "hiredis"])
def parser(request):
    from redis import _parsers

    if request.param == "hiredis":
        pytest.importorskip("hiredis")
        return lambda protocol: _parsers._AsyncHiredisParser
    return lambda protocol: _parsers._AsyncRESP3Parser if protocol == 3 else _parsers._AsyncRESP2Parser


@pytest.mark.parametrize("turn", [1, 2, 3])
async def test_clients_made_at_import_time_work_in_every_loop(redis_cache, turn):
    await asyncio.gather(*(MODULE_LEVEL.incr("n") for _ in range(20)))  # more than one waits for the pool's lock
    await asyncio.gather(*(BLOCKING_POOL.incr("n") for _ in range(20)))

    assert await redis_cache.get("n") == b"40"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_a_connection_that_a_test_left_checked_out_is_back_in_the_next(redis_cache):
    await MODULE_LEVEL.connection_pool.get_connection("_")

    assert len(MODULE_LEVEL.connection_pool._in_use_connections) == 1


async def test_sync_clients(redis_cache):
    with redis.Redis(host="cache.example.com", socket_timeout=2) as client:
        client.set("a", "x" * 1_000_000, ex=60)
        assert len(client.get("a")) == 1_000_000
        assert client.pipeline().incr("n").incr("n").execute() == [1, 2]
        pubsub = client.pubsub()
        pubsub.subscribe("news")
        assert pubsub.get_message(timeout=2)["type"] == "subscribe"
        client.publish("news", "hello")
        assert pubsub.get_message(timeout=2)["data"] == b"hello"
        pubsub.close()
    assert SYNC_MODULE_LEVEL.incr("n") == 3
    assert await redis_cache.ttl("a") == 60


async def test_sync_clients_in_threads(redis_cache):
    with redis.Redis(host="cache.example.com") as client:
        counts = await asyncio.gather(*(asyncio.to_thread(client.incr, "n") for _ in range(20)))

    assert sorted(counts) == list(range(1, 21))


async def test_a_sync_blocking_pop_waits_in_its_thread(redis_cache, blocked):
    with redis.Redis(host="cache.example.com") as client:
        waiting = asyncio.create_task(asyncio.to_thread(client.blpop, "l", 5))
        await blocked(redis_cache)
        await redis_cache.rpush("l", "v")

        assert tuple(await waiting) == (b"l", b"v")
        assert client.blpop("l", 0.05) is None


async def test_the_socket_timeout_of_a_sync_blocking_pop_counts(redis_cache):
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    retry = Retry(NoBackoff(), 0)
    with (
        redis.Redis(host="cache.example.com", socket_timeout=0.05, retry=retry) as client,
        pytest.raises(redis.TimeoutError),
    ):
        client.blpop("l", 5)


async def test_valkey_clients(redis_cache):
    valkey = pytest.importorskip("valkey")

    await redis_cache.set("a", 1)
    async with valkey.asyncio.Valkey(host="cache.example.com") as client:
        assert await client.get("a") == b"1"
    with valkey.Valkey.from_url("valkeys://cache.example.com") as client:
        assert client.incr("a") == 2


async def test_a_client_in_a_loop_of_another_thread(redis_cache):
    await redis_cache.set("a", 1)
    found = []

    async def other():
        async with redis.asyncio.Redis(host="cache.example.com") as client:
            found.append(await client.get("a"))

    thread = threading.Thread(target=lambda: asyncio.run(other()))
    thread.start()
    await asyncio.to_thread(thread.join)

    assert found == [b"1"]


async def test_a_message_crosses_threads(redis_cache, connect):
    async with connect().pubsub() as pubsub:
        await pubsub.subscribe("news")
        assert (await pubsub.get_message(timeout=5))["type"] == "subscribe"
        with redis.Redis(host="cache.example.com") as client:
            assert await asyncio.to_thread(client.publish, "news", "hello") == 1

        assert (await pubsub.get_message(timeout=5))["data"] == b"hello"


async def test_concurrent_commands_interleave_as_with_a_real_server(redis_cache, connect):
    client = connect()
    order = []

    async def one(name):
        order.append(f"{name} asks")
        await client.get("a")
        order.append(f"{name} knows")

    await client.ping()
    await asyncio.gather(one("first"), one("second"))

    assert order.index("second asks") < order.index("first knows")


# ---- scripts and locks


@pytest.fixture
def lua(engine):
    if engine == "memory":
        pytest.importorskip("lupa")


@pytest.mark.usefixtures("lua")
async def test_scripts(redis_cache):
    script = redis_cache.register_script("redis.call('SET', KEYS[1], ARGV[1]); return redis.call('INCR', KEYS[1])")

    assert await script(keys=["n"], args=[41]) == 42
    assert await redis_cache.eval("return {1, 'two', {3}}", 0) == [1, b"two", [3]]
    with pytest.raises(redis.exceptions.NoScriptError):
        await redis_cache.evalsha("0" * 40, 0)


@pytest.mark.usefixtures("lua")
async def test_locks(redis_cache, connect):
    lock = redis_cache.lock("job", timeout=10)
    assert await lock.acquire() is True
    assert await connect().lock("job", blocking=False).acquire() is False
    await lock.extend(5)
    await lock.release()
    assert await redis_cache.exists("job") == 0

    lost = redis_cache.lock("job", timeout=10)
    await lost.acquire()
    redis_cache.advance(11)
    with pytest.raises(redis.exceptions.LockError):
        await lost.release()


# ---- what neither engine is


async def test_a_cluster_client_is_told_that_this_is_none(redis_cache):
    with pytest.raises(redis.exceptions.RedisClusterException, match="Cluster mode is not enabled on this node"):
        await redis.asyncio.RedisCluster(host="cache.example.com").initialize()
    with pytest.raises(redis.ResponseError, match=r"no engine of pytest-asyncapi is a|has cluster support disabled"):
        await redis_cache.execute_command("CLUSTER", "SLOTS")


@pytest.mark.parametrize("library", ["redis", "valkey"])
async def test_sentinel_clients_find_the_server_under_any_name(redis_cache, library):
    found = pytest.importorskip(library)
    sentinel = importlib.import_module(f"{library}.asyncio.sentinel").Sentinel([("sentinel.example.com", 26379)])
    async with sentinel.master_for("primary") as master, sentinel.slave_for("primary") as replica:
        await master.set("a", 1)
        assert await replica.get("a") == b"1"
        redis_cache.down()
        with pytest.raises(found.ConnectionError):
            await master.get("a")
        redis_cache.up()

    sync = importlib.import_module(f"{library}.sentinel").Sentinel([("sentinel.example.com", 26379)])
    with sync.master_for("primary", db=2) as master, sync.slave_for("primary") as replica:
        assert master.incr("n") == 1
        assert replica.get("a") == b"1"
    with pytest.raises(redis.ResponseError, match="unknown command 'SENTINEL'"):
        await redis_cache.execute_command("SENTINEL", "MASTERS")


async def test_monitor_is_for_a_real_server(redis_cache, connect, engine):
    client = connect()
    if engine == "memory":
        with pytest.raises(redis.ResponseError, match=r'mark it @pytest.mark.redis_cache\(engine="server"\)'):
            async with client.monitor():
                pass
        return
    async with client.monitor() as monitor:
        await redis_cache.set("a", 1)
        while not (await monitor.next_command())["command"].startswith("SET a 1"):
            pass  # what the clients say when they connect
