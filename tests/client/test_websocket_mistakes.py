"""Websockets that are used wrongly, by the test or by the app: each mistake is told as what it is, on both ways."""

import asyncio

import pytest

from pytest_asyncapi.errors import ProtocolError


@pytest.fixture
def echo(app_of):
    """An app that sends back what it gets."""

    async def endpoint(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})

    return app_of(endpoint)


async def test_two_that_receive(connect, echo):
    """Two tasks that wait for one message are an error, and not the first one's time-out."""
    client = await connect(echo)

    async with client.websocket_connect("/") as ws:
        first = asyncio.create_task(ws.receive_text())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError) as raised:
            await ws.receive_text()
        await ws.send_text("for the first")
        assert (await first) == "for the first"
        await ws.send_text("again")
        assert (await ws.receive_text()) == "again"

    assert str(raised.value) == ("two tasks receive from one websocket at once: which of them is to get the message?")


async def test_a_cancelled_receive(connect, echo):
    """A receive() that is cancelled loses no message."""
    client = await connect(echo)

    async with client.websocket_connect("/") as ws:
        for word in ("one", "two"):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ws.receive_text(), 0.02)
            await ws.send_text(word)
            assert (await ws.receive_text()) == word


async def test_the_wrong_types_and_blocks(connect, echo):
    """Text for bytes, bytes for text, and what is copied from tests with a TestClient."""
    client = await connect(echo)

    async with client.websocket_connect("/") as ws:
        with pytest.raises(TypeError, match=r"send_text\(\) takes a str, not bytes: see send_bytes\(\)"):
            await ws.send_text(b"bytes")
        with pytest.raises(TypeError, match=r"send_bytes\(\) takes bytes, not str: see send_text\(\)"):
            await ws.send_bytes("text")
    with (
        pytest.raises(TypeError, match=r"a websocket is asynchronous: write `async with client.websocket_connect"),
        client.websocket_connect("/"),
    ):
        pass
    with pytest.raises(TypeError, match=r"a websocket is a block: write `async with client.websocket_connect"):
        await client.websocket_connect("/")


async def test_half_a_denial(connect, app_of):
    """An app that returns in the middle of its denial response is named."""

    async def endpoint(scope, receive, send):
        await send({"type": "websocket.http.response.start", "status": 401, "headers": []})

    client = await connect(app_of(endpoint))

    with pytest.raises(ProtocolError, match="returned without the end of its denial response"):
        async with client.websocket_connect("/"):
            pass


async def test_sending_to_an_app_that_has_failed(connect, app_of):
    """A test that sends and sends sees the app's exception, over a socket that the server has closed too."""

    async def endpoint(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        raise KeyError("in the app")

    client = await connect(app_of(endpoint))

    async def test():
        async with client.websocket_connect("/") as ws:
            for _ in range(100):
                await ws.send_text("more")
                await asyncio.sleep(0.001)
            await ws.receive_text()

    with pytest.raises(KeyError, match="in the app"):
        await test()


@pytest.mark.parametrize(
    ("closing", "text"),
    [
        ({"code": 1005}, "websocket.close: 1005 is not a code to close with (1000, or your own from 4000 on)"),
        ({"code": 42}, "websocket.close: 42 is not a code to close with (1000, or your own from 4000 on)"),
        ({"code": "1000"}, "websocket.close: '1000' is not a code to close with (1000, or your own from 4000 on)"),
        ({"reason": "é" * 70}, "websocket.close: 'reason' has 140 bytes, its frame takes 123"),
        ({"reason": b"bytes"}, "websocket.close: 'reason' must be a str, not bytes"),
    ],
)
async def test_what_a_frame_cannot_say(connect, app_of, closing, text):
    """Codes and reasons that no server can send."""

    async def endpoint(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", **closing})

    client = await connect(app_of(endpoint))

    with pytest.raises(ProtocolError) as raised:
        async with client.websocket_connect("/") as ws:
            await ws.receive()
    assert str(raised.value) == text


async def test_the_clients_auth(connect, app_of):
    """The handshake has the authorization that the client's other requests have; its own header comes first."""
    seen = []

    async def endpoint(scope, receive, send):
        seen.append([value for name, value in scope["headers"] if name == b"authorization"])
        await receive()
        await send({"type": "websocket.accept"})
        await receive()

    client = await connect(app_of(endpoint), auth=("ada", "secret"))
    anonymous = await connect(app_of(endpoint))
    async with client.websocket_connect("/"):
        pass
    async with client.websocket_connect("/", headers={"authorization": "Bearer token"}):
        pass
    async with anonymous.websocket_connect("ws://ada:secret@testserver/"):
        pass

    assert seen == [[b"Basic YWRhOnNlY3JldA=="], [b"Bearer token"], [b"Basic YWRhOnNlY3JldA=="]]
