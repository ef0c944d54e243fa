"""The ASGI client: the app in this process, its lifespan, HTTP with streaming, websockets; or behind a real server."""

from typing import TYPE_CHECKING

from pytest_asyncapi.lazy import exports

if TYPE_CHECKING:
    from pytest_asyncapi.client.async_client import ASGITransport as ASGITransport
    from pytest_asyncapi.client.async_client import AsyncClient as AsyncClient
    from pytest_asyncapi.client.lifespan import Lifespan as Lifespan
    from pytest_asyncapi.client.options import Options as Options
    from pytest_asyncapi.client.websocket import WebSocketSession as WebSocketSession

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "ASGITransport": ".async_client",
        "AsyncClient": ".async_client",
        "Lifespan": ".lifespan",
        "Options": ".options",
        "WebSocketSession": ".websocket",
    },
)
