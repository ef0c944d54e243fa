"""Websocket services: ``upstream.ws(url).reply(handler)``, where the handler speaks with the app message by message."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

from pytest_asyncapi.errors import UpstreamError
from pytest_asyncapi.upstream.effects import Callback
from pytest_asyncapi.upstream.replies import Reply

if TYPE_CHECKING:
    from pytest_asyncapi.upstream.plan import Plan
    from pytest_asyncapi.upstream.request import Request
    from pytest_asyncapi.upstream.routes import Calls, Route
    from pytest_asyncapi.wire.pipe import MemoryTransport

Message = str | bytes
Handler = Callable[..., Awaitable[None]]


class WebSocketClosed(UpstreamError):
    """The app closed the websocket; `code` and `reason` are what it said (1006: it just went)."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"the app closed the websocket: code {code}" + (f", {reason!r}" if reason else ""))
        self.code = code
        self.reason = reason


class WebSocket:
    """The service's side of a websocket. Iterating over it gives the app's messages until it closes."""

    def __init__(self, transport: MemoryTransport, request: Request, drain: Callable[[], Awaitable[None]]) -> None:
        try:
            from wsproto import ConnectionType
            from wsproto.connection import Connection
        except ImportError:
            raise UpstreamError(
                "upstream.ws needs the package wsproto: pip install 'pytest-asyncapi[websockets]'"
            ) from None
        self.request = request
        self.accepted = False
        self._transport = transport
        self._drain = drain
        self._frames = Connection(ConnectionType.SERVER)
        self._messages: asyncio.Queue[Message | WebSocketClosed] = asyncio.Queue()
        self._parts: list[Any] = []
        self._closed: WebSocketClosed | None = None
        self._ended = False

    @property
    def subprotocols(self) -> list[str]:
        """What the app offers to speak."""
        offered = self.request.headers.get("sec-websocket-protocol", "")
        return [each.strip() for each in offered.split(",") if each.strip()]

    def accept(self, subprotocol: str | None = None, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Answer the handshake; done already when a handler is called."""
        from wsproto.utilities import generate_accept_token

        key = self.request.headers.get("sec-websocket-key", "").encode()
        chosen = [("Sec-WebSocket-Protocol", subprotocol)] if subprotocol else []
        reply = Reply(
            101,
            headers=[
                ("Upgrade", "websocket"),
                ("Connection", "Upgrade"),
                ("Sec-WebSocket-Accept", generate_accept_token(key).decode()),
                *chosen,
                *headers,
            ],
        )
        self._transport.write(reply.head)
        self.accepted = True

    def deny(self, reply: Reply) -> None:
        """Answer the handshake by an ordinary response."""
        self._transport.write(reply.message)
        self._ended = True

    # -- messages

    async def receive(self) -> Message:
        """The next message, text as str; raises :class:`WebSocketClosed` after the last."""
        if self._closed is not None and self._messages.empty():
            raise self._closed
        message = await self._messages.get()
        if isinstance(message, WebSocketClosed):
            raise message
        return message

    async def receive_json(self) -> Any:
        return json.loads(await self.receive())

    async def send(self, message: Message) -> None:
        """Send text (str) or bytes; waits while the app has too much unread."""
        from wsproto.events import BytesMessage, TextMessage

        if self._closed is not None or self._ended:
            raise self._closed or WebSocketClosed(1006)
        event: Any = TextMessage(message) if isinstance(message, str) else BytesMessage(message)
        self._transport.write(self._frames.send(event))
        await self._drain()

    async def send_json(self, value: Any) -> None:
        await self.send(json.dumps(value))

    async def ping(self, payload: bytes = b"") -> None:
        from wsproto.events import Ping

        self._transport.write(self._frames.send(Ping(payload)))
        await self._drain()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close it in good order, and take what the app still says until it agrees."""
        from wsproto.events import CloseConnection

        if not self._ended and self._closed is None and self.accepted:
            self._ended = True
            self._transport.write(self._frames.send(CloseConnection(code, reason)))
            await self._drain()

    async def disconnect(self) -> None:
        """Drop the connection without a word."""
        self._ended = True
        self._transport.reset()

    async def __aiter__(self) -> AsyncIterator[Message]:
        while True:
            try:
                yield await self.receive()
            except WebSocketClosed:
                return

    # -- what the connection hands over

    def feed(self, data: bytes) -> None:
        """Bytes of the app."""
        from wsproto import events

        self._frames.receive_data(data)
        for event in self._frames.events():
            match event:
                case events.TextMessage() | events.BytesMessage():
                    self._parts.append(event.data)
                    if event.message_finished:
                        empty: Any = "" if isinstance(event.data, str) else b""
                        self._messages.put_nowait(empty.join(map(type(empty), self._parts)))
                        self._parts.clear()
                case events.Ping():
                    self._transport.write(self._frames.send(event.response()))
                case events.CloseConnection():
                    if not self._ended:
                        self._transport.write(self._frames.send(event.response()))
                    self._end(WebSocketClosed(event.code, event.reason or ""))
                    self._transport.close()

    def lost(self) -> None:
        """The connection is gone."""
        if self._closed is None:
            self._end(WebSocketClosed(1006))

    def _end(self, closed: WebSocketClosed) -> None:
        self._closed = closed
        self._ended = True
        self._messages.put_nowait(closed)


class Conversation(Callback):
    """The effect of a websocket route: a handler that is given the websocket, and the path parameters that it takes."""

    speaks_websocket = True

    def __init__(self, handler: Handler, *, subprotocol: str | None = None, accept: bool = True) -> None:
        super().__init__(handler)
        self.takes_time = self.is_async
        self.is_async = True
        self.subprotocol = subprotocol
        self.accept = accept

    async def hold(self, websocket: WebSocket, plan: Plan) -> None:
        """The whole conversation. A handler that fails, fails the test."""
        if self.accept:
            websocket.accept(self.subprotocol)
        params = {
            name: value for name, value in plan.request.path_params.items() if self.takes_all or name in self.names
        }
        try:
            await self.function(websocket, **params)
        except WebSocketClosed:
            pass
        except Exception as exc:
            plan.call.error = exc
            plan.upstream.problems.append(f"upstream: {self!r}, which answers {plan.request.url}, failed: {exc!r}")
            await websocket.close(1011, "the handler failed")
        else:
            await websocket.close()


class WebSocketRoute:
    """A route for the handshake of a websocket."""

    def __init__(self, route: Route) -> None:
        route.websocket = True
        self.route = route.reply(Conversation(_listen))

    def __repr__(self) -> str:
        return repr(self.route)

    def reply(self, *answers: Any, subprotocol: str | None = None, latency: float | None = None) -> WebSocketRoute:
        """Answer with an async handler, or with messages (str, bytes, or a dict or list as JSON) that are sent in turn
        and followed by a close; a status, a Reply or a fault refuses the handshake. Several handlers and refusals are
        for one handshake after the other. Without any, the service listens and says nothing."""
        messages = [each for each in answers if isinstance(each, str | bytes | dict | list)]
        if messages and len(messages) < len(answers):
            raise UpstreamError(
                f"ws.reply({', '.join(map(repr, answers))}): give messages, or what answers a handshake."
            )
        handlers = [_script(messages)] if messages else answers or [_listen]
        self.route.reply(*(_answer_to_handshake(each, subprotocol) for each in handlers), latency=latency)
        return self

    def __call__(self, handler: Handler) -> Handler:
        self.reply(handler)
        return handler

    @property
    def calls(self) -> Calls:
        return self.route.calls

    def assert_called(self, times: int | None = None) -> None:
        self.route.assert_called(times)


def _answer_to_handshake(answer: Any, subprotocol: str | None) -> Any:
    if not callable(answer) or isinstance(answer, type):
        return answer
    conversation = Conversation(answer, subprotocol=subprotocol)
    if not conversation.takes_time:
        raise UpstreamError(f"ws.reply({conversation!r}): a handler of a websocket is an async function.")
    return conversation


async def _listen(websocket: WebSocket) -> None:
    async for _ in websocket:
        pass


def _script(messages: Iterable[Any]) -> Handler:
    async def script(websocket: WebSocket) -> None:
        for message in messages:
            await websocket.send(json.dumps(message) if isinstance(message, dict | list) else message)

    return script
