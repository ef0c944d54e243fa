"""The network streams of httpcore and httpcore2 that lead to our server: what their pools take for an open
connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pytest_asyncapi.errors import UpstreamError
from pytest_asyncapi.upstream import arguments
from pytest_asyncapi.upstream.active import plan_of
from pytest_asyncapi.upstream.fault import Fault
from pytest_asyncapi.upstream.http1 import ESTABLISHED, BadRequest, RequestParser
from pytest_asyncapi.upstream.plan import planned
from pytest_asyncapi.upstream.replies import LAST_CHUNK, Reply, as_exception, frame
from pytest_asyncapi.upstream.server import GARBAGE, ServerConnection, _not_http, last, truncated
from pytest_asyncapi.wire.pipe import CLIENT_ADDRESS, HIGH_WATER, SERVER_ADDRESS, MemoryTransport, connect

if TYPE_CHECKING:
    from pytest_asyncapi.upstream.request import Request


def to_exception(core: ModuleType, fault: Fault) -> BaseException:
    """httpcore's exception for a fault; httpx makes its own of it."""
    match fault.kind:
        case "dns":
            return core.ConnectError("[Errno -2] Name or service not known")  # type: ignore[no-any-return]
        case "tls":
            return core.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: injected")  # type: ignore[no-any-return]
        case "connect_timeout":
            return core.ConnectTimeout("timed out while connecting")  # type: ignore[no-any-return]
        case "write_timeout":
            return core.WriteTimeout("The write operation timed out")  # type: ignore[no-any-return]
        case "read_timeout":
            return core.ReadTimeout("The read operation timed out")  # type: ignore[no-any-return]
    return core.ConnectError("All connection attempts failed")  # type: ignore[no-any-return]


