"""What breaks the ASGI specification is an error whose traceback ends at the app's own send()."""

import inspect

import pytest

from pytest_asyncapi.errors import ProtocolError

START = {"type": "http.response.start", "status": 200}
END = {"type": "http.response.body", "body": b""}

WRONG = {
    "no dict": ([None], "send() takes a dict with a 'type', not None"),
    "no type": ([{"status": 200}], "send() takes a dict with a 'type', not {'status': 200}"),
    "unknown type": (
        [{"type": "http.response.begin"}],
        "send() of an http app got a message of the unknown type 'http.response.begin'",
    ),
    "body first": ([END], "http.response.body was sent before http.response.start"),
    "two starts": ([START, START], "http.response.start was sent twice"),
    "body after the end": ([START, END, END], "http.response.body was sent after the last one (more_body=False)"),
    "text for bytes": (
        [START, {"type": "http.response.body", "body": "text"}],
        "http.response.body: 'body' must be bytes, not str (encode the text: body.encode())",
    ),
    "no bytes": (
        [START, {"type": "http.response.body", "body": 7}],
        "http.response.body: 'body' must be bytes, not int",
    ),
    "no status": ([{"type": "http.response.start"}], "http.response.start: 'status' must be an int, not None"),
    "status text": (
        [{"type": "http.response.start", "status": "200"}],
        "http.response.start: 'status' must be an int, not '200'",
    ),
    "interim status": (
        [{"type": "http.response.start", "status": 103}],
        "http.response.start: 103 is not the status of a response (200 to 999)",
    ),
    "header text": (
        [START | {"headers": [("x-a", "b")]}],
        "http.response.start: header name and value must be bytes, not 'x-a': 'b' (write b'x-a', b'b')",
    ),
    "header without value": (
        [START | {"headers": [b"x-a"]}],
        "http.response.start: headers are pairs of name and value, not b'x-a'",
    ),
    "headers None": (
        [START | {"headers": None}],
        "http.response.start: 'headers' is a list of pairs, not NoneType",
    ),
    "headers in a dict": (
        [START | {"headers": {b"x-a": b"b"}}],
        "http.response.start: 'headers' is a list of pairs, not dict (write list(headers.items()))",
    ),
    "header bytearray": (
        [START | {"headers": [(b"x-a", bytearray(b"b"))]}],
        "http.response.start: header name and value must be bytes, not b'x-a': bytearray(b'b') (write b'x-a', b'b')",
    ),
    "header name": (
        [START | {"headers": [(b"x a", b"b")]}],
        "http.response.start: b'x a' is not a header name",
    ),
    "header value": (
        [START | {"headers": [(b"x-a", b"b\r\nset-cookie: evil=1")]}],
        "http.response.start: the value of header b'x-a' has a CR, LF or NUL: b'b\\r\\nset-cookie: evil=1'",
    ),
    "content-length": (
        [START | {"headers": [(b"content-length", b"ten")]}],
        "http.response.start: content-length must be a number, not b'ten'",
    ),
    "two content-lengths": (
        [START | {"headers": [(b"content-length", b"1"), (b"content-length", b"2")]}],
        "http.response.start: two content-length headers, 1 and 2",
    ),
    "body too long": (
        [START | {"headers": [(b"content-length", b"2")]}, {"type": "http.response.body", "body": b"four"}],
        "http.response.body: the body is longer (4 bytes) than its content-length (2)",
    ),
    "body too short": (
        [START | {"headers": [(b"content-length", b"9")]}, {"type": "http.response.body", "body": b"four"}],
        "http.response.body: the body ends after 4 bytes, but its content-length is 9",
    ),
    "204 with a body": (
        [{"type": "http.response.start", "status": 204}, {"type": "http.response.body", "body": b"x"}],
        "http.response.body: a 204 has no body, but 1 bytes were sent",
    ),
    "204 with a length": (
        [{"type": "http.response.start", "status": 204, "headers": [(b"content-length", b"1")]}],
        "http.response.start: a 204 has no body, but content-length is 1",
    ),
    "304 with a body": (
        [{"type": "http.response.start", "status": 304}, {"type": "http.response.body", "body": b"x"}],
        "http.response.body: a 304 has no body, but 1 bytes were sent",
    ),
    "trailers not announced": (
        [START, {"type": "http.response.trailers", "headers": []}],
        "http.response.trailers was sent, but http.response.start had no trailers=True",
    ),
    "an extension not offered": (
        [{"type": "http.response.early_hint", "links": []}],
        "http.response.early_hint was sent, but scope['extensions'] does not offer it",
    ),
}


