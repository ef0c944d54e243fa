"""The guard: nothing leaves this machine in a test, unless it is allowed to."""

from typing import TYPE_CHECKING

from pytest_asyncapi.lazy import exports

if TYPE_CHECKING:
    from pytest_asyncapi.network.guard import Blocked as Blocked
    from pytest_asyncapi.network.guard import Guard as Guard

__getattr__, __dir__, __all__ = exports(__name__, {"Blocked": ".guard", "Guard": ".guard"})
