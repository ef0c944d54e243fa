"""The services behind the app: a router that answers aiohttp, httpx and httpx2 without a socket."""

from typing import TYPE_CHECKING

from pytest_asyncapi.lazy import exports

if TYPE_CHECKING:
    from pytest_asyncapi.upstream.fault import Fault as Fault
    from pytest_asyncapi.upstream.fault import faults as faults
    from pytest_asyncapi.upstream.replies import Reply as Reply
    from pytest_asyncapi.upstream.request import Request as Request
    from pytest_asyncapi.upstream.router import Upstream as Upstream
    from pytest_asyncapi.upstream.routes import Call as Call
    from pytest_asyncapi.upstream.routes import Route as Route

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "Call": ".routes",
        "Fault": ".fault",
        "Reply": ".replies",
        "Request": ".request",
        "Route": ".routes",
        "Upstream": ".router",
        "faults": ".fault",
    },
)
