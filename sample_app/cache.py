"""A cache that makes the app faster and can never make it fail.

Values are JSON: what one version of the app writes, another can read, and a stranger's value can't run code, as a
pickle can.
"""

import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar, get_type_hints

from aiocache import Cache
from aiocache.serializers import JsonSerializer
from pydantic import TypeAdapter
from redis.exceptions import RedisError

from sample_app.settings import settings

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)

CACHE_ERRORS = (RedisError, OSError, ValueError)
"""Not to be reached, too slow (TimeoutError is an OSError), or not what we would have written."""

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
    """Keep what the function returns for `ttl` seconds under ``key(*args, **kwargs)``.

    What is read back is checked against the function's return type: another version of the app may have written it.
    When the cache fails, the function is called, and the log says why.
    """

    def decorate(function: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        returned: TypeAdapter[T] = TypeAdapter(get_type_hints(function)["return"])

        @functools.wraps(function)
        async def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
            name = key(*args, **kwargs)
            try:
                found = await cache.get(name)
                if found is not None:
                    return returned.validate_python(found)
            except CACHE_ERRORS as error:
                logger.warning("cache: %s not read (%s: %s)", name, type(error).__name__, error)
            value = await function(*args, **kwargs)
            try:
                await cache.set(name, returned.dump_python(value, mode="json"), ttl=ttl)
            except CACHE_ERRORS as error:
                logger.warning("cache: %s not kept (%s: %s)", name, type(error).__name__, error)
            return value

        return wrapper

    return decorate
