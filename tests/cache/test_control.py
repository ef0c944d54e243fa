"""What the test does to its server: outages, faults, latency, and what it may read. On both engines."""

from __future__ import annotations

import asyncio
import math

import pytest
import redis
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from pytest_asyncapi.errors import AsyncAPIError, CacheError

pytestmark = pytest.mark.usefixtures("engine")

ONCE = Retry(NoBackoff(), 0)


@pytest.fixture
def client(connect):
    """An app's client, that does not hide a fault by trying again."""
    return connect(retry=ONCE, socket_timeout=5)


async def test_down_ends_open_connections_and_refuses_new_ones(redis_cache, client, connect):
    await client.set("a", 1)

    redis_cache.down()

    with pytest.raises(redis.ConnectionError):
        await client.get("a")
    with pytest.raises(redis.ConnectionError, match=r"Error 111 connecting to cache.example.com:6379"):
        await connect(retry=ONCE).get("a")
    with (
        redis.Redis(host="cache.example.com", retry=redis.retry.Retry(NoBackoff(), 0)) as sync,
        pytest.raises(redis.ConnectionError),
    ):
        sync.get("a")


async def test_up_brings_back_the_data(redis_cache, connect):
    client = connect(retry=Retry(NoBackoff(), 1), retry_on_error=[redis.ConnectionError])
    await client.set("a", 1)
    redis_cache.down()
    redis_cache.up()

    assert await client.get("a") == b"1"


async def test_down_ends_a_subscription(redis_cache, client):
    async with client.pubsub() as pubsub:
        await pubsub.subscribe("news")
        await pubsub.get_message(timeout=5)
        redis_cache.down()
        with pytest.raises(redis.ConnectionError):
            await pubsub.get_message(timeout=5)


async def test_down_ends_a_blocking_pop(redis_cache, client, blocked):
    waiting = asyncio.create_task(client.blpop("l", timeout=5))
    await blocked(redis_cache)
    redis_cache.down()

    with pytest.raises(redis.ConnectionError):
        await waiting


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        ("LOADING", redis.BusyLoadingError, "Redis is loading the dataset in memory"),
        ("READONLY You can't write", redis.ReadOnlyError, "You can't write"),
        ("OOM", redis.OutOfMemoryError, "command not allowed when used memory > 'maxmemory'"),
        ("NOAUTH", redis.AuthenticationError, "Authentication required"),
        ("ERR something", redis.ResponseError, "something"),
        ("CUSTOM whatever", redis.ResponseError, "CUSTOM whatever"),
    ],
)
async def test_an_error_is_the_clients_own_exception(redis_cache, client, error, kind, text):
    await client.ping()  # connected
    redis_cache.fail("GET", error, times=1)

    with pytest.raises(kind, match=text):
        await client.get("a")
    assert await client.get("a") is None


async def test_a_fault_names_a_command_or_all(redis_cache, client):
    await client.ping()
    redis_cache.fail("set", "OOM")
    assert await client.get("a") is None
    for _ in range(3):
        with pytest.raises(redis.ResponseError):
            await client.set("a", 1)

    redis_cache.fail(None, "READONLY", times=1)
    with pytest.raises(redis.ReadOnlyError):
        await client.get("a")
    redis_cache.heal()
    assert await client.set("a", 1) is True


async def test_a_fault_inside_a_transaction(redis_cache, client, engine):
    await client.ping()
    redis_cache.fail("INCR", "OOM")
    redis_cache.fail("INCRBY", "OOM")

    with pytest.raises(redis.RedisError):
        await client.pipeline().set("a", 1).incr("a").execute()
    # in memory the command is refused before it is queued; a server is asked for the error, and queues the question
    assert await client.get("a") == (None if engine == "memory" else b"1")


async def test_a_fault_in_a_pipeline_is_in_its_place(redis_cache, client):
    await client.ping()
    redis_cache.fail("GET", "ERR no", times=1)

    first, failed, last = await (
        client.pipeline(transaction=False).set("a", 1).get("a").get("a").execute(raise_on_error=False)
    )
    assert (first, last) == (True, b"1")
    assert isinstance(failed, redis.ResponseError)


async def test_retries_see_the_server_recover(redis_cache, connect):
    client = connect(retry=Retry(NoBackoff(), 3), retry_on_error=[redis.ConnectionError])
    fault = redis_cache.drop("GET", times=2)

    assert await client.get("a") is None
    assert fault.seen == 2


async def test_a_hanging_command_ends_by_the_clients_timeout(redis_cache, connect):
    client = connect(retry=ONCE, socket_timeout=0.05)
    await client.ping()
    redis_cache.hang("GET", times=1)

    with pytest.raises(redis.TimeoutError):
        await client.get("a")
    assert await client.get("a") is None


async def test_a_sync_client_meets_faults_too(redis_cache):
    with redis.Redis(host="c.example.com", socket_timeout=0.05, retry=redis.retry.Retry(NoBackoff(), 0)) as client:
        client.ping()
        redis_cache.fail("GET", "LOADING", times=1)
        with pytest.raises(redis.BusyLoadingError):
            client.get("a")
        redis_cache.hang("GET", times=1)
        with pytest.raises(redis.TimeoutError):
            client.get("a")
        redis_cache.drop("GET", times=1)
        with pytest.raises(redis.ConnectionError):
            client.get("a")
        redis_cache.latency = 0.01
        assert client.set("a", 1) is True


async def test_a_dropped_connection(redis_cache, client):
    await client.ping()
    redis_cache.drop("GET", times=1)

    with pytest.raises(redis.ConnectionError):
        await client.get("a")


