"""Websockets, by client.websocket_connect() and by the libraries' own sessions."""

import asyncio

import pytest

from pytest_asyncapi.errors import AppTimeout, ProtocolError, WebSocketDisconnect, WebSocketRejected


@pytest.fixture
def sockets():
    """A Starlette app with a websocket for each case, and what it saw."""
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import WebSocketRoute

    events = []

    async def echo(websocket):
        await websocket.accept(headers=[(b"x-accepted", b"yes")])
        async for text in websocket.iter_text():
            await websocket.send_text(f"echo {text}")
        events.append("left")

    async def binary(websocket):
        await websocket.accept()
        await websocket.send_bytes(b"\0" + await websocket.receive_bytes())
        await websocket.send_json(await websocket.receive_json())
        await websocket.close(4000, "that was all")

    async def chat(websocket):
        wanted = websocket.scope["subprotocols"]
        await websocket.accept(subprotocol=wanted[-1] if wanted else None)
        await websocket.send_json({"offered": wanted, "query": websocket.url.query, "scheme": websocket.url.scheme})
        await websocket.close()

    async def refused(websocket):
        await websocket.close(4401, "who are you?")

    async def denied(websocket):
        await websocket.send_denial_response(JSONResponse({"detail": "no"}, status_code=401, headers={"x-why": "no"}))

    async def broken(websocket):
        await websocket.accept()
        await websocket.receive_text()
        raise ZeroDivisionError("in the websocket")

    async def broken_first(websocket):
        raise ZeroDivisionError("before accept")

    async def silent(websocket):
        await websocket.accept()
        await asyncio.sleep(3600)

    async def ticks(websocket):
        await websocket.accept()
        for number in range(3):
            await websocket.send_text(str(number))
        await websocket.close()

    endpoints = (echo, binary, chat, refused, denied, broken, broken_first, silent, ticks)
    return Starlette(routes=[WebSocketRoute(f"/{each.__name__}", each) for each in endpoints]), events


async def test_text(connect, sockets, no_tasks_left):
    """Messages go back and forth; the app sees the end and has ended when the block is left."""
    app, events = sockets
    client = await connect(app)

    async with client.websocket_connect("/echo") as ws:
        await ws.send_text("one")
        await ws.send_text("two")
        assert await ws.receive_text() == "echo one"
        assert await ws.receive() == "echo two"
        assert (b"x-accepted", b"yes") in ws.headers
        assert events == []

    assert events == ["left"]
    no_tasks_left()


async def test_bytes_json_and_close(connect, sockets):
    """Binary messages, JSON, and the code and reason of the app's close."""
    app, _ = sockets
    client = await connect(app)

    async with client.websocket_connect("/binary") as ws:
        await ws.send_bytes(b"x")
        assert await ws.receive_bytes() == b"\0x"
        await ws.send_json({"a": [1, "é"]})
        assert await ws.receive_json() == {"a": [1, "é"]}
        with pytest.raises(WebSocketDisconnect) as raised:
            await ws.receive()
        assert (raised.value.code, raised.value.reason) == (4000, "that was all")
        assert str(raised.value) == "the app closed the websocket: code 4000, 'that was all'"
        with pytest.raises(WebSocketDisconnect):
            await ws.send_text("too late")


async def test_iteration(connect, sockets):
    """`async for` ends with a normal close."""
    app, _ = sockets
    client = await connect(app)

    async with client.websocket_connect("/ticks") as ws:
        assert [message async for message in ws] == ["0", "1", "2"]


@pytest.mark.parametrize("url", ["/chat?room=7", "ws://testserver/chat?room=7", "http://testserver/chat?room=7"])
async def test_subprotocols_and_urls(connect, sockets, url):
    """The app chooses among the subprotocols; any form of the URL will do."""
    app, _ = sockets
    client = await connect(app)

    async with client.websocket_connect(url, subprotocols=["v1.chat", "v2.chat"]) as ws:
        assert ws.subprotocol == "v2.chat"
        assert await ws.receive_json() == {"offered": ["v1.chat", "v2.chat"], "query": "room=7", "scheme": "ws"}


async def test_a_subprotocol_that_was_not_offered(connect, app_of):
    """Is the app's mistake."""

    async def endpoint(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "v3"})

    client = await connect(app_of(endpoint))

    with pytest.raises(ProtocolError) as raised:
        async with client.websocket_connect("/", subprotocols=["v1"]):
            pass
    assert str(raised.value) == ("websocket.accept: the client did not offer the subprotocol 'v3' (it offered 'v1')")


