"""The httpx and httpx2 transports over an exchange, from one implementation."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import AsyncIterator, Iterable
from types import ModuleType
from typing import Any

from pytest_asyncapi.asgi import ASGIApp
from pytest_asyncapi.client.exchange import Exchange
from pytest_asyncapi.client.http import HTTPExchange
from pytest_asyncapi.client.lifespan import Lifespan
from pytest_asyncapi.client.options import Options, checked_seconds
from pytest_asyncapi.client.recorder import Recorder
from pytest_asyncapi.client.response import response_class
from pytest_asyncapi.client.scope import PORTS, Peer, http_scope, websocket_scope
from pytest_asyncapi.client.websocket import Channel, LocalChannel, WebSocketExchange
from pytest_asyncapi.errors import AppTimeout, ClientError, ConfigurationError, TruncatedResponse, WebSocketRejected

_NO_TIMEOUTS: dict[str, float | None] = {}
COLLECT = "asyncapi.collect"  # in a request's extensions: the whole body will be read at once
_AFTER = "the response is complete, and the app's work after it has gone on"
_UPGRADE = (b"upgrade", b"websocket")


class TransportBase:
    """What both transports are: requests become exchanges with `app`. `module` is httpx or httpx2.

    `lifespan` is the app's running lifespan, if any; one that has not started is started by the first request, and
    one that is `owned` ends with the transport.
    """

    module: ModuleType
    stream_class: type
    response_class: type

    def __init__(
        self,
        app: ASGIApp,
        *,
        options: Options | None = None,
        peer: Peer | None = None,
        lifespan: Lifespan | None = None,
        owned: bool = True,
        recorder: Recorder | None = None,
        **changes: Any,
    ) -> None:
        self.app = app
        self.options = (options or Options()).changed(changes) if changes else options or Options()
        self.peer = peer or Peer()
        self.lifespan = lifespan
        self.owned = owned
        self.recorder = recorder
        self.open: set[Exchange] = set()
        self._starting: asyncio.Task[Any] | None = None

    # ---- the lifespan

    async def start(self) -> None:
        """Start the app's lifespan, unless it runs already."""
        __tracebackhide__ = True
        lifespan = self.lifespan
        if lifespan is not None and lifespan.supported is None:
            if self._starting is None:
                self._starting = asyncio.ensure_future(lifespan.startup())
            await asyncio.shield(self._starting)

    async def __aenter__(self) -> Any:
        __tracebackhide__ = True
        if self.lifespan is not None and self.lifespan.supported is None and self._starting is None:
            await self.lifespan.startup()
        else:
            await self.start()
        return self

    async def __aexit__(self, exc_type: Any = None, exc: BaseException | None = None, traceback: Any = None) -> None:
        try:
            await self.aclose()
        except Exception as ours:
            if exc is None:
                raise
            exc.add_note(f"when the client was closed, this was raised too: {ours!r}")

    # ---- requests

    async def handle_async_request(self, request: Any) -> Any:
        """One request. Returns when the app's response begins."""
        __tracebackhide__ = True
        lifespan = self.lifespan
        if lifespan is not None:
            if lifespan.supported is None:
                await self.start()
            lifespan.check()
        scope = self.scope(request)
        options, timeouts = self._per_request(request)
        if scope["scheme"] != "http":
            self._check_scheme(request, scope)
        if _UPGRADE in scope["headers"]:
            return await self._upgrade(request, scope, options, timeouts)
        exchange = HTTPExchange(
            self.app,
            scope,
            self._body(request),
            options,
            timeouts.get("read"),
            timeouts.get("write"),
            COLLECT in request.extensions,
        )
        if self.recorder is not None:
            self.recorder.add(request, exchange)
        try:
            await exchange.start()
        except AppTimeout as timeout:
            raise self._timeout(timeout, request) from None
        except BaseException as error:
            if error is exchange.exc:
                self._note_lifespan(error)
            raise
        return self._response(request, exchange)

    def _note_lifespan(self, error: BaseException) -> None:
        """Tell beside an exception of the app that its start-up has not run, and why: it may be the cause."""
        reason = self.lifespan.unsupported if self.lifespan is not None else None
        if reason is not None:
            error.add_note(
                f"the app's lifespan did not run; it raised at its first call: {type(reason).__name__}: {reason}"
            )

    def _check_scheme(self, request: Any, scope: dict[str, Any]) -> None:
        if scope["scheme"] not in PORTS:
            raise self.module.UnsupportedProtocol(
                f"{request.url}: the client speaks http, https, ws and wss, not {scope['scheme']!r}", request=request
            )
        if scope["scheme"] in ("ws", "wss") and _UPGRADE not in scope["headers"]:
            raise self.module.UnsupportedProtocol(
                f"{request.url} is a websocket: open it by `async with client.websocket_connect(...)`", request=request
            )

    def scope(self, request: Any) -> dict[str, Any]:
        """The ASGI scope of a request."""
        scope = http_scope(request, self.peer)
        if self.lifespan is not None and self.lifespan.supported:
            scope["state"] = self.lifespan.state.copy()
        return scope

    def _per_request(self, request: Any) -> tuple[Options, dict[str, float | None]]:
        extensions = request.extensions
        changes = extensions.get("asyncapi")
        options = self.options if changes is None else self.options.changed(changes)
        timeouts = (extensions.get("timeout") if options.enforce_timeouts else None) or _NO_TIMEOUTS
        if not isinstance(timeouts, dict):
            raise ConfigurationError(
                f"extensions['timeout'] = {timeouts!r}: expected a dict; seconds are for the argument timeout="
            )
        for kind in ("read", "write"):  # httpx takes anything for a time
            seconds = timeouts.get(kind)
            if type(seconds) is not float or seconds != seconds:
                checked_seconds(f"{request.method} {request.url.path}: timeout of {kind}", seconds)
        return options, timeouts

    def _body(self, request: Any) -> bytes | AsyncIterator[bytes]:
        try:
            content: bytes = request.content
        except self.module.RequestNotRead:
            streamed: AsyncIterator[bytes] = aiter(request.stream)
            return streamed
        return content

    def _response(self, request: Any, exchange: HTTPExchange) -> Any:
        extensions: dict[str, Any] = {"http_version": b"HTTP/" + self.peer.http_version.encode()}
        if exchange.debug is not None:
            extensions["http.response.debug"] = exchange.debug
        if exchange.early_hints:
            extensions["http.response.early_hint"] = exchange.early_hints
        if exchange.trailers_due:
            extensions["http.response.trailers"] = exchange.trailers
        if not (exchange.done and exchange.complete and (exchange.exc is None or exchange.exc_seen)):
            self.open.add(exchange)
        body = self.stream_class(self, exchange, request)
        response = self.response_class(exchange.status, headers=exchange.headers, stream=body, extensions=extensions)
        response.asgi_body = body
        return response

    def _timeout(self, timeout: AppTimeout, request: Any) -> Exception:
        name = "WriteTimeout" if timeout.kind == "write" else "ReadTimeout"
        error: Exception = getattr(self.module, name)(str(timeout), request=request)
        return error

    # ---- websockets

    async def _upgrade(self, request: Any, scope: dict[str, Any], options: Options, timeouts: Any) -> Any:
        """The upgrade request of httpx2's `client.websocket()` and of httpx-ws's `aconnect_ws()`."""
        from pytest_asyncapi.client.frames import FrameStream

        exchange = WebSocketExchange(self.app, websocket_scope(scope), options, timeouts.get("read"))
        self.open.add(exchange)
        if self.recorder is not None:
            self.recorder.add(request, exchange)
        try:
            await exchange.connect()
        except AppTimeout as timeout:
            raise self._timeout(timeout, request) from None
        except WebSocketRejected as rejected:
            return self.module.Response(rejected.status_code, headers=rejected.headers, content=rejected.body)
        stream = FrameStream(exchange, self.module)
        return self.module.Response(101, headers=stream.headers(), extensions={"network_stream": stream})

    async def channel(self, request: Any) -> Channel:
        """A websocket connection of our own kind, for `client.websocket_connect()`."""
        await self.start()
        if self.lifespan is not None:
            self.lifespan.check()
        scope = self.scope(request)
        self._check_scheme(request, scope)
        options, timeouts = self._per_request(request)
        channel = LocalChannel(self.app, websocket_scope(scope), options, timeouts.get("read"))
        self.open.add(channel)
        if self.recorder is not None:
            self.recorder.add(request, channel)
        return channel

    # ---- the end

    async def drain(self, timeout: float | None = None) -> None:
        """Run the work that the app does after its responses to its end, and raise what it raised."""
        checked_seconds("timeout", timeout)
        limit = self.options.background_timeout if timeout is None else timeout
        for exchange in list(self.open):
            if isinstance(exchange, HTTPExchange) and exchange.complete and not exchange.done:
                exchange.release()
                try:
                    while not exchange.done:
                        await exchange.wait(limit, _AFTER)
                except AppTimeout:
                    exchange.late = True
                    raise
        self._forget_and_raise()

    async def aclose(self) -> None:
        """Close what is open, let deferred work end, end an owned lifespan; raise what no response has shown."""
        errors: list[BaseException] = []
        for exchange in list(self.open):
            try:
                await self._end(exchange)
            except Exception as error:
                errors.append(error)
        try:
            self._forget_and_raise()
        except BaseException as error:
            errors.append(error)
        if self.owned and self.lifespan is not None:
            try:
                await self.lifespan.shutdown()
            except BaseException as error:
                errors.append(error)
        _raise_all(errors)

    async def _end(self, exchange: Exchange) -> None:
        if isinstance(exchange, WebSocketExchange):
            await exchange.close(1001)
        elif isinstance(exchange, HTTPExchange):
            if exchange.complete and exchange.options.background != "wait" and not exchange.late:
                exchange.release()
                try:
                    while not exchange.done:
                        await exchange.wait(
                            exchange.options.background_timeout, "the app's work after the response goes on"
                        )
                except AppTimeout:
                    await exchange.end()
                    raise
            else:
                await exchange.abort()
                exchange.exc_seen = exchange.exc_seen or exchange.noticed_departure()

    def _forget_and_raise(self) -> None:
        ended = [exchange for exchange in self.open if exchange.done]
        self.open.difference_update(ended)
        unseen = []
        for exchange in ended:
            if exchange.exc is not None and not exchange.exc_seen and exchange.options.raise_app_exceptions:
                exchange.exc_seen = True
                exchange.exc.add_note(f"raised by the app after its response to {exchange.label}, or unseen by it")
                unseen.append(exchange.exc)
        _raise_all(unseen)


