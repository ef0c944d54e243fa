"""Websocket services, for the clients that speak websocket."""

from __future__ import annotations

import asyncio
import queue
from contextlib import asynccontextmanager

import aiohttp
import httpx
import httpx_ws
import pytest

from pytest_asyncapi.errors import UnmatchedRequest
from pytest_asyncapi.upstream import Upstream, faults
from tests.httpx_libraries import HTTPX_NAMES, each

URL = "wss://feed.example.com/rooms/7"


class Aiohttp:
    @staticmethod
    @asynccontextmanager
    async def connect(url, protocols=()):
        async with aiohttp.ClientSession() as session, session.ws_connect(url, protocols=protocols) as ws:
            yield Aiohttp(ws)

    def __init__(self, ws):
        self.ws = ws

    async def send(self, message):
        await (self.ws.send_str(message) if isinstance(message, str) else self.ws.send_bytes(message))

    async def receive(self):
        message = await self.ws.receive()
        return (
            message.data if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY) else self.ws.close_code
        )

    async def close(self, code):
        await self.ws.close(code=code)

    @property
    def subprotocol(self):
        return self.ws.protocol


class HttpxWs:
    library = httpx
    closed = httpx_ws.WebSocketDisconnect

    @classmethod
    @asynccontextmanager
    async def connect(cls, url, protocols=()):
        async with (
            httpx.AsyncClient() as client,
            httpx_ws.aconnect_ws(url, client, subprotocols=list(protocols) or None) as ws,
        ):
            yield cls(ws)

    def __init__(self, ws):
        self.ws = ws

    async def send(self, message):
        await (self.ws.send_text(message) if isinstance(message, str) else self.ws.send_bytes(message))

    async def receive(self):
        try:
            event = await self.ws.receive()
        except self.closed as exc:
            return exc.code
        return bytes(event.data) if isinstance(event.data, bytes | bytearray) else event.data

    async def close(self, code):
        await self.ws.close(code)

    @property
    def subprotocol(self):
        return self.ws.subprotocol


class Httpx2(HttpxWs):
    @classmethod
    @asynccontextmanager
    async def connect(cls, url, protocols=()):
        async with (
            httpx2.AsyncClient() as client,
            client.websocket(url, subprotocols=list(protocols) or None) as ws,
        ):
            yield cls(ws)


KINDS = [Aiohttp, HttpxWs]
REFUSED = [aiohttp.ClientError, *each("HTTPError"), httpx_ws.WebSocketUpgradeError]
if "httpx2" in HTTPX_NAMES:
    import httpx2
    import httpx2.websockets as httpx2_ws

    Httpx2.closed = httpx2_ws.WebSocketDisconnect
    KINDS.append(Httpx2)
    REFUSED.append(httpx2_ws.WebSocketUpgradeError)


@pytest.fixture(params=KINDS)
def connect(request):
    return request.param.connect


@pytest.fixture
def feed(wired_service):
    """A service that speaks websocket: the router's, or a real one. `url` is where."""
    wired_service.url = wired_service.base.replace("http", "ws") + "/ws"
    return wired_service


async def test_messages_go_both_ways(connect, feed):
    async def echo(ws):
        async for message in ws:
            await ws.send(message[::-1])

    feed.on_websocket(echo)
    async with connect(feed.url) as ws:
        for message in ("hello", b"abc", "", "x" * 50_000, b"\0" * 50_000):
            await ws.send(message)
            assert await ws.receive() == message[::-1]


async def test_who_connects_when_the_service_speaks_first(connect, feed):
    async def greet(ws):
        for number in range(3):
            await ws.send(str(number))

    feed.on_websocket(greet)
    async with connect(feed.url) as ws:
        assert [await ws.receive() for _ in range(4)] == ["0", "1", "2", 1000]


async def test_a_route_takes_the_rest_from_the_path():
    with Upstream() as upstream:

        @upstream.ws("wss://feed.example.com/rooms/{room}")
        async def echo(ws, room):
            async for message in ws:
                await ws.send(f"{room}: {message}")

        async with Aiohttp.connect(URL) as ws:
            await ws.send("hello")
            assert await ws.receive() == "7: hello"

    assert [call.outcome for call in upstream.calls] == ["101 Switching Protocols"]


async def test_a_script_of_messages_is_sent_and_then_closed(connect):
    with Upstream() as upstream:
        upstream.ws(URL).reply("one", b"two", {"n": 3})

        async with connect(URL) as ws:
            assert [await ws.receive() for _ in range(4)] == ["one", b"two", '{"n": 3}', 1000]


