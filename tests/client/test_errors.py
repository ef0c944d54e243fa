"""What the app raises reaches the test: at the request, at the chunk, or at the end; once, and never a later test."""

import asyncio
import sys

import pytest

from pytest_asyncapi.client import AsyncClient
from pytest_asyncapi.errors import AppCancelled, ConfigurationError


class Boom(Exception):
    pass


@pytest.fixture
def starlette():
    """`starlette(endpoint)`: a Starlette app with the endpoint at every path."""
    from starlette.applications import Starlette
    from starlette.routing import Route

    return lambda endpoint: Starlette(routes=[Route("/{path:path}", endpoint)])


async def test_an_exception_before_the_response(connect, app_of, no_tasks_left):
    """It is raised at the request, and its traceback leads to the app's line."""

    async def endpoint(scope, receive, send):
        raise Boom("before")

    client = await connect(app_of(endpoint))

    with pytest.raises(Boom, match="before") as raised:
        await client.get("/")

    assert raised.traceback[-1].name == "endpoint"
    no_tasks_left()


async def test_an_exception_that_starlette_answers_with_500(connect, starlette):
    """Starlette sends its 500 and raises; the test sees the exception."""

    async def endpoint(request):
        raise Boom("in starlette")

    client = await connect(starlette(endpoint))

    with pytest.raises(Boom, match="in starlette"):
        await client.get("/")


async def test_an_answer_instead_of_the_exception(connect, starlette, app_of):
    """raise_app_exceptions=False gives what a user of the real server gets, for a client or for one request."""

    async def endpoint(request):
        raise Boom("hidden")

    async def raw(scope, receive, send):
        raise Boom("hidden")

    client = await connect(starlette(endpoint), raise_app_exceptions=False)
    response = await client.get("/")
    assert (response.status_code, response.text) == (500, "Internal Server Error")

    client = await connect(app_of(raw))
    response = await client.get("/", extensions={"asyncapi": {"raise_app_exceptions": False}})
    assert (response.status_code, response.text) == (500, "Internal Server Error")
    with pytest.raises(Boom):
        await client.get("/")


