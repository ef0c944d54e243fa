"""The same client over a real server: uvicorn on a loopback port, in the event loop of the test.

Every request crosses a socket and uvicorn's HTTP parser. A hidden header names the request's exchange, so that the
app runs in the context of the test, its exceptions and protocol errors reach the test, and background work is waited
for, deferred or detached as in the process. What is uvicorn's own is listed in docs/client.md.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import itertools
import logging
import socket
from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any

from pytest_asyncapi.asgi import Message, Receive, Scope, Send
from pytest_asyncapi.client.exchange import Exchange
from pytest_asyncapi.client.http import HTTPExchange
from pytest_asyncapi.client.response import response_class
from pytest_asyncapi.client.transport import TransportBase
from pytest_asyncapi.client.waiting import debugger_attached, next_step, shielded, wait_for
from pytest_asyncapi.client.websocket import Channel, WebSocketExchange
from pytest_asyncapi.errors import ConfigurationError, ProtocolError, TruncatedResponse

ID_HEADER = b"x-asyncapi-exchange"
_FROM_THE_CLIENT = ("client", "server", "scheme", "state")


class LiveServer:
    """uvicorn, on a port of its own. It answers the exchanges that were announced to it, of whatever app."""

    def __init__(self) -> None:
        self._exchanges: dict[bytes, LiveExchange | LiveWebSocket] = {}
        self._ids = itertools.count(1)
        self.port = 0
        self._server: Any = None

    async def __aenter__(self) -> LiveServer:
        try:
            import uvicorn
        except ImportError:
            raise ConfigurationError("--live needs uvicorn: pip install 'pytest-asyncapi[live]'") from None
        # The protocol is named since asyncio sets TCP_NODELAY only where it is; without, each answer waits 40 ms.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.bind(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(
            self._gate, interface="asgi3", lifespan="off", log_config=None, access_log=False, proxy_headers=False
        )
        config.load()
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # the test gets the app's exceptions itself
        self._server = uvicorn.Server(config)
        self._server.lifespan = config.lifespan_class(config)
        await self._server.startup(sockets=[listener])
        await self._server.on_tick(0)  # the date header
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for server in self._server.servers:
            server.close()
        for connection in list(self._server.server_state.connections):
            connection.shutdown()
        tasks = set(self._server.server_state.tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)

    def announce(self, exchange: LiveExchange | LiveWebSocket, request: Any, module: ModuleType) -> Any:
        """The request as it is sent: to this server, and with the header that names its exchange.

        To connect may take any time: what is slow then is the machine, and no app.
        """
        ident = b"%d" % next(self._ids)
        self._exchanges[ident] = exchange
        timeouts = request.extensions.get("timeout") if exchange.options.enforce_timeouts else None
        if debugger_attached():
            timeouts = None
        url = request.url.copy_with(scheme="http", host="127.0.0.1", port=self.port, username=None, password=None)
        return module.Request(
            request.method,
            url,
            headers=[*request.headers.raw, (ID_HEADER, ident)],
            stream=request.stream,
            extensions={**request.extensions, "timeout": {**(timeouts or {}), "connect": None, "pool": None}},
        )

    def forget(self, exchange: LiveExchange | LiveWebSocket) -> None:
        """Expect an announced exchange no more."""
        self._exchanges = {ident: each for ident, each in self._exchanges.items() if each is not exchange}

    async def _gate(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What uvicorn takes for the app."""
        ident = next((value for name, value in scope["headers"] if name == ID_HEADER), b"")
        exchange = self._exchanges.pop(ident, None)
        if exchange is None:
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b"this server answers the client of a test only\n"})
            return
        scope["headers"] = [pair for pair in scope["headers"] if pair[0] != ID_HEADER]
        await exchange.serve(scope, receive, send)