@pytest.mark.parametrize("name", WRONG)
async def test_wrong_messages(connect, app_of, name):
    """Each has a message of its own, and the last visible line of its traceback is the app's."""
    messages, text = WRONG[name]

    async def endpoint(scope, receive, send):
        for message in messages:
            await send(message)

    client = await connect(app_of(endpoint))

    with pytest.raises(ProtocolError) as raised:
        await client.get("/")

    assert str(raised.value) == text
    visible = raised.traceback.filter(raised)
    assert visible[-1].name == "endpoint"
    assert str(visible[-1].statement).strip() == "await send(message)"


async def test_an_app_that_swallows_the_error(connect, app_of, respond):
    """The mistake is not lost when the app catches everything."""

    async def endpoint(scope, receive, send):
        try:
            await send({"type": "http.response.start", "status": "200"})
        except Exception:
            await respond(send, b"saved", status=500)

    client = await connect(app_of(endpoint))

    with pytest.raises(ProtocolError, match="'status' must be an int"):
        await client.get("/")


async def test_no_answer(connect, app_of):
    """An app that returns without a response is named with its place."""

    async def endpoint(scope, receive, send):
        pass

    app = app_of(endpoint)
    client = await connect(app)

    with pytest.raises(ProtocolError) as raised:
        await client.get("/nothing")

    line = inspect.getsourcelines(app)[1]
    assert str(raised.value) == (
        f"GET /nothing: {app.__module__}.{app.__qualname__} ({app.__code__.co_filename}:{line}) "
        "returned without sending http.response.start"
    )


async def test_half_an_answer(connect, app_of):
    """So is one that returns without the end of its body."""

    async def endpoint(scope, receive, send):
        await send(START)
        await send({"type": "http.response.body", "body": b"half", "more_body": True})

    client = await connect(app_of(endpoint))

    async with client.stream("GET", "/") as response:
        chunks = response.aiter_raw()
        assert await anext(chunks) == b"half"
        with pytest.raises(ProtocolError) as raised:
            await anext(chunks)
    assert "returned without the end of its response (no http.response.body without more_body=True)" in str(
        raised.value
    )
    with pytest.raises(ProtocolError, match="returned without the end of its response"):
        await client.get("/")


async def test_an_app_that_returns_nothing(connect):
    """A plain function in place of an `async def`."""

    def app(scope, receive, send):
        return None

    client = await connect(app, lifespan=False)

    with pytest.raises(ProtocolError) as raised:
        await client.get("/")

    assert str(raised.value) == (
        f"{app.__module__}.{app.__qualname__} ({__file__}:{app.__code__.co_firstlineno}) is not an ASGI app: calling "
        "it with scope, receive and send returned None, nothing to await (is it an `async def`?)"
    )


async def test_strict(connect, app_of):
    """Header names in upper case, which servers and Django tolerate, are refused by strict=True only."""

    async def endpoint(scope, receive, send):
        await send(START | {"headers": [(b"Content-Type", b"text/plain")]})
        await send(END)

    client = await connect(app_of(endpoint))
    assert (await client.get("/")).headers["content-type"] == "text/plain"

    client = await connect(app_of(endpoint), strict=True)
    with pytest.raises(ProtocolError) as raised:
        await client.get("/")
    assert str(raised.value) == (
        "http.response.start: header names must be lower case, not b'Content-Type' (write b'content-type')"
    )


