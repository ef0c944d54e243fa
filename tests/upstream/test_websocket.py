"""Websocket services, for the clients that speak websocket."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import aiohttp
import httpx
import httpx2
import httpx2.websockets as httpx2_ws
import httpx_ws
import pytest

from pytest_asyncapi.errors import UnmatchedRequest
from pytest_asyncapi.upstream import Upstream, faults

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
    closed = httpx2_ws.WebSocketDisconnect

    @classmethod
    @asynccontextmanager
    async def connect(cls, url, protocols=()):
        async with (
            httpx2.AsyncClient() as client,
            client.websocket(url, subprotocols=list(protocols) or None) as ws,
        ):
            yield cls(ws)


@pytest.fixture(params=[Aiohttp, HttpxWs, Httpx2])
def connect(request):
    return request.param.connect


async def test_messages_go_both_ways(connect):
    with Upstream() as upstream:

        @upstream.ws("wss://feed.example.com/rooms/{room}")
        async def echo(ws, room):
            async for message in ws:
                await ws.send(f"{room}: {message}" if isinstance(message, str) else message[::-1])

        async with connect(URL) as ws:
            await ws.send("hello")
            assert await ws.receive() == "7: hello"
            await ws.send(b"abc")
            assert await ws.receive() == b"cba"
            await ws.send("x" * 50_000)
            assert len(await ws.receive()) == 50_003

    assert [call.outcome for call in upstream.calls] == ["101 Switching Protocols"]


async def test_a_script_of_messages_is_sent_and_then_closed(connect):
    with Upstream() as upstream:
        upstream.ws(URL).reply("one", b"two", {"n": 3})

        async with connect(URL) as ws:
            assert [await ws.receive() for _ in range(4)] == ["one", b"two", '{"n": 3}', 1000]


async def test_the_service_learns_how_the_app_closes(connect):
    learnt = asyncio.Queue()

    async def handler(ws):
        try:
            while True:
                await ws.receive()
        except Exception as exc:
            learnt.put_nowait(exc.code)
            raise

    with Upstream() as upstream:
        upstream.ws(URL).reply(handler)
        async with connect(URL) as ws:
            await ws.close(4001)

        assert await learnt.get() == 4001


async def test_the_service_may_close_with_a_code(connect):
    async def handler(ws):
        await ws.close(4002, "enough")

    with Upstream() as upstream:
        upstream.ws(URL).reply(handler)
        async with connect(URL) as ws:
            assert await ws.receive() == 4002


async def test_the_handler_sees_the_request_and_picks_a_subprotocol(connect):
    async def handler(ws):
        await ws.send_json({"path": ws.request.path, "offered": ws.subprotocols})

    with Upstream() as upstream:
        upstream.ws(URL).reply(handler, subprotocol="v2")
        async with connect(URL, ["v1", "v2"]) as ws:
            assert await ws.receive() == '{"path": "/rooms/7", "offered": ["v1", "v2"]}'
            assert ws.subprotocol == "v2"


REFUSED = (
    aiohttp.ClientError,
    httpx.HTTPError,
    httpx2.HTTPError,
    httpx_ws.WebSocketUpgradeError,
    httpx2_ws.WebSocketUpgradeError,
)


@pytest.mark.parametrize("answer", [403, faults.refused, faults.reset], ids=repr)
async def test_a_handshake_can_be_refused(connect, answer):
    with Upstream() as upstream:
        upstream.ws(URL).reply(answer)

        with pytest.raises(REFUSED):
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