async def test_a_connection_that_hangs_or_is_refused(redis_cache, connect):
    redis_cache.hang("CONNECT", times=1)
    with pytest.raises(redis.TimeoutError, match="Timeout connecting to server"):
        await connect(retry=ONCE, socket_connect_timeout=0.02).get("a")
    redis_cache.drop("CONNECT", times=1)
    with pytest.raises(redis.ConnectionError):
        await connect(retry=ONCE).get("a")


async def test_latency_delays_and_keeps_the_order(redis_cache, client):
    await client.ping()
    redis_cache.latency = 0.02
    loop = asyncio.get_running_loop()
    begin = loop.time()

    results = await client.pipeline(transaction=False).set("a", 1).incr("a").get("a").execute()

    assert results == [True, 2, b"2"]
    assert loop.time() - begin >= 0.02


async def test_a_latency_that_ends_keeps_the_order(redis_cache, connect):
    subscriptions = connect().pubsub()
    await subscriptions.subscribe("zero")
    channels = []

    for latency, channel in ((0.04, "one"), (0.02, "two"), (0, "three")):
        redis_cache.latency = latency
        await subscriptions.subscribe(channel)
    while len(channels) < 4:
        message = await subscriptions.get_message(timeout=5)
        channels.append(message["channel"])
    await subscriptions.aclose()

    assert channels == [b"zero", b"one", b"two", b"three"]


async def test_latency_beyond_the_timeout(redis_cache, connect, virtual_clock):
    client = connect(retry=ONCE, socket_timeout=30)
    await client.ping()
    redis_cache.latency = 60

    with pytest.raises(redis.TimeoutError):
        await client.get("a")
    assert 30 <= virtual_clock.elapsed < 40


# ---- the log


async def test_the_log_holds_what_every_client_sent(redis_cache, client):
    await client.set("a", b"\xff", ex=60)
    await redis_cache.get("a")

    assert redis_cache.commands == [("SET", "a", b"\xff", "EX", "60"), ("GET", "a")]
    assert redis_cache.commands[0].name == "SET"
    assert str(redis_cache.commands[0]) == r"SET a b'\xff' EX 60"


async def test_assert_commands(redis_cache, client):
    with redis_cache.assert_commands(2) as sent:
        await client.get("a")
        await client.get("b")
    assert sent == [("GET", "a"), ("GET", "b")]
    with redis_cache.assert_commands(1, "SET"):
        await client.set("a", 1)
        await client.get("b")

    async def too_many():
        with redis_cache.assert_commands(1):
            await client.get("a")
            await client.set("b", "x" * 100)

    with pytest.raises(AssertionError) as failure:
        await too_many()
    assert str(failure.value) == f"expected 1 Redis command, 2 were sent\n  GET a\n  SET b {'x' * 59}…"


def set_latency(cache, value):
    cache.latency = value


def assert_commands(cache, *arguments):
    with cache.assert_commands(*arguments):
        pass


ONE_COMMAND = "takes the name of one command, such as 'GET', or None for every one, not"
WRONG = [
    (lambda cache: cache.advance(-1), "advance() takes a finite number of seconds, zero or more, not -1"),
    (lambda cache: cache.advance(math.nan), "advance() takes a finite number of seconds, zero or more, not nan"),
    (lambda cache: cache.advance("5"), "advance() takes a number of seconds, not '5'"),
    (lambda cache: set_latency(cache, -0.5), "latency takes a finite number of seconds, zero or more, not -0.5"),
    (lambda cache: set_latency(cache, True), "latency takes a number of seconds, not True"),
    (lambda cache: cache.fail("GET", "LOADING", times=0), "times must be 1 or more, or None for always, not 0"),
    (lambda cache: cache.hang("GET", times=1.5), "times must be 1 or more, or None for always, not 1.5"),
    (lambda cache: cache.fail("GET SET"), f"fail() {ONE_COMMAND} 'GET SET'"),
    (lambda cache: cache.hang(""), f"hang() {ONE_COMMAND} ''"),
    (lambda cache: cache.drop(b"GET"), f"drop() {ONE_COMMAND} b'GET'"),
    (
        lambda cache: cache.fail("auth"),
        "fail('auth'): AUTH is what clients say when they connect, which has no faults."
        " For a connection that fails write 'CONNECT'",
    ),
    (
        lambda cache: cache.fail("GET", LookupError("late")),
        "error must be a text that a server sends, such as 'LOADING' or 'READONLY ...', not LookupError('late')."
        " The client makes its exception of it; down(), drop() and hang() make the others",
    ),
    (
        lambda cache: assert_commands(cache, "SET"),
        "assert_commands() takes the number of commands first, then their names, not 'SET'",
    ),
]


@pytest.mark.parametrize(("call", "text"), WRONG, ids=[text for _, text in WRONG])
async def test_wrong_arguments_are_named(redis_cache, call, text):
    with pytest.raises((TypeError, ValueError)) as failure:
        call(redis_cache)

    assert str(failure.value) == text
    assert redis_cache.control.faults == []


async def test_the_engine_is_named(redis_cache, engine):
    assert redis_cache.engine == engine


def test_errors_are_ours():
    assert issubclass(CacheError, AsyncAPIError)


def test_no_control_hides_a_method_of_the_client():
    from pytest_asyncapi.cache import RedisCache

    ours = {name for name in vars(RedisCache) if not name.startswith("_")}
    assert not {name for name in ours if hasattr(redis.asyncio.Redis, name)}
