"""One websocket to the app, on ASGI messages: no frames, and no task group, so that it may cross a fixture's yield."""

from __future__ import annotations

import asyncio
import collections
import json
import sys
from typing import Any, Literal, Protocol

from pytest_asyncapi.asgi import ASGIApp, Message, Scope
from pytest_asyncapi.client.checks import Headers, checked_close, checked_frame, checked_headers, kind_of
from pytest_asyncapi.client.exchange import Exchange, describe
from pytest_asyncapi.client.options import Options, checked_seconds
from pytest_asyncapi.client.waiting import wake
from pytest_asyncapi.errors import ProtocolError, WebSocketDisconnect, WebSocketRejected

_ALLOWED = {  # message of the app -> the states in which it may come
    "websocket.accept": ("connecting",),
    "websocket.send": ("open",),
    "websocket.close": ("connecting", "open"),
    "websocket.http.response.start": ("connecting",),
    "websocket.http.response.body": ("denying",),
}


class WebSocketExchange(Exchange):
    """The app's side of a websocket, and the messages that wait in both directions."""

    state = "connecting"  # open, denying, closed
    subprotocol: str | None = None
    headers: Headers
    left = False  # the client has closed it
    _receiver: asyncio.Future[None] | None = None

    def __init__(self, app: ASGIApp, scope: Scope, options: Options, read_timeout: float | None = None) -> None:
        super().__init__(app, scope, options, read_timeout)
        self.headers = []
        self._to_app: collections.deque[Message] = collections.deque()
        self._to_client: collections.deque[Message] = collections.deque()

    # ---- the app's side

    async def receive(self) -> Message:
        while not self._to_app:
            self._receiver = self.loop.create_future()
            await self._receiver
        return self._to_app.popleft()

    async def send(self, message: Message) -> None:
        __tracebackhide__ = True
        try:
            self._check(message)
        except ProtocolError as error:
            self.violation = self.violation or error
            raise
        self.deliver(message)

    def deliver(self, message: Message) -> None:
        """Hand a message to the client."""
        self._to_client.append(message)
        wake(self._waiter)

    def _check(self, message: Message) -> None:
        __tracebackhide__ = True
        kind = kind_of(message)
        allowed = _ALLOWED.get(kind)
        if allowed is None:
            raise ProtocolError(f"send() of a websocket app got a message of the unknown type {kind!r}")
        if self.left and kind in ("websocket.send", "websocket.close"):
            if kind == "websocket.send":
                raise OSError("the client has closed the websocket")  # as uvicorn, which announces spec 2.4
            return
        if self.state not in allowed:
            raise ProtocolError(f"{kind} was sent while the websocket is {self.state}{_hint(kind, self.state)}")
        if kind == "websocket.accept":
            self.headers, _ = checked_headers(message.get("headers", ()), kind, self.options.strict)
            self.subprotocol = message.get("subprotocol")
            self._check_subprotocol()
            self.state = "open"
        elif kind == "websocket.send":
            checked_frame(message)
        elif kind == "websocket.http.response.start":
            if not isinstance(message.get("status"), int):
                raise ProtocolError(f"{kind}: 'status' must be an int, not {message.get('status')!r}")
            checked_headers(message.get("headers", ()), kind, self.options.strict)
            self.state = "denying"
        elif kind == "websocket.close":
            if self.state == "open":  # before the acceptance a server answers with a 403, whatever the code
                checked_close(message)
            self.state = "closed"
        elif not message.get("more_body", False):
            self.state = "closed"

    def _check_subprotocol(self) -> None:
        __tracebackhide__ = True
        offered = self.scope["subprotocols"]
        if self.subprotocol is not None and self.subprotocol not in offered:
            raise ProtocolError(
                f"websocket.accept: the client did not offer the subprotocol {self.subprotocol!r} "
                f"(it offered {', '.join(map(repr, offered)) or 'none'})"
            )

    # ---- the client's side

    def push(self, message: Message) -> None:
        """Hand a message to the app."""
        self._to_app.append(message)
        wake(self._receiver)

    async def pull(self, timeout: float | None) -> Message:
        """The next message of the app. Raises what the app raised; an app that has returned has closed."""
        while not self._to_client:
            if self.done:
                if self.options.raise_app_exceptions or self.state == "connecting":
                    super().show()
                if self.state == "connecting":
                    raise self.unanswered()
                self.state = "closed"
                self.exc_seen = True
                return {"type": "websocket.close", "code": 1011 if self.exc else 1006, "reason": ""}
            await self.wait(timeout, "no message came")
        return self._to_client.popleft()

    def show(self) -> None:
        """Raise the app's exception, once, where the options want it."""
        if self.options.raise_app_exceptions:
            super().show()

    def unanswered(self) -> ProtocolError:
        """The error of an app that has returned before it accepted or refused."""
        return ProtocolError(f"{self.label}: {describe(self.app)} returned without websocket.accept or websocket.close")

    def unfinished(self) -> ProtocolError:
        """The error of an app that has returned in the middle of the response by which it refuses."""
        return ProtocolError(
            f"{self.label}: {describe(self.app)} returned without the end of its denial response "
            "(no websocket.http.response.body without more_body=True)"
        )

    async def connect(self) -> None:
        """The handshake. Raises WebSocketRejected when the app refuses."""
        self.spawn(f"asgi websocket {self.scope['path']}")
        self.push({"type": "websocket.connect"})
        try:
            first = await self.pull(self.read_timeout)
            if first["type"] == "websocket.accept":
                return
            raise await self._rejection(first)
        except BaseException:
            await self.close(1006)
            raise

    async def _rejection(self, first: Message) -> WebSocketRejected:
        if first["type"] == "websocket.close":
            return WebSocketRejected(403, [], b"", first.get("code", 1000), first.get("reason") or "")
        body = b""
        more = True
        while more:
            part = await self.pull(self.read_timeout)
            if part["type"] == "websocket.close":  # the app has returned
                raise self.unfinished()
            body += part.get("body", b"")
            more = part.get("more_body", False)
        return WebSocketRejected(first["status"], list(first.get("headers", ())), body)

    def leave(self, code: int, reason: str = "") -> None:
        """Tell the app that the client has closed."""
        if not self.left and self.state != "closed":
            self.left = True
            self.push({"type": "websocket.disconnect", "code": code, "reason": reason})

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close, and wait for the app's end."""
        self.leave(code, reason)
        await self.end()
        if self.left and self.noticed_departure():
            self.exc_seen = True