class Receiver(asyncio.Protocol):
    """The client's end under an async stream: keeps what arrived until it is read."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.eof = False
        self.error: BaseException | None = None
        self.waiter: asyncio.Future[None] | None = None
        self.writable: asyncio.Future[None] | None = None  # done when the server reads again
        self.transport: MemoryTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, MemoryTransport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        if len(self.data) > HIGH_WATER:
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self.eof = True
        self._wake()
        return True

    def connection_lost(self, exc: BaseException | None) -> None:
        self.eof = True
        if exc is not None:
            self.set_exception(exc)
        self._wake()
        self.resume_writing()

    def pause_writing(self) -> None:
        self.writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self.writable is not None and not self.writable.done():
            self.writable.set_result(None)
        self.writable = None

    def set_exception(self, exc: BaseException) -> None:
        self.error = exc
        self._wake()

    def _wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def take(self, most: int) -> bytes:
        data = bytes(self.data[:most])
        del self.data[:most]
        if not self.transport.is_reading():
            self.transport.resume_reading()
        return data

    @property
    def readable(self) -> bool:
        return bool(self.data) or self.eof or self.error is not None or self.transport.is_closing()

    async def wait(self, timeout: float | None) -> None:
        """Until something has arrived."""
        self.waiter = asyncio.get_running_loop().create_future()
        try:
            await within(timeout, self.waiter)
        finally:
            self.waiter = None


async def within(timeout: float | None, waiter: asyncio.Future[None]) -> None:
    """Wait for so long at most; raises TimeoutError."""
    timer = asyncio.get_running_loop().call_later(timeout, _expire, waiter) if timeout is not None else None
    try:
        await waiter
    finally:
        if timer is not None:
            timer.cancel()


def _expire(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError())


@cache
def async_stream(core: Any, client: str) -> Any:
    """The class of async streams for one of the two libraries."""

    class AsyncMemoryStream(core.AsyncNetworkStream):  # type: ignore[misc]
        def __init__(self, host: str, port: int) -> None:
            self.receiver = Receiver()
            self.server = ServerConnection(client, "http", host, port, lambda fault: to_exception(core, fault))
            self.transport = connect(
                asyncio.get_running_loop(), self.receiver, self.server, peername=(SERVER_ADDRESS[0], port)
            )

        async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            receiver = self.receiver
            while not receiver.data:
                if receiver.error is not None:
                    error, receiver.error = receiver.error, None
                    raise core.ReadError(str(error)) if isinstance(error, ConnectionError) and error.errno else error
                if receiver.eof:
                    return b""
                try:
                    await receiver.wait(timeout)
                except TimeoutError:
                    raise core.ReadTimeout("The read operation timed out") from None
            return receiver.take(max_bytes)

        async def write(self, buffer: bytes, timeout: float | None = None) -> None:
            if self.receiver.eof:
                raise core.WriteError("[Errno 32] Broken pipe")
            self.transport.write(buffer)
            if self.receiver.writable is not None:
                try:
                    await within(timeout, self.receiver.writable)
                except TimeoutError:
                    raise core.WriteTimeout("The write operation timed out") from None
                if self.receiver.eof:
                    raise core.WriteError("[Errno 32] Broken pipe")

        async def aclose(self) -> None:
            self.transport.close()

        async def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: Any = None) -> Any:
            self.server.parser.scheme = "https"
            return self

        def get_extra_info(self, info: str) -> Any:
            return extra_info(info, self.transport.get_extra_info("peername"), self.receiver.readable)

    return AsyncMemoryStream


@cache
def sync_stream(core: Any, client: str) -> Any:
    """The class of streams for sync clients: there is no loop, so the answer is made while the client reads."""

    class SyncMemoryStream(core.NetworkStream):  # type: ignore[misc]
        def __init__(self, host: str, port: int) -> None:
            self.parser = RequestParser(client, "http", host, port)
            self.data = b""
            self.ended = False
            self.answers: Iterator[bytes] = iter(())
            self.timeout: float | None = None
            self.unread = 0  # bytes that the server has not taken

        def write(self, buffer: bytes, timeout: float | None = None) -> None:
            if self.ended:
                raise core.WriteError("[Errno 32] Broken pipe")
            self.parser.feed(buffer)
            plan = planned.get()
            if plan is not None and (fault := plan.send_fault) is not None:
                self.unread += len(buffer)
                if self.unread > HIGH_WATER:
                    plan.use().settle(fault)
                    block(client, timeout, core.WriteTimeout, "write")

        def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            self.timeout = timeout
            if not self.data:
                self.data = self._next_piece() or self._next_answer()
            data, self.data = self.data[:max_bytes], self.data[max_bytes:]
            return data

        def _next_answer(self) -> bytes:
            if self.ended:
                return b""
            try:
                request = self.parser.next_request()
            except BadRequest as exc:
                raise _not_http(exc) from None
            if request is None:
                raise core.ReadTimeout("The read operation timed out")  # a server that waits for more
            self.answers = self._answer(request)
            return self._next_piece()

        def _next_piece(self) -> bytes:
            return next(filter(None, self.answers), b"")

        def _answer(self, request: Request) -> Iterator[bytes]:
            if request.method == "CONNECT":
                self.parser.tunnel(request.url)
                yield ESTABLISHED
                return
            plan = plan_of(request, self.parser.host, self.parser.port, planned.get())
            if plan is None:
                self._reset()
            elif plan.takes_websocket:
                raise UpstreamError(
                    f"{plan.call.route!r} is a websocket, which a sync {client} client cannot have: use the async one."
                )
            else:
                answer = plan.answer_now()
                if isinstance(answer, Reply):
                    self._wait(answer.latency)
                    yield from self._bytes(answer, request)
                elif isinstance(answer, Fault):
                    yield from self._broken(answer, Reply())
                else:
                    raise as_exception(answer)

        def _bytes(self, reply: Reply, request: Request) -> Iterator[bytes]:
            reply = last(reply, self.parser)
            if reply.fault is not None:
                yield from self._broken(reply.fault, reply)
            elif request.method == "HEAD":
                yield reply.head
            elif isinstance(reply.body, bytes):
                yield reply.message
            elif hasattr(reply.body, "__aiter__"):
                raise UpstreamError(
                    f"the body of {reply!r} is an async iterator, and a sync {client} client has no event loop for it:"
                    " use a plain one."
                )
            else:
                yield reply.head
                measured = reply.header("content-length") is not None
                for chunk in map(arguments.chunk, reply.body):
                    yield chunk if measured else frame(chunk)
                if not measured:
                    yield LAST_CHUNK
            self.ended = self.ended or reply.close

        def _broken(self, fault: Fault, reply: Reply) -> Iterator[bytes]:
            match fault.kind:
                case "hang" | "unread":
                    block(client, self.timeout, core.ReadTimeout, "read")
                case "reset":
                    self._reset()
                case "disconnect":
                    pass
                case "garbage":
                    yield GARBAGE
                case "truncate":
                    yield truncated(reply, fault.after)
                case _:
                    raise to_exception(core, fault)
            self.ended = True

        def _wait(self, seconds: float) -> None:
            if self.timeout is not None and seconds > self.timeout:
                block(client, self.timeout, core.ReadTimeout, "read")
            time.sleep(seconds)

        def _reset(self) -> None:
            self.ended = True
            raise core.ReadError("[Errno 104] Connection reset by peer")

        def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: Any = None) -> Any:
            self.parser.scheme = "https"
            return self

        def close(self) -> None:
            self.ended = True
            close = getattr(self.answers, "close", None)
            if close is not None:
                close()

        def kill(self) -> None:
            self.ended = True

        def get_extra_info(self, info: str) -> Any:
            return extra_info(info, (SERVER_ADDRESS[0], self.parser.port), bool(self.data) or self.ended)

    return SyncMemoryStream


def block(client: str, timeout: float | None, error: type[Exception], what: str) -> None:
    """What a server that stands still does to a sync client."""
    if timeout is None:
        raise UpstreamError(
            f"upstream stands still, and a sync {client} client that has no {what} time-out would hang for ever."
        )
    time.sleep(timeout)
    raise error(f"The {what} operation timed out")


def extra_info(info: str, peername: Any, readable: bool) -> Any:
    match info:
        case "is_readable":  # an idle connection that is readable has been closed by the server
            return readable
        case "server_addr" | "peername":
            return peername
        case "client_addr" | "sockname":
            return CLIENT_ADDRESS
    return None
