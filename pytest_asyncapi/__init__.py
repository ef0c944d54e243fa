"""A test harness for async Python APIs: client, database, Redis, upstreams, clock, and a detector of blocking code."""

import sys
from typing import TYPE_CHECKING

# pytest means to rewrite the assertions of a plugin. Ours assert nothing that it could explain, and its way to load
# bytecode takes twice as long as Python's. (Read from pytest 8.4 to 9.2. Where the name is gone, so is the gain.)
for _finder in sys.meta_path:
    getattr(_finder, "_must_rewrite", set()).discard(__name__)

from pytest_asyncapi.lazy import exports  # noqa: E402

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
