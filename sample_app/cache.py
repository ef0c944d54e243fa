"""A cache that makes the app faster and can never make it fail.

Values are JSON: what one version of the app writes, another can read, and a stranger's value can't run code, as a
pickle can.
"""

import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

from aiocache import Cache
from aiocache.serializers import JsonSerializer
from redis.exceptions import RedisError

from sample_app.settings import settings

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)

CACHE_ERRORS = (RedisError, OSError, ValueError)
"""Not to be reached, too slow (TimeoutError is an OSError), or not JSON."""

TIMEOUT = 0.5
"""Seconds that a request waits for the cache; past that it is quicker without."""


def make_cache(redis_url: str | None) -> Any:
    """Redis when there is a URL, else a dictionary in this process. Connects on first use."""
    made = Cache.from_url(redis_url or "memory://")
    made.serializer = JsonSerializer()
    made.timeout = TIMEOUT
    return made


cache = make_cache(settings.redis_url)


async def close_cache() -> None:
    """Give the connections back; the next use opens new ones."""
    client = getattr(cache, "client", None)
    if client is not None:
        await client.aclose()


def remember(key: Callable[P, str], ttl: int) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Awaitable[T]]]:
    """Keep what the function returns (JSON, never None) for `ttl` seconds under ``key(*args, **kwargs)``.

    When the cache fails, the function is called, and the log says why.
    """

    def decorate(function: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        @functools.wraps(function)
        async def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
            name = key(*args, **kwargs)
            try:
                found: T | None = await cache.get(name)
            except CACHE_ERRORS as error:
                logger.warning("cache: %s not read: %r", name, error)
                found = None
            if found is not None:
                return found
            value = await function(*args, **kwargs)
            try:
                await cache.set(name, value, ttl=ttl)
            except CACHE_ERRORS as error:
                logger.warning("cache: %s not kept: %r", name, error)
            return value

        return wrapper

    return decorate
