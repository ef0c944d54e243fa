"""What the tests of the client share: clients of small apps, in the process and over a real server."""

import contextlib

import pytest

from pytest_asyncapi.client import AsyncClient
from pytest_asyncapi.client.async_client import client_class
from pytest_asyncapi.client.transport import http_module
from tests.httpx_libraries import HTTPX_NAMES, newest


@pytest.fixture(params=["process", "live"])
def way(request):
    """How requests reach the app: in the process, or over uvicorn."""
    return request.param


@pytest.fixture(params=HTTPX_NAMES)
def library(request):
    """The client library."""
    return request.param


@pytest.fixture
async def connect(way):
    """`client = await connect(app, **options)`: an open client, closed when the test ends."""
    async with contextlib.AsyncExitStack() as stack:
        server = None
        if way == "live":
            from pytest_asyncapi.client.live import LiveServer

            server = await stack.enter_async_context(LiveServer())

        async def open_client(app, library=newest.__name__, **options):
            make = AsyncClient if library == "httpx2" else client_class(http_module(library))
            client = make(app, server=server, **options)
            return await stack.enter_async_context(client)

        yield open_client


@pytest.fixture
def app_of():
    """`app_of(endpoint)`: an ASGI app that answers the lifespan and hands everything else to the endpoint."""

    def make(endpoint):
        async def app(scope, receive, send):
            if scope["type"] == "lifespan":
                await receive()
                await send({"type": "lifespan.startup.complete"})
                await receive()
                await send({"type": "lifespan.shutdown.complete"})
            else:
                await endpoint(scope, receive, send)

        return app

    return make


@pytest.fixture
def respond():
    """`await respond(send, b"body", status=..., headers=...)`: a whole response of an ASGI app."""

    async def answer(send, body=b"", status=200, headers=()):
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        await send({"type": "http.response.body", "body": body})

    return answer


@pytest.fixture
def no_tasks_left():
    """Checks at its call that no task of an app is left in the event loop."""
    import asyncio

    def check():
        left = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("asgi ")]
        assert [name for name in left if name != "asgi lifespan"] == []

    return check