def _raise_all(errors: list[BaseException]) -> None:
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise BaseExceptionGroup("the app raised more than once", errors)


class StreamBase:
    """The body of a response, as httpx reads it."""

    def __init__(self, transport: TransportBase, exchange: HTTPExchange, request: Any) -> None:
        self._transport = transport
        self._exchange = exchange
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        exchange = self._exchange
        try:
            while (chunk := await exchange.next_chunk()) is not None:
                yield chunk
            await exchange.finish()
        except ClientError as error:
            raise self._translated(error) from error.__cause__

    async def collect(self) -> bytes:
        """The whole body at once, or what is left of it."""
        exchange = self._exchange
        try:
            content = await exchange.collect()
            if exchange.exc is not None or not exchange.done or not exchange.complete:
                await exchange.finish()
        except ClientError as error:
            raise self._translated(error) from error.__cause__
        return content

    def plain(self) -> bool:
        """Whether the body needs no decoding."""
        for name, _ in self._exchange.headers:  # noqa: SIM110 - quicker than all(), and it runs for every response
            if len(name) == 16 and name.lower() == b"content-encoding":
                return False
        return True

    def _translated(self, error: ClientError) -> Exception:
        if isinstance(error, AppTimeout) and not self._exchange.complete:  # else the work after the response is late
            return self._transport._timeout(error, self._request)
        if isinstance(error, TruncatedResponse):
            late: Exception = self._transport.module.RemoteProtocolError(str(error), request=self._request)
            return late
        return error

    async def aclose(self) -> None:
        exchange = self._exchange
        try:
            if not exchange.done:
                await exchange.close()
        finally:
            if exchange.done and (exchange.exc is None or exchange.exc_seen):
                self._transport.open.discard(exchange)


