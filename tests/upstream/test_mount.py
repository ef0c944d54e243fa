"""An ASGI app as the service behind the app."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from fastapi import FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import StreamingResponse

from pytest_asyncapi.upstream import Upstream

BASE = "https://fake.example.com/v1"


@pytest.fixture
def service():
    app = FastAPI()

    @app.post("/items/{n}")
    async def item(n: int, request: Request):
        return {"n": n, "body": await request.json(), "host": request.headers["host"], "url": str(request.url)}

    @app.get("/ticks")
    async def ticks():
        async def body():
            for n in range(3):
                yield f"{n} "
                await asyncio.sleep(0)

        return StreamingResponse(body(), media_type="text/plain")

    @app.get("/fails")
    async def fails():
        raise ValueError("in the service")

    @app.websocket("/echo")
    async def echo(ws: WebSocket):
        await ws.accept(subprotocol="v1")
        async for message in ws.iter_text():
            await ws.send_text(message.upper())

    @app.websocket("/closed")
    async def closed(ws: WebSocket):
        await ws.close()

    return app


async def test_it_answers_requests(async_http, service):
    with Upstream() as upstream:
        route = upstream.mount(BASE, service)

        answer = await async_http.request("POST", f"{BASE}/items/7?q=1", json={"a": 1})

    assert answer.json() == {"n": 7, "body": {"a": 1}, "host": "fake.example.com", "url": f"{BASE}/items/7?q=1"}
    assert len(route.calls) == 1


async def test_it_streams(async_http, service):
    with Upstream() as upstream:
        upstream.mount(BASE, service)

        assert (await async_http.request("GET", f"{BASE}/ticks")).text == "0 1 2 "


async def test_what_it_raises_is_a_500_where_its_framework_makes_it_one(async_http, service):
    async def bare(scope, receive, send):
        raise ValueError("in the service")

    with Upstream() as upstream:
        upstream.mount(BASE, service)
        upstream.mount("https://bare.example.com", bare)

        assert (await async_http.request("GET", f"{BASE}/fails")).status == 500
        with pytest.raises(ValueError, match="in the service"):
            await async_http.request("GET", "https://bare.example.com/x")


async def test_it_speaks_websocket(service):
    with Upstream() as upstream:
        upstream.mount(BASE, service)
        url = f"{BASE.replace('https', 'wss')}/echo"
        async with aiohttp.ClientSession() as session, session.ws_connect(url, protocols=["v1"]) as ws:
            await ws.send_str("hi")
            assert (await ws.receive_str(), ws.protocol) == ("HI", "v1")
        httpx2 = pytest.importorskip("httpx2")
        httpx2_ws = pytest.importorskip("httpx2.websockets")
        async with httpx2.AsyncClient() as client, client.websocket(url) as ws:
            await ws.send_text("hi")
            assert await ws.receive_text() == "HI"
            with pytest.raises(httpx2_ws.WebSocketUpgradeError):
                async with client.websocket(url.replace("echo", "closed")):
                    pass


async def test_it_denies_a_websocket_by_a_response_of_its_own(service):
    @service.websocket("/denied")
    async def denied(ws: WebSocket):
        raise HTTPException(402, "pay first")

    with Upstream() as upstream:
        upstream.mount(BASE, service)
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await session.ws_connect(f"{BASE.replace('https', 'wss')}/denied")

    assert caught.value.status == 402


async def test_a_route_beside_it_wins(async_http, service):
    with Upstream() as upstream:
        upstream.mount(BASE, service)
        upstream.get(f"{BASE}/ticks").reply("mine")

        assert (await async_http.request("GET", f"{BASE}/ticks")).text == "mine"


async def test_the_app_is_done_when_the_client_leaves_early(service):
    ended = asyncio.Event()

    @service.get("/forever")
    async def forever():
        async def body():
            try:
                while True:
                    yield b"x"
                    await asyncio.sleep(0)
            finally:
                ended.set()

        return StreamingResponse(body())

    with Upstream() as upstream:
        upstream.mount(BASE, service)
        async with aiohttp.ClientSession() as session, session.get(f"{BASE}/forever") as response:
            await response.content.readany()
        await asyncio.wait_for(ended.wait(), 5)


@pytest.mark.parametrize("left", ["with the head alone", "before the response"])
async def test_the_app_is_done_when_nobody_reads_on(left):
    ended = []

    async def app(scope, receive, send):
        try:
            if left == "before the response":
                await asyncio.sleep(60)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"a", "more_body": True})
            await send({"type": "http.response.body", "body": b"b"})
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        ended.append("in peace")

    with Upstream() as upstream:
        upstream.mount(BASE, app)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.05)) as session:
            if left == "before the response":
                with pytest.raises(TimeoutError):
                    await session.get(f"{BASE}/")
            else:
                async with session.head(f"{BASE}/") as response:
                    assert (response.status, await response.read()) == (200, b"")
    for _ in range(5):
        await asyncio.sleep(0)

    assert ended == ["cancelled" if left == "before the response" else "in peace"]
    assert asyncio.all_tasks() == {asyncio.current_task()}