async def test_the_scope(connect, app_of):
    """As uvicorn's: scheme, path, headers, state, the denial extension."""
    scopes = []

    async def endpoint(scope, receive, send):
        scopes.append(scope)
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})

    client = await connect(app_of(endpoint), base_url="https://testserver", headers={"authorization": "Bearer x"})

    async with client.websocket_connect("/a%2Fb?c=d", headers={"x-one": "1"}) as ws:
        assert [message async for message in ws] == []

    (scope,) = scopes
    headers = scope.pop("headers")
    assert scope == {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "wss",
        "server": ("testserver", 443),
        "client": ("127.0.0.1", 50000),
        "root_path": "",
        "path": "/a/b",
        "raw_path": b"/a%2Fb",
        "query_string": b"c=d",
        "subprotocols": [],
        "state": {},
        "extensions": {"websocket.http.response": {}},
    }
    assert {(b"x-one", b"1"), (b"authorization", b"Bearer x"), (b"host", b"testserver")} <= set(headers)


async def test_a_close_before_the_acceptance(connect, sockets):
    """Is a refusal: 403 to the client, with the code that the app gave."""
    app, _ = sockets
    client = await connect(app)

    with pytest.raises(WebSocketRejected) as raised:
        async with client.websocket_connect("/refused"):
            pass

    assert (raised.value.status_code, raised.value.code, raised.value.reason) == (403, 4401, "who are you?")
    assert str(raised.value) == (
        "the app refused the websocket with HTTP 403, by websocket.close before websocket.accept "
        "(code 4401, 'who are you?')"
    )


async def test_a_denial_response(connect, sockets):
    """Status, headers and body of the app's own refusal."""
    app, _ = sockets
    client = await connect(app)

    with pytest.raises(WebSocketRejected) as raised:
        async with client.websocket_connect("/denied"):
            pass

    assert (raised.value.status_code, raised.value.body, raised.value.code) == (401, b'{"detail":"no"}', None)
    assert (b"x-why", b"no") in raised.value.headers
    assert str(raised.value) == (
        'the app refused the websocket with HTTP 401, with a response of its own: b\'{"detail":"no"}\''
    )


async def test_the_apps_exceptions(connect, sockets):
    """Are raised in the test, as they are: before the acceptance, at receive(), or at the end of the block."""
    app, _ = sockets
    client = await connect(app)

    with pytest.raises(ZeroDivisionError, match="before accept"):
        async with client.websocket_connect("/broken_first"):
            pass
    async with client.websocket_connect("/broken") as ws:
        await ws.send_text("go")
        with pytest.raises(ZeroDivisionError, match="in the websocket"):
            await ws.receive()


async def test_the_exception_of_an_app_that_nobody_listens_to(connect, sockets):
    """It is raised when the block ends."""
    app, _ = sockets
    client = await connect(app)

    async def leave():
        async with client.websocket_connect("/broken") as ws:
            await ws.send_text("go")

    with pytest.raises(ZeroDivisionError):
        await leave()


async def test_without_the_exceptions(connect, sockets):
    """raise_app_exceptions=False gives the close code that a server sends."""
    app, _ = sockets
    client = await connect(app, raise_app_exceptions=False)

    async with client.websocket_connect("/broken") as ws:
        await ws.send_text("go")
        with pytest.raises(WebSocketDisconnect) as raised:
            await ws.receive()
    assert raised.value.code in (1006, 1011)


async def test_nothing_comes(connect, sockets):
    """receive(timeout=) names the line where the app waits."""
    app, _ = sockets
    client = await connect(app)

    async with client.websocket_connect("/silent") as ws:
        with pytest.raises(AppTimeout) as raised:
            await ws.receive(timeout=0.05)
    lines = str(raised.value).splitlines()
    assert lines[0] == "websocket /silent: no message came for 0.05 s; the app waits at"
    assert lines[1].endswith("in silent: await asyncio.sleep(3600)")


async def test_an_app_that_never_answers(connect, app_of):
    """The handshake has the client's time-out, or its own."""

    async def endpoint(scope, receive, send):
        await asyncio.sleep(3600)

    client = await connect(app_of(endpoint))

    with pytest.raises((AppTimeout, client.module.ReadTimeout), match=r"in endpoint: await asyncio\.sleep"):
        async with client.websocket_connect("/", timeout=0.5):  # a server's first handshake imports a lot
            pass


async def test_an_app_that_returns_without_an_answer(connect, app_of):
    """Is an error, not a hang."""

    async def endpoint(scope, receive, send):
        await receive()

    client = await connect(app_of(endpoint))

    with pytest.raises(
        ProtocolError, match=r"^websocket /ws: .* returned without websocket.accept or websocket.close$"
    ):
        async with client.websocket_connect("/ws"):
            pass


async def test_a_test_failure_stays_as_it_is(connect, sockets):
    """No ExceptionGroup around an AssertionError in the block."""
    app, events = sockets
    client = await connect(app)

    async def test():
        async with client.websocket_connect("/echo"):
            raise AssertionError("mine")

    with pytest.raises(AssertionError, match="mine"):
        await test()
    assert events == ["left"]