@functools.cache
def transport_class(module: ModuleType) -> type[TransportBase]:
    """The transport class for httpx or httpx2."""
    stream = type("ASGIStream", (StreamBase, module.AsyncByteStream), {})
    names = {
        "module": module,
        "stream_class": stream,
        "response_class": response_class(module),
        "__doc__": TransportBase.__doc__,
        "__module__": __name__,
    }
    return type("ASGITransport", (TransportBase, module.AsyncBaseTransport), names)


def http_module(choice: str = "auto") -> ModuleType:
    """httpx2, else httpx; or the one that is asked for."""
    import importlib
    import importlib.util

    for name in ("httpx2", "httpx") if choice == "auto" else (choice,):
        if name in sys.modules or importlib.util.find_spec(name) is not None:
            return importlib.import_module(name)
    wanted = "httpx2" if choice == "auto" else choice
    raise ClientError(f"the client needs {wanted}, which is not installed: pip install {wanted}")


def extensions_of(names: Iterable[str]) -> tuple[str, ...]:
    """The names of ASGI extensions, checked."""
    known = (
        "http.response.debug",
        "http.response.trailers",
        "http.response.early_hint",
        "http.response.pathsend",
    )
    chosen = (names,) if isinstance(names, str) else tuple(names)
    for name in chosen:
        if name not in known:
            raise ConfigurationError(f"unknown ASGI extension {name!r}: expected some of {', '.join(known)}")
    return chosen