def _hint(kind: str, state: str) -> str:
    if state == "connecting" and kind == "websocket.send":
        return " (websocket.accept comes first)"
    return ""


class Channel(Protocol):
    """What a session needs of a connection, in the process or over a socket."""

    subprotocol: str | None
    headers: Headers
    read_timeout: float | None

    async def connect(self) -> None: ...
    async def put(self, message: Message) -> None: ...
    async def pull(self, timeout: float | None) -> Message: ...
    async def close(self, code: int = 1000, reason: str = "") -> None: ...
    def show(self) -> None: ...


class LocalChannel(WebSocketExchange):
    """The channel in the process: an exchange, whose messages arrive at once."""

    async def put(self, message: Message) -> None:
        if self.state == "closed" or self.left:
            raise WebSocketDisconnect(1006, "the websocket is closed")
        self.push(message)


class WebSocketSession:
    """`async with client.websocket_connect("/ws") as ws`. What the app raises is raised here, as it is."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._receives = False

    def __enter__(self) -> WebSocketSession:
        raise TypeError("a websocket is asynchronous: write `async with client.websocket_connect(...) as ws`")

    def __exit__(self, *exc_info: object) -> None: ...

    def __await__(self) -> Any:
        raise TypeError("a websocket is a block: write `async with client.websocket_connect(...) as ws`")

    async def __aenter__(self) -> WebSocketSession:
        await self._channel.connect()
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, exc: object, traceback: object) -> None:
        await self._channel.close(1000 if exc_type is None else 1006)
        if exc_type is None:
            self._channel.show()

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the app has accepted."""
        return self._channel.subprotocol

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that the app has sent with its acceptance."""
        return self._channel.headers

    async def send_text(self, data: str) -> None:
        """Send a text message."""
        if not isinstance(data, str):
            raise TypeError(f"send_text() takes a str, not {type(data).__name__}: see send_bytes() and send_json()")
        await self._channel.put({"type": "websocket.receive", "text": data})

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary message."""
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"send_bytes() takes bytes, not {type(data).__name__}: see send_text() and send_json()")
        await self._channel.put({"type": "websocket.receive", "bytes": data})

    async def send_json(self, data: Any, mode: Literal["text", "binary"] = "text") -> None:
        """Send JSON, as a text or a binary message."""
        text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
        await (self.send_text(text) if mode == "text" else self.send_bytes(text.encode()))

    async def receive(self, timeout: float | None = None) -> str | bytes:
        """The next message. Raises WebSocketDisconnect when the app has closed, AppTimeout when nothing comes."""
        checked_seconds("timeout", timeout)
        if self._receives:
            raise RuntimeError("two tasks receive from one websocket at once: which of them is to get the message?")
        self._receives = True
        try:
            message = await self._channel.pull(self._channel.read_timeout if timeout is None else timeout)
        finally:
            self._receives = False
        if message["type"] == "websocket.close":
            raise WebSocketDisconnect(message.get("code", 1000), message.get("reason") or "")
        text: str | None = message.get("text")
        return text if text is not None else bytes(message["bytes"])

    async def receive_text(self, timeout: float | None = None) -> str:
        """The next message, which must be text."""
        data = await self.receive(timeout)
        if not isinstance(data, str):
            raise AssertionError(f"expected a text message, got bytes: {data[:100]!r}")  # noqa: TRY004 - a test fails
        return data

    async def receive_bytes(self, timeout: float | None = None) -> bytes:
        """The next message, which must be binary."""
        data = await self.receive(timeout)
        if not isinstance(data, bytes):
            raise AssertionError(f"expected a binary message, got text: {data[:100]!r}")  # noqa: TRY004 - a test fails
        return data

    async def receive_json(self, timeout: float | None = None) -> Any:
        """The next message, text or binary, read as JSON."""
        return json.loads(await self.receive(timeout))

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close from the client's side; returns when the app has ended."""
        await self._channel.close(code, reason)
        if sys.exc_info()[1] is None:
            self._channel.show()

    def __aiter__(self) -> WebSocketSession:
        return self

    async def __anext__(self) -> str | bytes:
        try:
            return await self.receive()
        except WebSocketDisconnect as closed:
            if closed.code in (1000, 1001):
                raise StopAsyncIteration from None
            raise
