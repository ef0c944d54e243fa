"""Time without waiting: an event loop whose clock jumps when nothing is ready."""

from typing import TYPE_CHECKING

from pytest_asyncapi.lazy import exports

if TYPE_CHECKING:
    from pytest_asyncapi.clock.virtual import VirtualClock as VirtualClock

__getattr__, __dir__, __all__ = exports(__name__, {"VirtualClock": ".virtual"})