class _Served(Exchange):
    """An exchange whose app side is a server's connection."""

    _wire_receive: Receive
    _wire_send: Send
    complete = False
    context: contextvars.Context

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app, in the context of the request's maker. What it raises goes to the server, too."""
        ours = self.scope
        for key in _FROM_THE_CLIENT:
            if key in ours:
                scope[key] = ours[key]
        if ours["root_path"]:
            scope["root_path"] = ours["root_path"]
            scope["path"] = ours["root_path"] + scope["path"]
            scope["raw_path"] = ours["root_path"].encode("ascii") + scope["raw_path"]
        self.scope = scope
        self._wire_receive, self._wire_send = receive, send
        self.context.run(self.spawn, f"asgi live {self.label}")
        assert self.task is not None
        try:
            await asyncio.wait({self.task})
        except asyncio.CancelledError:
            self.task.cancel()
            raise
        if self.exc is not None and not self.complete:  # after its end, uvicorn would close a connection in use
            raise self.exc

    async def settle(self, timeout: float = 1.0) -> None:
        """The connection has failed: give the app's task the time to end, so that its exception is known."""
        while self.task is not None and not self.done:
            self._waiter = self.loop.create_future()
            if not await wait_for(self._waiter, timeout):
                return

    def place(self) -> str:
        """Where the app waits, for the message of a time-out."""
        return f"; the app waits at\n{self.where()}" if self.task is not None and not self.task.done() else ""


class LiveExchange(_Served, HTTPExchange):
    """An HTTP request over the socket: checked as in the process, and then sent by the server."""

    response: Any = None  # the library's

    def cut(self) -> bool:
        """Whether the body has ended after a part of it: that shows at the next part, however late its reader is."""
        return self._sent > 0 and not self.complete

    def refused(self, response: Any) -> None:
        """The server has answered by itself: it takes no such request, and the app has not heard of it."""
        self.status, self.headers = response.status_code, response.headers.raw
        self.started = self.complete = self.done = True

    async def receive(self) -> Message:
        message = await self._wire_receive()
        if message["type"] == "http.disconnect":
            self.disconnected = self.disconnected or not self.complete
            return await self.departure()
        return message

    async def abort(self) -> None:
        self.expect_end()
        try:
            if self.response is not None and not self.done:
                with shielded():
                    await self.response.aclose()  # the server tells the app
        finally:
            await super().abort()

    async def send(self, message: Message) -> None:
        __tracebackhide__ = True
        held, self._hold = self._hold, None  # what is held is held after the server has it
        await super().send(message)
        if message["type"] == "http.response.start":
            message = {**message, "headers": self.headers}  # they may have been an iterator
        self._hold = held
        self._chunks.clear()
        if message["type"].startswith("http.response.") and message["type"] != "http.response.debug":
            await self._wire_send(message)
            if not self.complete:
                await (
                    next_step
                )  # an app without an `await` of its own fills megabytes of sockets before its reader runs
        if self.complete and held is not None:
            await held


class LiveWebSocket(_Served, WebSocketExchange):
    """A websocket over the socket."""

    rejected_with: tuple[int, str] | None = None  # code and reason of a close before the acceptance
    _receiving: asyncio.Future[None] | None = None

    async def receive(self) -> Message:
        self._receiving = self.loop.create_future()
        try:
            message = await self._wire_receive()
        finally:
            if not self._receiving.done():
                self._receiving.set_result(None)
        if message["type"] == "websocket.disconnect":
            self.left = True
        return message

    async def part(self, timeout: float = 1.0) -> None:
        """The client has left: an app that waits for a message is told so, as soon as the server has read it."""
        if self._receiving is not None:
            await wait_for(self._receiving, timeout)
        await self.end()

    async def send(self, message: Message) -> None:
        __tracebackhide__ = True
        if self.state == "connecting" and message.get("type") == "websocket.close":
            self.rejected_with = message.get("code", 1000), message.get("reason") or ""
        try:
            self._check(message)
        except ProtocolError as error:
            self.violation = self.violation or error
            raise
        await self._wire_send(message)