async def test_the_service_learns_how_the_app_closes(connect, feed):
    learnt = queue.Queue()

    async def handler(ws):
        try:
            while True:
                await ws.receive()
        except Exception as exc:
            learnt.put(exc.code)
            raise

    feed.on_websocket(handler)
    async with connect(feed.url) as ws:
        await ws.close(4001)

    assert await asyncio.to_thread(learnt.get) == 4001


async def test_the_service_may_close_with_a_code(connect, feed):
    async def handler(ws):
        await ws.close(4002, "enough")

    feed.on_websocket(handler)
    async with connect(feed.url) as ws:
        assert await ws.receive() == 4002


async def test_the_handler_sees_the_request_and_picks_a_subprotocol(connect, feed):
    async def handler(ws):
        await ws.send(" ".join([ws.request.path, *ws.subprotocols]))

    feed.on_websocket(handler, subprotocol="v2")
    async with connect(feed.url, ["v1", "v2"]) as ws:
        assert await ws.receive() == "/ws v1 v2"
        assert ws.subprotocol == "v2"


async def test_a_handshake_that_is_refused_with_a_status(connect, feed):
    feed.on_websocket(403)

    with pytest.raises(tuple(REFUSED)) as caught:
        async with connect(feed.url):
            pass

    response = getattr(caught.value, "response", caught.value)
    assert getattr(response, "status_code", None) or response.status == 403


async def test_pings_are_answered(feed):
    async def silent(ws):
        async for _ in ws:
            pass

    feed.on_websocket(silent)
    async with aiohttp.ClientSession() as session, session.ws_connect(feed.url, autoping=False) as ws:
        await ws.ping(b"there?")
        answer = await ws.receive()

    assert (answer.type, bytes(answer.data)) == (aiohttp.WSMsgType.PONG, b"there?")


@pytest.mark.parametrize("answer", [faults.refused, faults.reset], ids=repr)
async def test_a_handshake_can_be_refused(connect, answer):
    with Upstream() as upstream:
        upstream.ws(URL).reply(answer)

        with pytest.raises(tuple(REFUSED)):
            async with connect(URL):
                pass


async def test_a_handler_that_fails_fails_the_test(connect):
    async def broken(ws):
        await ws.receive()
        raise ValueError("not understood")

    upstream = Upstream()
    upstream.ws(URL).reply(broken)
    with upstream.open():
        async with connect(URL) as ws:
            await ws.send("x")
            assert await ws.receive() == 1011

    assert upstream.failures() == [
        "upstream: test_a_handler_that_fails_fails_the_test.<locals>.broken, which answers"
        " https://feed.example.com/rooms/7, failed: ValueError('not understood')"
    ]


async def test_a_websocket_without_a_route_is_unmatched(connect):
    upstream = Upstream()
    upstream.get("https://feed.example.com/", required=False)
    with upstream.open(), pytest.raises(UnmatchedRequest, match=r"upstream\.ws\('https://feed.example.com/rooms/7'\)"):
        async with connect(URL):
            pass


async def test_a_websocket_route_is_not_for_plain_requests(async_http):
    upstream = Upstream()
    upstream.ws(URL)
    with upstream.open(), pytest.raises(UnmatchedRequest, match="the request is no websocket handshake"):
        await async_http.request("GET", "https://feed.example.com/rooms/7")


async def test_a_service_without_a_reply_listens(connect):
    with Upstream() as upstream:
        upstream.ws(URL)
        async with connect(URL) as ws:
            await ws.send("hello")


async def test_handshakes_are_answered_in_turn(connect):
    async def greet(ws):
        await ws.send("hello")

    with Upstream() as upstream:
        upstream.ws(URL).reply(503, greet)
        with pytest.raises(tuple(REFUSED)):
            async with connect(URL):
                pass
        async with connect(URL) as ws:
            assert await ws.receive() == "hello"


async def test_a_slow_reader_holds_the_service_back(feed):
    sent = 0

    async def pour(ws):
        nonlocal sent
        for _ in range(500):
            await ws.send(b"x" * 65536)
            sent += 1

    feed.on_websocket(pour)
    async with aiohttp.ClientSession() as session, session.ws_connect(feed.url, max_msg_size=0) as ws:
        await ws.receive()
        await asyncio.sleep(0.1)
        assert sent < 400
        received = [message.data async for message in ws]

    assert (len(received), sent) == (499, 500)
