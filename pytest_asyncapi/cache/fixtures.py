"""The fixtures of the cache room."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_asyncapi.per_test import one_a_test
from pytest_asyncapi.runner import public_fixture
from pytest_asyncapi.settings import settings_of

if TYPE_CHECKING:
    from pytest_asyncapi.cache.client import RedisCache
    from pytest_asyncapi.cache.sandbox import Sandbox

SANDBOX = pytest.StashKey["Sandbox"]()


@pytest.fixture(scope="session")
def _asyncapi_redis_server() -> Iterator[Any]:
    """The real server of this process, not started before a test needs it."""
    from pytest_asyncapi.cache.server import RealServer

    server = RealServer()
    yield server
    server.stop()


@one_a_test
def _asyncapi_redis(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """The isolation: while this test runs, no Redis client of the process reaches anything but the test's server."""
    from pytest_asyncapi.cache.sandbox import Sandbox

    if "_asyncapi_loop" in request.fixturenames:
        request.getfixturevalue("_asyncapi_loop")  # so that the connections are closed while their loop is open
    settings = settings_of(request.node)
    real = settings.redis_engine == "server" or settings.live
    server = request.getfixturevalue("_asyncapi_redis_server") if real else None
    sandbox = Sandbox(server, dated=bool(settings.report))
    request.node.stash[SANDBOX] = sandbox
    with sandbox:
        yield sandbox


@public_fixture
async def redis_cache(
    request: pytest.FixtureRequest, _asyncapi_loop: Any, _asyncapi_redis: Sandbox
) -> AsyncIterator[RedisCache]:
    """A `redis.asyncio.Redis` on the test's own server, and its control: advance, down, up, fail, commands, ..."""
    try:
        opened = _asyncapi_redis.client(db=settings_of(request.node).redis_db)
    except ModuleNotFoundError as error:
        from pytest_asyncapi.cache.versions import explain

        raise pytest.fail.Exception(explain(error), pytrace=False) from None
    async with opened as client:
        yield client
