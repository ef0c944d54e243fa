"""What the app keeps in a module belongs to the loop of the test that used it first: the error says what to do."""

import asyncio

import aiohttp
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from pytest_asyncapi.client import AsyncClient

HINT = """\
the app uses what belongs to the event loop of an earlier test (a session, a lock, a queue that it keeps in a module); \
this test has a loop of its own. Let all tests share one, as requests do in production:
    asyncio_default_test_loop_scope = session
    asyncio_default_fixture_loop_scope = session
With anyio: asyncapi_anyio_loop_scope = session."""


def two_loops(endpoint):
    """The app asked by two requests at once, in a loop, and then in another."""
    app = Starlette(routes=[Route("/", endpoint)])

    async def use():
        async with AsyncClient(app) as client:
            await asyncio.gather(client.get("/"), client.get("/"))

    asyncio.run(use())
    asyncio.run(use())


def test_a_lock():
    lock = asyncio.Lock()

    async def endpoint(request):
        async with lock:
            await asyncio.sleep(0)
        return PlainTextResponse("fine")

    with pytest.raises(RuntimeError, match="is bound to a different event loop") as raised:
        two_loops(endpoint)

    assert raised.value.__notes__ == [HINT]


def test_a_session_made_at_the_first_request(unused_tcp_port):
    sessions = []

    async def endpoint(request):
        sessions[:] = sessions or [aiohttp.ClientSession()]
        try:
            await sessions[0].get(f"http://127.0.0.1:{unused_tcp_port}/", timeout=aiohttp.ClientTimeout(5))
        except aiohttp.ClientConnectorError:
            return PlainTextResponse("refused")

    with pytest.raises(RuntimeError, match="Event loop is closed") as raised:
        two_loops(endpoint)

    sessions[0].detach()  # its loop has gone: nothing is left to close
    assert raised.value.__notes__ == [HINT]


def test_other_errors_are_left_alone():
    async def endpoint(request):
        raise RuntimeError("out of stock")

    with pytest.raises(RuntimeError, match="out of stock") as raised:
        two_loops(endpoint)

    assert not hasattr(raised.value, "__notes__")
