"""The parity suite: a test that takes `engine` runs on the in-memory engine and on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis.asyncio


@pytest.fixture(params=["memory", pytest.param("server", marks=pytest.mark.redis_cache(engine="server"))])
def engine(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def blocked() -> Callable[[redis.asyncio.Redis], Any]:
    """Awaits that a client waits in a blocking command."""

    async def until_one_waits(client: redis.asyncio.Redis) -> None:
        while (await client.info("clients"))["blocked_clients"] == 0:
            await asyncio.sleep(0)

    return until_one_waits


@pytest.fixture
async def connect(_asyncapi_redis: Any) -> AsyncIterator[Callable[..., redis.asyncio.Redis]]:
    """Makes clients as an app would, and closes them. Nothing listens on the address that they name."""
    clients: list[redis.asyncio.Redis] = []

    def make(url: str = "redis://cache.example.com:6379/0", **options: Any) -> redis.asyncio.Redis:
        clients.append(redis.asyncio.Redis.from_url(url, **options))
        return clients[-1]

    yield make
    for client in clients:
        await client.aclose()