async def test_strict_blanks(connect, app_of):
    """Blanks around a header's value, which some servers refuse, are refused by strict=True."""

    async def endpoint(scope, receive, send):
        await send(START | {"headers": [(b"x-a", b" b")]})
        await send(END)

    client = await connect(app_of(endpoint), strict=True)

    with pytest.raises(ProtocolError) as raised:
        await client.get("/")
    assert str(raised.value) == "http.response.start: the value of header b'x-a' has blanks around it: b' b'"


def wsgi(environ, start_response):
    return [b"hello"]


class OfASGI2:
    def __init__(self, scope):
        self.scope = scope


@pytest.mark.parametrize(
    ("app", "text"),
    [
        (
            wsgi,
            f"{__name__}.wsgi ({__file__}:{wsgi.__code__.co_firstlineno}) is not an ASGI app, which takes scope, "
            "receive and send: wsgi() takes 2 positional arguments but 3 were given",
        ),
        (
            OfASGI2,
            f"the class {__name__}.OfASGI2 is not an ASGI app, which takes scope, receive and send: OfASGI2.__init__() "
            "takes 2 positional arguments but 4 were given",
        ),
        (
            "shop:app",
            "builtins.str object is not an ASGI app, which takes scope, receive and send: 'str' object is not callable",
        ),
    ],
    ids=["wsgi", "asgi2", "name"],
)
async def test_no_asgi_app(connect, app, text):
    """What is called otherwise than an ASGI app is named, with what Python says of it."""
    client = await connect(app)

    with pytest.raises(ProtocolError) as raised:
        await client.get("/")

    assert str(raised.value) == text


async def test_a_type_error_of_the_app(connect):
    """One that comes from inside of the app stays as it is."""

    def app(scope, receive, send):
        return len(7)

    client = await connect(app, lifespan=False)

    with pytest.raises(TypeError, match="has no len"):
        await client.get("/")


async def test_what_is_allowed(connect, app_of):
    """bytearray and memoryview, iterators of headers, lists as pairs."""

    async def endpoint(scope, receive, send):
        await send(START | {"headers": iter([[b"x-list", b"yes"]])})
        await send({"type": "http.response.body", "body": bytearray(b"a"), "more_body": True})
        await send({"type": "http.response.body", "body": memoryview(b"b")})

    client = await connect(app_of(endpoint))

    response = await client.get("/")
    assert (response.content, response.headers["x-list"]) == (b"ab", "yes")


@pytest.mark.parametrize("way", ["process"], indirect=True)  # differs: a content-length in a 304
async def test_the_length_of_what_a_304_leaves_out(connect, app_of):
    async def endpoint(scope, receive, send):
        await send({"type": "http.response.start", "status": 304, "headers": [(b"content-length", b"12")]})
        await send({"type": "http.response.body"})

    client = await connect(app_of(endpoint))

    response = await client.get("/")
    assert (response.status_code, response.content, response.headers["content-length"]) == (304, b"", "12")


def test_pytest_shows_the_apps_line(pytester):
    """In the report of the failing test the traceback ends at the app's send()."""
    pytester.makepyfile(
        shop="""
        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": "200"})
        """,
        test_it="""
        async def test_it(client):
            await client.get("/")
        """,
    )
    pytester.makeini(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
        "asyncapi_app = shop:app\npythonpath = .\nasyncapi_database = none\n"
    )

    result = pytester.runpytest("-p", "no:randomly")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            '>       await send({"type": "http.response.start", "status": "200"})',
            "E       pytest_asyncapi.errors.ProtocolError: http.response.start: 'status' must be an int, not '200'",
            "",
            "shop.py:2: ProtocolError",
        ]
    )
