"""Sentinel clients: whatever the name of a service, its master and its only replica are the test's server.

No Sentinel is asked. The connections that follow are like any other's, and so are faults and outages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytest_asyncapi.wire.patches import Patches

ADDRESS = ("192.0.2.1", 6379)  # TEST-NET-1, which exists nowhere: who connects to it is served

Served = Callable[[], Any]


def hook(module: Any, patches: Patches, served: Served) -> None:
    """Replace the discovery of a library's `sentinel` module, async or sync, for as long as something is `served()`."""
    asynchronous = ".asyncio." in module.__name__
    for name, found in (("discover_master", ADDRESS), ("discover_slaves", [ADDRESS])):
        patches.replace(module.Sentinel, name, _later(found, served) if asynchronous else _now(found, served))


def _now(found: Any, served: Served) -> Callable[[Any], Any]:
    def make(real: Any) -> Any:
        return lambda self, service_name: found if served() else real(self, service_name)

    return make


def _later(found: Any, served: Served) -> Callable[[Any], Any]:
    def make(real: Any) -> Any:
        async def discover(self: Any, service_name: str) -> Any:
            return found if served() else await real(self, service_name)

        return discover

    return make
