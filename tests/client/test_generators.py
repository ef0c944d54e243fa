"""The asynchronous generators of an app have ended when its response is closed, also those that stood at a `yield`."""

import asyncio
import gc

import pytest

from pytest_asyncapi.client.generators import Generators


@pytest.fixture
def events():
    """What the generators of the app have said."""
    return []


@pytest.fixture
def numbers(events):
    """An endless generator without an `await`: while the app waits for its reader, it stands at its `yield`."""

    async def generate():
        try:
            while True:
                yield b"x" * 1000
        finally:
            await asyncio.sleep(0.001)
            events.append("closed")

    return generate


@pytest.fixture
def collector():
    """The garbage collector runs only where it is called for, as in a test that is over before its next turn."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(params=["plain", "middleware", "over another generator", "in a framework's iterator"])
def app(request, numbers):
    """Starlette apps that send the generator's parts."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.responses import StreamingResponse
    from starlette.routing import Route

    class Counting(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):
            return await call_next(request)

    class Parts:
        def __init__(self):
            self.inner = numbers()

        def __aiter__(self):
            return self

        async def __anext__(self):
            return await anext(self.inner)

    async def relay():
        async for each in numbers():
            yield each

    async def endpoint(_):
        made = {"over another generator": relay, "in a framework's iterator": Parts}.get(request.param, numbers)
        return StreamingResponse(made())

    middleware = [Middleware(Counting)] if request.param == "middleware" else []
    return Starlette(routes=[Route("/", endpoint)], middleware=middleware)


@pytest.mark.usefixtures("collector")
async def test_left_early(connect, app, events, no_tasks_left):
    """The `finally` has run at the end of the block, awaits included, while the test still holds the response."""
    client = await connect(app)

    async with client.stream("GET", "/") as response:
        async for _ in response.aiter_raw():
            break

    assert response.is_closed
    assert events == ["closed"]
    no_tasks_left()


@pytest.mark.usefixtures("collector")
async def test_the_test_is_cancelled(connect, app, events):
    """So it has when the test was cancelled while it read."""
    client = await connect(app)

    async def read():
        async with client.stream("GET", "/") as response:
            async for _ in response.aiter_raw():
                await asyncio.sleep(0.01)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(read(), 0.1)

    assert events == ["closed"]


async def test_one_that_is_used_again(connect, app_of, events, numbers):
    """A generator that the app keeps for its next request is not closed."""
    shared = numbers()

    async def endpoint(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        async for each in shared:
            await send({"type": "http.response.body", "body": each, "more_body": True})

    client = await connect(app_of(endpoint))

    for _ in range(2):
        async with client.stream("GET", "/") as response:
            assert await anext(response.aiter_raw())
    assert events == []

    await shared.aclose()
    assert events == ["closed"]


async def test_none_to_wait_for():
    """An app without generators costs no look at the garbage."""
    task = asyncio.create_task(asyncio.sleep(0))
    before = sum(each["collections"] for each in gc.get_stats())

    await Generators([task]).ended()

    assert sum(each["collections"] for each in gc.get_stats()) == before
    await task
