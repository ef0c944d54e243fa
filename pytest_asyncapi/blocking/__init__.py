"""The detector of code that holds the event loop: `detect_blocking()` as a library, `BlockingMonitor` as a middleware,
and what `pytest --detect-blocking` is made of."""

from typing import TYPE_CHECKING

from pytest_asyncapi.lazy import exports

if TYPE_CHECKING:
    from pytest_asyncapi.blocking.model import Block as Block
    from pytest_asyncapi.blocking.model import Frame as Frame
    from pytest_asyncapi.blocking.monitor import BlockingMonitor as BlockingMonitor
    from pytest_asyncapi.blocking.monitor import detect_blocking as detect_blocking
    from pytest_asyncapi.errors import BlockingError as BlockingError
    from pytest_asyncapi.errors import BlockingWarning as BlockingWarning

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "Block": ".model",
        "BlockingError": "..errors",
        "BlockingMonitor": ".monitor",
        "BlockingWarning": "..errors",
        "Frame": ".model",
        "detect_blocking": ".monitor",
    },
)
