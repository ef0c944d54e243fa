"""What answers the clients of the tests: the router, and real servers on the loopback that know nothing of it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from pytest_asyncapi.upstream import Reply, Request, Upstream
from pytest_asyncapi.upstream.replies import to_reply
from pytest_asyncapi.upstream.request import with_target


class Service:
    """What answers: the router, or a real server that gives the same replies. `seen` is what arrived, `connections`
    how many connections were made for it, `proxy` the address of a proxy that leads to it, and `asked` what the proxy
    was asked for."""

    def __init__(self, base: str, proxy: str = "") -> None:
        self.base = base
        self.proxy = proxy
        self.asked: list[str] = []
        self.seen: list[Request] = []
        self.connections = 0
        self.handlers: dict[str, Any] = {}
        self.conversation: Any = None
        self.subprotocol: str | None = None

    def on(self, path: str, answer: Any) -> None:
        """Answer requests for a path by a value for ``reply``, or a function that gives one."""
        self.handlers[path] = answer

    def on_websocket(self, conversation: Any, *, subprotocol: str | None = None) -> None:
        """Speak with whoever opens a websocket; a status in place of a function refuses the handshake."""
        self.conversation, self.subprotocol = conversation, subprotocol

    def answer(self, request: Request) -> Any:
        self.seen.append(request)
        handler = self.handlers.get(request.path, 404)
        return handler(request) if callable(handler) and not isinstance(handler, Reply) else handler

    @property
    def story(self) -> list[tuple[str, str, bytes]]:
        return [(each.method, each.path, each.content) for each in self.seen]


# -- the router


class CountingUpstream(Upstream):
    """Tells the service of each connection that a client makes to the router."""

    def __init__(self, service: Service, **options: Any) -> None:
        super().__init__(**options)
        self.connections = Connections(service)


class Connections(set[Any]):
    def __init__(self, service: Service) -> None:
        super().__init__()
        self.service = service

    def add(self, connection: Any) -> None:
        super().add(connection)
        self.service.connections += 1


@contextmanager
def routed(scheme: str, *, wire: bool) -> Iterator[Service]:
    """A service that the router answers for."""
    service = Service(f"{scheme}://service.test", "http://proxy.test:3128")

    def answer(request: Request) -> Any:
        if request.proxy is not None:
            split = request.split
            service.asked.append(request.url if split.scheme == "http" else f"{request.host}:{request.port}")
        return service.answer(request)

    async def converse(websocket: Any) -> None:
        await service.conversation(websocket)

    with CountingUpstream(service, wire=wire) as upstream:
        upstream.route(None, f"{service.base}/{{rest:path}}", required=False).reply(answer)
        websockets = upstream.ws(f"{service.base}/ws")
        websockets.route.required = False

        def on_websocket(conversation: Any, *, subprotocol: str | None = None) -> None:
            if callable(conversation):
                service.conversation = conversation
                websockets.reply(converse, subprotocol=subprotocol)
            else:
                websockets.reply(conversation)

        service.on_websocket = on_websocket  # type: ignore[method-assign]
        yield service


# -- a real server


class LiveServer:
    """uvicorn in a thread, in front of a few lines of ASGI. It answers for one `service` after the other."""

    def __init__(self, certificate: str | None = None) -> None:
        self.service = Service("")
        self.scheme = "https" if certificate else "http"
        server = self

        class Counting(H11Protocol):
            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                server.service.connections += 1

        self._uvicorn = uvicorn.Server(
            uvicorn.Config(
                self._app,
                port=0,
                log_level="warning",
                interface="asgi3",
                http=Counting,
                ws="wsproto",
                lifespan="off",
                server_header=False,
                ssl_certfile=certificate,
            )
        )

    @contextmanager
    def running(self) -> Iterator[LiveServer]:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.address = f"localhost:{listening.getsockname()[1]}"
            thread = threading.Thread(target=self._uvicorn.run, kwargs={"sockets": [listening]}, daemon=True)
            thread.start()
            try:
                yield self
            finally:
                self._uvicorn.force_exit = self._uvicorn.should_exit = True
                thread.join()

    @contextmanager
    def serving(self, proxy: Proxy) -> Iterator[Service]:
        """A service of its own for one test."""
        self.service = Service(f"{self.scheme}://{self.address}", proxy.url)
        proxy.asked = self.service.asked
        yield self.service

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        await (self._http if scope["type"] == "http" else self._websocket)(scope, receive, send)

    def _request(self, scope: Any, body: bytes) -> Request:
        query = scope["query_string"].decode()
        path = scope["raw_path"].decode() + (f"?{query}" if query else "")
        headers = [(name.decode(), value.decode()) for name, value in scope["headers"]]
        return Request(scope.get("method", "GET"), with_target(self.service.base, path), headers, body, "live")

    async def _http(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        reply = to_reply(self.service.answer(self._request(scope, body)))
        assert isinstance(reply, Reply)
        await asyncio.sleep(reply.latency)
        headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in reply.wire_headers]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        if isinstance(reply.body, bytes):
            await send({"type": "http.response.body", "body": reply.body})
            return
        if hasattr(reply.body, "__aiter__"):
            async for chunk in reply.body:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        else:
            for chunk in reply.body:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body"})

    async def _websocket(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()  # websocket.connect
        service = self.service
        if not callable(service.conversation):
            await send({"type": "websocket.http.response.start", "status": service.conversation, "headers": []})
            await send({"type": "websocket.http.response.body", "body": b""})
            return
        await send({"type": "websocket.accept", "subprotocol": service.subprotocol})
        websocket = LiveWebSocket(self._request(scope, b""), scope["subprotocols"], receive, send)
        with contextlib.suppress(Closed):
            await service.conversation(websocket)
            await websocket.close()


class Closed(Exception):
    def __init__(self, code: int) -> None:
        self.code = code


class LiveWebSocket:
    """The face of our own websockets, over uvicorn's."""

    def __init__(self, request: Request, subprotocols: list[str], receive: Any, send: Any) -> None:
        self.request = request
        self.subprotocols = subprotocols
        self._receive, self._send = receive, send
        self._closed = False

    async def receive(self) -> str | bytes:
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self._closed = True
            raise Closed(message["code"])
        text = message.get("text")
        return message["bytes"] if text is None else text

    async def send(self, message: str | bytes) -> None:
        await self._send({"type": "websocket.send", "text" if isinstance(message, str) else "bytes": message})

    async def close(self, code: int = 1000, reason: str = "") -> None:
        if not self._closed:
            self._closed = True
            await self._send({"type": "websocket.close", "code": code, "reason": reason})

    async def __aiter__(self) -> Any:
        with contextlib.suppress(Closed):
            while True:
                yield await self.receive()