@pytest.mark.parametrize("pause", [0.01, None])
async def test_an_exception_in_the_middle_of_the_body(connect, app_of, pause):
    """The parts before it arrive; it is raised where the next one would be, also when it comes at once."""

    async def endpoint(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        if pause is not None:
            await asyncio.sleep(pause)
        raise Boom("in the middle")

    client = await connect(app_of(endpoint))

    async with client.stream("GET", "/") as response:
        chunks = response.aiter_raw()
        assert await anext(chunks) == b"first"
        with pytest.raises(Boom, match="in the middle"):
            await anext(chunks)

    with pytest.raises(Boom, match="in the middle"):
        await client.get("/")


async def test_a_cut_body_without_the_exception(connect, app_of, library):
    """With raise_app_exceptions=False it is the library's RemoteProtocolError, as over a real connection."""

    async def endpoint(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await asyncio.sleep(0.01)
        raise Boom("in the middle")

    client = await connect(app_of(endpoint), library=library, raise_app_exceptions=False)

    with pytest.raises(client.module.RemoteProtocolError) as raised:
        await client.get("/")

    assert isinstance(raised.value.__cause__, Boom)


async def test_an_exception_at_the_departure_of_the_client(connect, app_of):
    """It is raised where the response is closed."""

    async def endpoint(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        raise Boom("while cleaning up")

    client = await connect(app_of(endpoint))

    with pytest.raises(Boom, match="while cleaning up"):
        async with client.stream("GET", "/") as response:
            await anext(response.aiter_raw())


async def test_the_tests_own_failure_comes_first(connect, app_of):
    """An app that fails at its client's departure does not hide why the test left; its error shows at the end."""

    async def endpoint(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        raise Boom("while cleaning up")

    client = await connect(app_of(endpoint))

    async def test():
        async with client.stream("GET", "/") as response:
            await anext(response.aiter_raw())
            raise AssertionError("the test's")

    with pytest.raises(AssertionError, match="the test's"):
        await test()

    with pytest.raises(Boom):
        await client.aclose()


async def test_what_no_response_showed_is_raised_at_the_end(connect, app_of, respond):
    """A failure after a detached response: at drain() or when the client is closed, once."""

    async def endpoint(scope, receive, send):
        await respond(send, b"fine")
        await asyncio.sleep(0.001)
        raise Boom("afterwards")

    client = await connect(app_of(endpoint), background="detach")

    assert (await client.get("/")).text == "fine"
    with pytest.raises(Boom, match="afterwards"):
        await client.drain()
    await client.drain()
    await client.get("/")
    with pytest.raises(Boom, match="afterwards"):
        await client.aclose()


async def test_an_outcome_of_pytest_in_the_app_is_the_tests(connect, starlette):
    """pytest.fail() in an endpoint or a fake of the test fails the test, whatever the framework catches."""

    async def endpoint(request):
        pytest.fail("said by the app")

    client = await connect(starlette(endpoint), raise_app_exceptions=False)

    with pytest.raises(pytest.fail.Exception, match="said by the app"):
        await client.get("/")


async def test_sys_exit_in_the_app(connect, app_of):
    """It ends in the test, and not the event loop."""

    async def endpoint(scope, receive, send):
        sys.exit(3)

    client = await connect(app_of(endpoint))

    with pytest.raises(SystemExit):
        await client.get("/")
    with pytest.raises(SystemExit):
        await client.get("/", extensions={"asyncapi": {"raise_app_exceptions": False}})


async def test_an_app_that_is_cancelled_from_inside(connect, app_of):
    """A CancelledError that the app lets out is no cancellation of the test."""

    async def endpoint(scope, receive, send):
        asyncio.current_task().cancel()
        await asyncio.sleep(1)

    client = await connect(app_of(endpoint))

    with pytest.raises(AppCancelled, match="GET /path: the app's task was cancelled from inside"):
        await client.get("/path")
    assert asyncio.current_task().cancelling() == 0


async def test_an_unknown_option_is_named(connect, app_of, respond):
    """An option of a request that does not exist is an error that lists those that do."""

    async def endpoint(scope, receive, send):
        await respond(send)

    client = await connect(app_of(endpoint))

    with pytest.raises(ConfigurationError) as raised:
        await client.get("/", extensions={"asyncapi": {"raise_exceptions": False}})
    assert str(raised.value) == (
        "unknown client option 'raise_exceptions': expected one of background, background_timeout, disconnect_grace, "
        "enforce_timeouts, raise_app_exceptions, strict"
    )
    with pytest.raises(ConfigurationError, match="background='later': expected one of wait, defer, detach"):
        await connect(app_of(endpoint), background="later")


@pytest.mark.parametrize(
    ("extensions", "text"),
    [
        ({"asyncapi": "defer"}, r"extensions\['asyncapi'\] = 'defer': expected a dict of client options"),
        ({"timeout": 5}, r"extensions\['timeout'\] = 5: expected a dict; seconds are for the argument timeout="),
    ],
)
async def test_extensions_that_are_none(connect, app_of, respond, extensions, text):
    async def endpoint(scope, receive, send):
        await respond(send)

    client = await connect(app_of(endpoint))

    with pytest.raises(ConfigurationError, match=text):
        await client.get("/", extensions=extensions)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"client": "10.0.0.7"}, "client='10.0.0.7': expected an address and a port"),
        ({"client": ("10.0.0.7",)}, "client=.*: expected an address and a port"),
        ({"root_path": 5}, "root_path=5: expected a str"),
        ({"lifespan": "off"}, "lifespan='off': expected True, False or a Lifespan"),
        ({"base_url": "testserver/v1"}, "base_url='testserver/v1' has no scheme: write 'http://testserver/v1'"),
        ({"http_version": 1.1}, "http_version=1.1: expected a str"),
        ({"asgi_extensions": "pathsend"}, "unknown ASGI extension 'pathsend': expected some of http.response.debug"),
    ],
)
def test_a_client_that_cannot_be(options, text):
    with pytest.raises(ConfigurationError, match=text):
        AsyncClient(print, **options)


async def test_wrong_url_schemes(connect, app_of, respond, library):
    """A scheme that nobody serves, and a websocket's URL for a plain request, are the library's UnsupportedProtocol."""

    async def endpoint(scope, receive, send):
        await respond(send)

    client = await connect(app_of(endpoint), library=library)

    with pytest.raises(client.module.UnsupportedProtocol) as raised:
        await client.get("ftp://testserver/file")
    assert str(raised.value) == "ftp://testserver/file: the client speaks http, https, ws and wss, not 'ftp'"
    with pytest.raises(client.module.UnsupportedProtocol) as raised:
        await client.get("ws://testserver/chat")
    assert str(raised.value) == (
        "ws://testserver/chat is a websocket: open it by `async with client.websocket_connect(...)`"
    )
    for url in ("localhost:8000/users", "mailto:ada@example.com", "HTTP:users", "file:/etc/passwd"):
        with pytest.raises(client.module.UnsupportedProtocol) as raised:
            await client.get(url)
        assert str(raised.value) == (
            f"{url!r} is neither a path, as '/users', nor a URL with a scheme and a host, as 'http://shop:80/users'"
        )
    for url in ("/users:all", "users/1:2", "?at=10:30", "//testserver/a:b"):
        assert (await client.get(url)).status_code == 200
    with pytest.raises(client.module.UnsupportedProtocol, match="not 'ftp'"):
        async with client.websocket_connect("ftp://testserver/file"):
            pass