async def test_the_wrong_kind(connect, sockets):
    """Text where bytes are expected, and the other way round."""
    app, _ = sockets
    client = await connect(app)

    async with client.websocket_connect("/echo") as ws:
        await ws.send_text("a")
        with pytest.raises(AssertionError, match="expected a binary message, got text: 'echo a'"):
            await ws.receive_bytes()


async def test_not_opened(connect, sockets):
    """A session that was not entered says how."""
    app, _ = sockets
    client = await connect(app)

    with pytest.raises(RuntimeError, match=r"write `async with client\.websocket_connect"):
        await client.websocket_connect("/echo").send_text("a")


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([{"type": "websocket.send", "text": "x"}], "websocket.send was sent while the websocket is connecting"),
        ([{"type": "websocket.accept"}, {"type": "websocket.accept"}], "websocket.accept was sent while the websocket"),
        ([{"type": "websocket.accept"}, {"type": "websocket.send"}], "give exactly one of 'text' and 'bytes'"),
        ([{"type": "websocket.accept"}, {"type": "websocket.send", "text": b"x"}], "'text' must be a str, not bytes"),
        ([{"type": "websocket.accept"}, {"type": "websocket.send", "bytes": "x"}], "'bytes' must be bytes, not str"),
        ([{"type": "websocket.accept"}, {"type": "http.response.start"}], "unknown type 'http.response.start'"),
        ([{"type": "websocket.close"}, {"type": "websocket.close"}], "websocket.close was sent while the websocket is"),
    ],
)
async def test_protocol_errors(connect, app_of, messages, text):
    """Mistakes of a websocket app are raised at its own send(), and reach the test."""

    async def endpoint(scope, receive, send):
        await receive()
        for message in messages:
            await send(message)

    client = await connect(app_of(endpoint))

    async def listen():
        async with client.websocket_connect("/") as ws:
            await ws.receive()

    with pytest.raises((ProtocolError, WebSocketRejected)) as raised:
        await listen()
    if isinstance(raised.value, WebSocketRejected):  # it had been refused before the mistake
        with pytest.raises(ProtocolError) as raised:
            await client.aclose()
    assert text in str(raised.value)
    assert raised.traceback.filter(raised)[-1].name == "endpoint"


async def test_many_at_once(connect, sockets):
    """Sessions of one client do not mix."""
    app, _ = sockets
    client = await connect(app)

    async def talk(name):
        async with client.websocket_connect("/echo") as ws:
            for number in range(5):
                await ws.send_text(f"{name}{number}")
                assert await ws.receive_text() == f"echo {name}{number}"

    await asyncio.gather(*(talk(name) for name in "abcdef"))


async def test_httpx2s_own_sessions(connect, sockets):
    """client.websocket() of httpx2."""
    pytest.importorskip("httpx2")
    app, _ = sockets
    client = await connect(app)

    async with client.websocket("ws://testserver/echo") as ws:
        await ws.send_text("hello")
        assert await ws.receive_text() == "echo hello"
        await (await ws.ping()).wait()
    async with client.websocket("ws://testserver/binary") as ws:
        await ws.send_bytes(b"x")
        assert await ws.receive_bytes() == b"\0x"
        await ws.send_json({"a": 1})
        assert await ws.receive_json() == {"a": 1}
        with pytest.raises(Exception, match="that was all"):
            await ws.receive()
    async with client.websocket("ws://testserver/chat", subprotocols=["v1", "v2"]) as ws:
        assert ws.subprotocol == "v2"


async def test_httpx_ws(connect, sockets):
    """aconnect_ws() of httpx-ws."""
    from httpx_ws import WebSocketUpgradeError, aconnect_ws

    app, _ = sockets
    client = await connect(app, library="httpx")

    async with aconnect_ws("http://testserver/echo", client) as ws:
        await ws.send_text("hello")
        assert await ws.receive_text() == "echo hello"

    async def refused():
        async with aconnect_ws("http://testserver/denied", client):
            pass

    with pytest.raises(WebSocketUpgradeError) as raised:
        await refused()
    assert raised.value.response.status_code == 401


async def test_the_apps_exception_behind_a_foreign_session(connect, sockets):
    """It closes the websocket with 1011, and is raised when the client is closed."""
    pytest.importorskip("httpx2")
    app, _ = sockets
    client = await connect(app)

    async with client.websocket("ws://testserver/broken") as ws:
        await ws.send_text("go")
        with pytest.raises(Exception):  # noqa: B017 - httpx2's WebSocketDisconnect
            await ws.receive()

    with pytest.raises(ZeroDivisionError):
        await client.aclose()
