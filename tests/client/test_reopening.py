"""A client made at import time, and closed by the app's shut-down, serves the next start of the app."""

import contextlib

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from pytest_asyncapi.client import AsyncClient
from tests.httpx_libraries import HTTPX, HTTPX_NAMES


@pytest.fixture(params=HTTPX, ids=HTTPX_NAMES)
def module(request):
    return request.param


def answering(module):
    return module.MockTransport(lambda request: module.Response(200, text="from upstream"))


def app_with(http, lifespan):
    async def endpoint(request):
        return PlainTextResponse((await http.get("http://upstream/")).text)

    return Starlette(routes=[Route("/", endpoint)], lifespan=lifespan)


async def test_one_that_the_shutdown_closes(module):
    http = module.AsyncClient(transport=answering(module))

    @contextlib.asynccontextmanager
    async def lifespan(app):
        yield
        await http.aclose()

    for _ in range(3):
        async with AsyncClient(app_with(http, lifespan)) as client:
            assert (await client.get("/")).text == "from upstream"
        assert http.is_closed


async def test_one_that_the_lifespan_enters(module):
    """httpx refuses to enter a client twice."""
    http = module.AsyncClient(transport=answering(module))

    @contextlib.asynccontextmanager
    async def lifespan(app):
        async with http:
            yield

    for _ in range(3):
        async with AsyncClient(app_with(http, lifespan)) as client:
            assert (await client.get("/")).text == "from upstream"


async def test_a_synchronous_one(module):
    http = module.Client(transport=answering(module))

    @contextlib.asynccontextmanager
    async def lifespan(app):
        with http:
            yield

    for _ in range(2):
        async with AsyncClient(Starlette(lifespan=lifespan)):
            assert not http.is_closed


async def test_one_that_a_request_closed_stays_closed(module):
    """What the app does wrong while it runs is the app's."""
    http = module.AsyncClient(transport=answering(module))

    async def endpoint(request):
        text = (await http.get("http://upstream/")).text
        await http.aclose()
        return PlainTextResponse(text)

    @contextlib.asynccontextmanager
    async def lifespan(app):
        yield

    app = Starlette(routes=[Route("/", endpoint)], lifespan=lifespan)
    async with AsyncClient(app) as client:
        assert (await client.get("/")).text == "from upstream"
    async with AsyncClient(app) as client:
        with pytest.raises(RuntimeError, match="the client has been closed"):
            await client.get("/")
