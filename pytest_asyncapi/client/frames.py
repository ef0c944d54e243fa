"""A websocket's frames over an exchange, by wsproto: what httpx2's `client.websocket()` and httpx-ws read and write."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

import wsproto
import wsproto.events as events

from pytest_asyncapi.errors import AppTimeout

if TYPE_CHECKING:
    from pytest_asyncapi.client.websocket import WebSocketExchange


class FrameStream:
    """The `network_stream` of an upgrade response."""

    def __init__(self, exchange: WebSocketExchange, module: ModuleType) -> None:
        self._exchange = exchange
        self._core = importlib.import_module("httpcore2" if module.__name__ == "httpx2" else "httpcore")
        self._frames = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
        self._frames.initiate_upgrade_connection(exchange.scope["headers"], exchange.scope["path"])
        self._acceptance = self._frames.send(
            events.AcceptConnection(subprotocol=exchange.subprotocol, extra_headers=exchange.headers)
        )
        self._text = ""
        self._bytes = b""

    def headers(self) -> list[tuple[str, str]]:
        """The headers of the 101 response."""
        lines = self._acceptance.decode("latin-1").split("\r\n")[1:]
        return [(name, value) for name, _, value in (line.partition(": ") for line in lines) if value]

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """The frame of the app's next message."""
        try:
            message = await self._exchange.pull(timeout)
        except AppTimeout as late:
            raise self._core.ReadTimeout(str(late)) from None
        except Exception as error:  # shown when the client is closed: the session would bury it in its task group
            if error is self._exchange.exc:
                self._exchange.exc_seen = False
            self._exchange.state = "closed"
            return self._frames.send(events.CloseConnection(1011, "the app raised an exception"))
        if message["type"] == "pong":
            return bytes(message["frame"])
        if message["type"] == "websocket.close":
            return self._frames.send(events.CloseConnection(message.get("code", 1000), message.get("reason") or ""))
        if message.get("text") is not None:
            return self._frames.send(events.TextMessage(message["text"]))
        return self._frames.send(events.BytesMessage(bytes(message["bytes"])))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Frames of the client: messages for the app; a ping is answered here, as a server does."""
        exchange = self._exchange
        self._frames.receive_data(buffer)
        for event in self._frames.events():
            if isinstance(event, events.Ping):
                exchange.deliver({"type": "pong", "frame": self._frames.send(event.response())})
            elif isinstance(event, events.CloseConnection):
                exchange.leave(event.code, event.reason or "")
            elif isinstance(event, events.TextMessage):
                self._text += event.data
                if event.message_finished:
                    exchange.push({"type": "websocket.receive", "text": self._text})
                    self._text = ""
            elif isinstance(event, events.BytesMessage):
                self._bytes += event.data
                if event.message_finished:
                    exchange.push({"type": "websocket.receive", "bytes": self._bytes})
                    self._bytes = b""

    async def aclose(self) -> None:
        """The client has closed the connection."""
        await self._exchange.close()

    def get_extra_info(self, info: str) -> Any:
        """Nothing: there is no socket."""
        return None
