"""A test harness for async Python APIs: client, database, Redis, upstreams, clock, and a detector of blocking code."""

from typing import TYPE_CHECKING

from pytest_asyncapi.lazy import exports

if TYPE_CHECKING:
    from pytest_asyncapi.client import AsyncClient as AsyncClient
    from pytest_asyncapi.errors import AsyncAPIError as AsyncAPIError
    from pytest_asyncapi.errors import ConfigurationError as ConfigurationError
    from pytest_asyncapi.runner import fixture as fixture

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "AsyncAPIError": ".errors",
        "AsyncClient": ".client",
        "ConfigurationError": ".errors",
        "fixture": ".runner",
    },
)