class Proxy:
    """A forward proxy in a thread: absolute URLs and CONNECT. `asked` is what for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.url = ""

    @contextmanager
    def running(self) -> Iterator[Proxy]:
        loop = asyncio.new_event_loop()
        server = loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            server.close()
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.decode("latin-1").split(" ", 2)
        self.asked.append(target)
        split = urlsplit(f"//{target}" if method == "CONNECT" else target)
        there_reader, there_writer = await asyncio.open_connection(split.hostname, split.port or 80)
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            there_writer.write(head.replace(target.encode(), split.path.encode() or b"/", 1))
        await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


# -- a network that fails


class BrokenNetwork:
    """An address where a real network fails in one of the ways."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=1)
        self._port = self._listening.getsockname()[1]
        self._held: list[socket.socket] = []

    def url(self, kind: str) -> str:
        match kind:
            case "dns":
                return "http://nowhere.invalid/"
            case "refused":
                self._listening.close()
            case "connect_timeout":
                self._fill_the_backlog()
            case _:
                threading.Thread(target=self._serve, args=(kind,), daemon=True).start()
        return f"http://127.0.0.1:{self._port}/"

    def close(self) -> None:
        for each in (self._listening, *self._held):
            each.close()

    def _fill_the_backlog(self) -> None:
        """Until the next one who connects is not answered."""
        while True:
            waiting = socket.socket()
            self._held.append(waiting)
            waiting.settimeout(0.05)
            try:
                waiting.connect(("127.0.0.1", self._port))
            except TimeoutError:
                return

    def _serve(self, kind: str) -> None:
        if kind == "unread":
            self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection, _ = self._listening.accept()
        if kind in ("hang", "unread"):
            self._held.append(connection)
            return
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
