"""A fake service that is an ASGI app: ``upstream.mount("https://pay.example.com", app)``. HTTP and websockets,
streaming."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any

from pytest_asyncapi.errors import UpstreamError, ours
from pytest_asyncapi.upstream.effects import Callback
from pytest_asyncapi.upstream.replies import Reply
from pytest_asyncapi.upstream.websocket import Conversation, WebSocket, WebSocketClosed

if TYPE_CHECKING:
    from pytest_asyncapi.upstream.request import Request
    from pytest_asyncapi.upstream.router import Upstream
    from pytest_asyncapi.upstream.routes import Route

__tracebackhide__ = ours

App = Callable[..., Any]


def mount(upstream: Upstream, base: str, app: App) -> Route:
    """One route for all below `base`."""
    if not callable(app):
        raise UpstreamError(f"upstream.mount({base!r}, {app!r}): the app is not callable, as an ASGI app is.")
    if "?" in base or "{" in base:
        raise UpstreamError(
            f"upstream.mount({base!r}): the base is an address and perhaps a path, such as 'https://a/v1'."
        )
    root = base.rstrip("/")
    path = "/" + root.partition("://")[2].partition("/")[2]
    route = upstream.route(None, root + "/{rest:path}", required=False)
    return route.reply(Mounted(app, path.rstrip("/")))


class Mounted(Callback):
    """The effect: the app's answer, whatever the request."""

    def __init__(self, app: App, root_path: str) -> None:
        super().__init__(self._http)
        self.app = app
        self.root_path = root_path
        self.is_async = True
        self.conversation = Conversation(self._websocket, accept=False)

    def __repr__(self) -> str:
        return f"the ASGI app {getattr(self.app, 'title', type(self.app).__name__)}"

    def __call__(self, request: Request) -> Any:
        return self._http(request)

    speaks_websocket = True

    async def hold(self, websocket: WebSocket, plan: Any) -> None:
        await self.conversation.hold(websocket, plan)

    def _scope(self, kind: str, request: Request) -> dict[str, Any]:
        split = request.split
        secure = split.scheme == "https"
        scheme = ("wss" if secure else "ws") if kind == "websocket" else split.scheme
        return {
            "type": kind,
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": scheme,
            "path": request.path,
            "raw_path": split.path.encode(),
            "query_string": split.query.encode(),
            "root_path": self.root_path,
            "headers": [
                (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in request.raw_headers
            ],
            "server": (request.host, request.port),
            "client": ("192.0.2.2", 50000),
        }

    async def _http(self, request: Request) -> Reply:
        scope = {**self._scope("http", request), "method": request.method}
        exchange = Exchange(request.content, only_head=request.method == "HEAD")
        task = asyncio.create_task(exchange.run(self.app, scope))
        try:
            start = await exchange.messages.get()
        except asyncio.CancelledError:  # the client has left before the response began
            exchange.gone.set()
            task.cancel()
            raise
        if start["type"] == "end":
            raise start["error"] or UpstreamError(f"{self!r} sent no response to {request.method} {request.url}.")
        return Reply(start["status"], headers=_headers(start), body=exchange.body(task))

    async def _websocket(self, websocket: WebSocket) -> None:
        scope = {
            **self._scope("websocket", websocket.request),
            "subprotocols": websocket.subprotocols,
            "extensions": {"websocket.http.response": {}},
        }
        connected = False
        denial: dict[str, Any] = {}

        async def receive() -> dict[str, Any]:
            nonlocal connected
            if not connected:
                connected = True
                return {"type": "websocket.connect"}
            try:
                message = await websocket.receive()
            except WebSocketClosed as closed:
                return {"type": "websocket.disconnect", "code": closed.code, "reason": closed.reason}
            return {"type": "websocket.receive", "text" if isinstance(message, str) else "bytes": message}

        async def send(message: dict[str, Any]) -> None:
            match message["type"]:
                case "websocket.accept":
                    websocket.accept(message.get("subprotocol"), _headers(message))
                case "websocket.send":
                    text = message.get("text")
                    await websocket.send(text if text is not None else message["bytes"])
                case "websocket.http.response.start":
                    denial.update(status=message["status"], headers=_headers(message), body=b"")
                case "websocket.http.response.body":
                    denial["body"] += message.get("body", b"")
                    if not message.get("more_body", False):
                        websocket.deny(Reply(**denial))
                case "websocket.close" if not websocket.accepted:
                    websocket.deny(Reply(403))
                case "websocket.close":
                    await websocket.close(message.get("code", 1000), message.get("reason") or "")

        await self.app(scope, receive, send)


def _headers(message: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message.get("headers", ())]


class Exchange:
    """One request to the app and its messages, of which at most one waits to be taken.

    With `only_head` nobody takes those after the start of the response, and the app is not held up by them.
    """

    def __init__(self, content: bytes, *, only_head: bool = False) -> None:
        self.content: bytes | None = content
        self.only_head = only_head
        self.untaken = False  # what the app sends from now on
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue(1)
        self.gone = asyncio.Event()

    async def run(self, app: App, scope: dict[str, Any]) -> None:
        error = None
        try:
            await app(scope, self.receive, self.send)
        except Exception as exc:
            error = exc
        if not (self.gone.is_set() or self.untaken):
            await self.messages.put({"type": "end", "error": error})

    async def receive(self) -> dict[str, Any]:
        if self.content is not None:
            content, self.content = self.content, None
            return {"type": "http.request", "body": content, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if self.gone.is_set():
            raise OSError("the client is gone")
        if not self.untaken:
            self.untaken = self.only_head
            await self.messages.put(dict(message))

    async def body(self, task: asyncio.Task[None]) -> AsyncGenerator[bytes, None]:
        """The chunks. When the client leaves early, the app is told, and cancelled; after the last, it may go on."""
        done = False
        try:
            while not done:
                message = await self.messages.get()
                if message["type"] == "end":
                    done = True
                    if message["error"] is not None:
                        raise message["error"]
                elif message["type"] == "http.response.body":
                    done = not message.get("more_body", False)
                    yield message.get("body", b"")
        finally:
            self.gone.set()
            if not done:
                task.cancel()
