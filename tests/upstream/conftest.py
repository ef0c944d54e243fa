"""The clients that the router serves, with one small face, so that a test is written once for all of them."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import contextmanager
from typing import Any

import aiohttp
import httpx
import httpx2
import pytest

from pytest_asyncapi.upstream import Reply, Request, Upstream
from pytest_asyncapi.upstream.replies import to_reply


class Answer:
    """What came back, the same for every client."""

    def __init__(self, status: int, headers: Any, content: bytes, url: str, reason: str) -> None:
        self.status, self.headers, self.content, self.url, self.reason = status, headers, content, url, reason

    def json(self) -> Any:
        import json

        return json.loads(self.content)

    @property
    def text(self) -> str:
        return self.content.decode()


class AiohttpClient:
    name = "aiohttp"
    is_async = True

    def __init__(self) -> None:
        self.session: aiohttp.ClientSession | None = None
        self.options: dict[str, Any] = {}

    async def request(self, method: str, url: str, **kwargs: Any) -> Answer:
        if self.session is None:
            self.session = aiohttp.ClientSession(**self.options)
        if "content" in kwargs:
            kwargs["data"] = kwargs.pop("content")
        if "timeout" in kwargs:
            kwargs["timeout"] = aiohttp.ClientTimeout(sock_read=kwargs["timeout"])
        if "follow" in kwargs:
            kwargs["allow_redirects"] = kwargs.pop("follow")
        async with self.session.request(method, url, **kwargs) as response:
            content = await response.read()
            return Answer(response.status, response.headers, content, str(response.url), response.reason or "")

    async def close(self) -> None:
        if self.session is not None:
            await self.session.close()


class HttpxClient:
    is_async = True

    def __init__(self, library: Any) -> None:
        self.library = library
        self.name = library.__name__
        self.options: dict[str, Any] = {}
        self.client: Any = None

    def make(self) -> Any:
        return self.library.AsyncClient(**self.options)

    async def send(self, method: str, url: str, **kwargs: Any) -> Any:
        return await self.client.request(method, url, **kwargs)

    async def request(self, method: str, url: str, **kwargs: Any) -> Answer:
        if self.client is None:
            self.client = self.make()
        kwargs["follow_redirects"] = kwargs.pop("follow", True)
        response = await self.send(method, url, **kwargs)
        return Answer(
            response.status_code, response.headers, response.content, str(response.url), response.reason_phrase
        )

    async def close(self) -> None:
        if self.client is not None:
            await self.client.aclose()


class SyncHttpxClient(HttpxClient):
    is_async = False

    def make(self) -> Any:
        return self.library.Client(**self.options)

    async def send(self, method: str, url: str, **kwargs: Any) -> Any:
        return self.client.request(method, url, **kwargs)

    async def close(self) -> None:
        if self.client is not None:
            self.client.close()


CLIENTS = {
    "aiohttp": AiohttpClient,
    "httpx": lambda: HttpxClient(httpx),
    "httpx2": lambda: HttpxClient(httpx2),
    "httpx-sync": lambda: SyncHttpxClient(httpx),
    "httpx2-sync": lambda: SyncHttpxClient(httpx2),
}


@pytest.fixture(params=CLIENTS)
async def http(request):
    """Each of the five clients in turn."""
    client = CLIENTS[request.param]()
    yield client
    await client.close()


@pytest.fixture(params=["aiohttp", "httpx", "httpx2"])
async def async_http(request):
    """Each of the three async clients in turn."""
    client = CLIENTS[request.param]()
    yield client
    await client.close()


class Service:
    """What answers: the router, or a real server on the loopback that gives the same replies. `seen` is what
    arrived."""

    def __init__(self, base: str, kind: str) -> None:
        self.base = base
        self.kind = kind
        self.seen: list[Request] = []
        self.connections = 0
        self.handlers: dict[str, Any] = {}

    def on(self, path: str, answer: Any) -> None:
        """Answer requests for a path by a value for ``reply``, or a function that gives one."""
        self.handlers[path] = answer

    def answer(self, request: Request) -> Any:
        self.seen.append(request)
        handler = self.handlers.get(request.path, 404)
        return handler(request) if callable(handler) and not isinstance(handler, Reply) else handler

    @property
    def story(self) -> list[tuple[str, str, bytes]]:
        return [(each.method, each.path, each.content) for each in self.seen]


@pytest.fixture(params=["upstream", pytest.param("live", marks=[pytest.mark.live, pytest.mark.slow])])
def service(request):
    """Each promise is tested against the router and, marked `live`, against a server that knows nothing of it."""
    if request.param == "upstream":
        service = Service("http://service.test", "upstream")
        with Upstream(wire=True) as upstream:
            upstream.route(None, f"{service.base}/{{rest:path}}").reply(service.answer)
            yield service
            service.connections = len(upstream.connections)
    else:
        with live_server() as service:
            yield service


@contextmanager
def live_server():
    """uvicorn in a thread, in front of a few lines of ASGI."""
    import uvicorn

    service = Service("", "live")

    async def app(scope, receive, send):
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        query = scope["query_string"].decode()
        path = scope["raw_path"].decode() + (f"?{query}" if query else "")
        headers = [(name.decode(), value.decode()) for name, value in scope["headers"]]
        reply = to_reply(service.answer(Request(scope["method"], service.base + path, headers, body, "live")))
        headers = [(name.lower().encode(), value.encode()) for name, value in reply.wire_headers]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        if isinstance(reply.body, bytes):
            await send({"type": "http.response.body", "body": reply.body})
            return
        for chunk in reply.body:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body"})

    config = uvicorn.Config(app, port=0, log_level="warning", http="h11", lifespan="off", server_header=False)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        service.base = f"http://localhost:{listening.getsockname()[1]}"
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield service
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def broken_server():
    """A URL where a real network fails in one of the ways."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]

    def serve(kind):
        connection, _ = listening.accept()
        with connection:
            received = b""
            while not received.endswith(b"\r\n\r\nx"):  # bytes that are left unread would make each of these a reset
                received += connection.recv(65536)
            if kind == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif kind == "garbage":
                connection.sendall(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
            elif kind == "truncate":
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nxxxxx")

    def start(kind):
        if kind == "dns":
            return "http://nowhere.invalid/"
        if kind == "refused":
            listening.close()
        else:
            threading.Thread(target=serve, args=(kind,), daemon=True).start()
        return f"http://127.0.0.1:{port}/"

    yield start
    listening.close()
