"""Redis without a server: every redis-py and valkey client of the process talks to one that a test owns."""

from typing import TYPE_CHECKING

from pytest_asyncapi.lazy import exports

if TYPE_CHECKING:
    from pytest_asyncapi.cache.client import RedisCache as RedisCache
    from pytest_asyncapi.cache.control import Command as Command
    from pytest_asyncapi.cache.control import Control as Control
    from pytest_asyncapi.cache.control import Fault as Fault
    from pytest_asyncapi.cache.sandbox import Sandbox as Sandbox
    from pytest_asyncapi.cache.server import RealServer as RealServer

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "Command": ".control",
        "Control": ".control",
        "Fault": ".control",
        "RealServer": ".server",
        "RedisCache": ".client",
        "Sandbox": ".sandbox",
    },
)
