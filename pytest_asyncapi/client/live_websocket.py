"""A websocket of the client over a real server: frames by wsproto on the connection that httpx has upgraded."""

from __future__ import annotations

import collections
import contextlib
import importlib
from typing import TYPE_CHECKING, Any

import anyio
import wsproto
import wsproto.connection
import wsproto.events as events

from pytest_asyncapi.asgi import Message
from pytest_asyncapi.client.checks import Headers
from pytest_asyncapi.client.waiting import debugger_attached
from pytest_asyncapi.errors import AppTimeout, WebSocketDisconnect, WebSocketRejected

if TYPE_CHECKING:
    from pytest_asyncapi.client.live import LiveTransportBase, LiveWebSocket

_OF_THE_HANDSHAKE = (b"upgrade", b"connection", b"sec-websocket-accept", b"date", b"server")


class LiveChannel:
    """See `pytest_asyncapi.client.websocket.Channel`."""

    _exchange: LiveWebSocket
    _stream: Any

    def __init__(self, transport: LiveTransportBase, request: Any) -> None:
        self._transport = transport
        self._request = request
        self._core: Any = importlib.import_module("httpcore2" if transport.module.__name__ == "httpx2" else "httpcore")
        self._frames = wsproto.connection.Connection(wsproto.ConnectionType.CLIENT)
        self._messages: collections.deque[Message] = collections.deque()
        self._text = ""
        self._bytes = b""
        self._closed = False
        self.subprotocol: str | None = None
        self.headers: Headers = []
        timeouts = request.extensions.get("timeout") or {}
        self.read_timeout: float | None = timeouts.get("read")

    async def connect(self) -> None:
        self._exchange, response = await self._transport.handshake(self._request)
        if response.status_code != 101:
            body = await response.aread()
            code, reason = self._exchange.rejected_with or (None, "")
            raise WebSocketRejected(response.status_code, response.headers.raw, body, code, reason)
        self._stream = response.extensions["network_stream"]
        self.subprotocol = response.headers.get("sec-websocket-protocol")
        self.headers = [pair for pair in response.headers.raw if pair[0].lower() not in _OF_THE_HANDSHAKE]

    async def put(self, message: Message) -> None:
        if self._closed:
            raise WebSocketDisconnect(1006, "the websocket is closed")
        text = message.get("text")
        try:
            await self._write(events.BytesMessage(message["bytes"]) if text is None else events.TextMessage(text))
        except self._core.NetworkError:  # the app has ended, and the server has closed
            self._closed = True
            await self._exchange.settle()
            self._exchange.show()
            raise WebSocketDisconnect(1006, "the websocket is closed") from None

    async def _write(self, event: Any) -> None:
        await self._stream.write(self._frames.send(event))

    async def pull(self, timeout: float | None) -> Message:
        while not self._messages:
            if self._closed:
                return {"type": "websocket.close", "code": 1006, "reason": ""}
            try:
                data = await self._stream.read(65536, timeout)
            except self._core.ReadTimeout:
                if debugger_attached():
                    continue
                exchange = self._exchange
                raise AppTimeout(f"{exchange.label}: no message came for {timeout:g} s{exchange.place()}") from None
            except self._core.NetworkError:
                data = b""
            if data:
                self._frames.receive_data(data)
                await self._take_events()
            else:
                self._messages.append({"type": "websocket.close", "code": 1006, "reason": ""})
        message = self._messages.popleft()
        if message["type"] == "websocket.close":
            self._closed = True
            await self._exchange.settle()
            self._exchange.show()
        return message

    async def _take_events(self) -> None:
        for event in self._frames.events():
            if isinstance(event, events.Ping):
                await self._write(event.response())
            elif isinstance(event, events.CloseConnection):
                self._messages.append({"type": "websocket.close", "code": event.code, "reason": event.reason or ""})
            elif isinstance(event, events.TextMessage):
                self._text += event.data
                if event.message_finished:
                    self._messages.append({"type": "websocket.send", "text": self._text})
                    self._text = ""
            elif isinstance(event, events.BytesMessage):
                self._bytes += event.data
                if event.message_finished:
                    self._messages.append({"type": "websocket.send", "bytes": self._bytes})
                    self._bytes = b""

    async def close(self, code: int = 1000, reason: str = "") -> None:
        if not self._closed:
            self._closed = True
            gone = (self._core.NetworkError, wsproto.utilities.LocalProtocolError)  # closed from the other side
            with contextlib.suppress(*gone):
                await self._write(events.CloseConnection(code, reason))
                await self._read_to_the_end()
        await self._stream.aclose()
        await self._exchange.part()
        if self._exchange.noticed_departure():
            self._exchange.exc_seen = True

    async def _read_to_the_end(self) -> None:
        """Until the server closes: a socket that is closed with something unread resets the connection.

        RFC 6455, section 7.1.1: the server closes first. Those of `websockets` before 14 tell their app of the end only
        when the client has closed as well.
        """
        with contextlib.suppress(self._core.ReadTimeout, anyio.BusyResourceError):  # another task of the test reads
            while await self._stream.read(65536, 1.0):
                pass

    def show(self) -> None:
        self._exchange.show()