class LiveTransportBase(TransportBase):
    """The transport of the client over a `LiveServer`."""

    def __init__(self, app: Any, *, server: LiveServer, **options: Any) -> None:
        super().__init__(app, **options)
        self.server = server
        self.wire = self.module.AsyncHTTPTransport(verify=False, trust_env=False)

    async def handle_async_request(self, request: Any) -> Any:
        await self.start()
        if self.lifespan is not None:
            self.lifespan.check()
        scope = self.scope(request)
        self._check_scheme(request, scope)
        options, timeouts = self._per_request(request)
        if scope["headers"].count((b"upgrade", b"websocket")):
            return (await self.handshake(request))[1]
        exchange = LiveExchange(self.app, scope, b"", options, timeouts.get("read"), collect=True)
        response = exchange.response = await self.send_over(exchange, request)
        if exchange.task is None:
            self.server.forget(exchange)
            exchange.refused(response)
        try:
            if exchange.done and not exchange.cut():
                exchange.judge_start()
        except BaseException:
            await response.aclose()
            raise
        self.open.add(exchange)
        body = self.stream_class(self, exchange, request, response)
        answer = self.response_class(
            response.status_code, headers=response.headers.raw, stream=body, extensions=response.extensions
        )
        answer.asgi_body = body
        if exchange.debug is not None:
            answer.extensions["http.response.debug"] = exchange.debug
        return answer

    async def send_over(self, exchange: Any, request: Any) -> Any:
        """The response of the server, at its headers."""
        exchange.context = contextvars.copy_context()
        if self.recorder is not None:
            self.recorder.add(request, exchange)
        sent = self.server.announce(exchange, request, self.module)
        module = self.module
        try:
            return await self.wire.handle_async_request(sent)
        except (module.ReadTimeout, module.WriteTimeout) as timeout:
            place = exchange.place()
            self.server.forget(exchange)
            await exchange.end()
            late = f"{exchange.label}: no answer came in time{place}"
            raise type(timeout)(late, request=request) from None
        except module.TransportError:
            await exchange.settle()
            exchange.show()
            if exchange.done and getattr(exchange, "state", "") == "denying":
                raise exchange.unfinished() from None
            raise
        except BaseException:
            self.server.forget(exchange)  # the server may not have read the request yet
            await exchange.end()
            raise

    async def handshake(self, request: Any) -> tuple[LiveWebSocket, Any]:
        """A websocket and the response to its upgrade request."""
        from pytest_asyncapi.client.scope import websocket_scope

        options, timeouts = self._per_request(request)
        exchange = LiveWebSocket(self.app, websocket_scope(self.scope(request)), options, timeouts.get("read"))
        self.open.add(exchange)
        response = await self.send_over(exchange, request)
        if response.status_code != 101:
            await exchange.settle()
            exchange.show()
            if exchange.done and exchange.state == "connecting":
                raise exchange.unanswered()
            if exchange.done and exchange.state == "denying":
                raise exchange.unfinished()
        return exchange, response

    async def channel(self, request: Any) -> Channel:
        from pytest_asyncapi.client.live_websocket import LiveChannel

        await self.start()
        if self.lifespan is not None:
            self.lifespan.check()
        self._check_scheme(request, self.scope(request))
        return LiveChannel(self, request)

    async def aclose(self) -> None:
        try:
            await super().aclose()
        finally:
            await self.wire.aclose()


class LiveBodyBase:
    """The body of a response that comes over the socket."""

    def __init__(self, transport: LiveTransportBase, exchange: LiveExchange, request: Any, response: Any) -> None:
        self._transport = transport
        self._exchange = exchange
        self._request = request
        self._response = response

    def plain(self) -> bool:
        """Never: it is httpx that reads it."""
        return False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        exchange, module = self._exchange, self._transport.module
        try:
            async for chunk in self._response.stream:
                yield chunk
        except module.ReadTimeout:
            late = f"{exchange.label}: no further part of the body came in time{exchange.place()}"
            raise module.ReadTimeout(late, request=self._request) from None
        except module.TransportError as error:
            await exchange.settle()
            if not exchange.done:
                raise
            try:
                await exchange.finish()
            except TruncatedResponse:
                raise module.RemoteProtocolError(str(error), request=self._request) from exchange.exc
            raise
        await exchange.finish()

    def _goes_on(self) -> bool:
        """Whether the app may go on after its response."""
        return self._exchange.complete and self._exchange.options.background != "wait"

    async def aclose(self) -> None:
        exchange = self._exchange
        leaves = not exchange.done and not self._goes_on()
        try:
            if leaves:
                exchange.expect_end()
            try:
                await self._response.aclose()
            finally:  # also where the test is cancelled in the meantime
                leaves = leaves and not self._goes_on()
                if leaves:
                    exchange.disconnected = True
                    await exchange.end()
            if leaves:
                exchange.judge_departure()
        finally:
            if exchange.done and (exchange.exc is None or exchange.exc_seen):
                self._transport.open.discard(exchange)


@functools.cache
def live_transport_class(module: ModuleType) -> type[LiveTransportBase]:
    """The live transport class for httpx or httpx2."""
    names = {
        "module": module,
        "stream_class": type("LiveBody", (LiveBodyBase, module.AsyncByteStream), {}),
        "response_class": response_class(module),
        "__doc__": LiveTransportBase.__doc__,
        "__module__": __name__,
    }
    return type("LiveTransport", (LiveTransportBase, module.AsyncBaseTransport), names)
