"""The server at the other end of a client's connection: one object that speaks HTTP/1.1, without a socket, in the
client's loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from pytest_asyncapi.errors import UpstreamError
from pytest_asyncapi.upstream import arguments
from pytest_asyncapi.upstream.active import current, plan_of
from pytest_asyncapi.upstream.fault import Fault
from pytest_asyncapi.upstream.http1 import CONTINUE, ESTABLISHED, BadRequest, RequestParser
from pytest_asyncapi.upstream.plan import Plan, planned
from pytest_asyncapi.upstream.replies import LAST_CHUNK, Answer, Reply, as_exception, frame
from pytest_asyncapi.wire.pipe import MemoryTransport

if TYPE_CHECKING:
    from pytest_asyncapi.upstream.request import Request

GARBAGE = b"\x16\x03\x01 this is not HTTP\r\n\r\n"


class ServerConnection(asyncio.Protocol):
    """One accepted connection. The client's protocol must have ``set_exception``, by which an exception reaches the
    app."""

    transport: MemoryTransport

    def __init__(
        self, client: str, scheme: str, host: str, port: int, to_exception: Callable[[Fault], BaseException]
    ) -> None:
        self.parser = RequestParser(client, scheme, host, port)
        self._to_exception = to_exception
        self._task: asyncio.Task[None] | None = None
        self._writable: asyncio.Event | None = None
        self._upgraded: Any = None  # what takes the bytes after a websocket handshake
        self._asked_to_continue = False

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, MemoryTransport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self._upgraded is not None:
            self._upgraded.feed(data)
            return
        self.parser.feed(data)
        try:
            self._read()
        except BadRequest as exc:
            self.fail(_not_http(exc))

    def _read(self) -> None:
        request = self.parser.next_request()
        if request is not None:
            self._asked_to_continue = False
            self.serve(request)
        elif self._leaves_unread():
            self.transport.pause_reading()
        elif self.parser.expects_continue and not self._asked_to_continue:
            self._asked_to_continue = True
            self.transport.write(CONTINUE)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.resume_writing()
        if self._upgraded is not None:
            self._upgraded.lost()  # its handler is told, and may still do something
        elif self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._writable = asyncio.Event()

    def resume_writing(self) -> None:
        if self._writable is not None:
            self._writable.set()
            self._writable = None

    # -- serving

    def serve(self, request: Request) -> None:
        """Answer a request: at once, or in a task when it takes time."""
        if request.method == "CONNECT":
            self.parser.tunnel(request.url)
            self.transport.write(ESTABLISHED)
            return
        plan = plan_of(request, self.parser.host, self.parser.port, self.planned())
        if plan is None:
            self.transport.reset()
            return
        effect = plan.effect
        if isinstance(effect, Reply) and not (effect.latency or effect.fault or effect.streams):
            plan.settle(effect)
            self._send(effect, request)
        else:
            self._task = asyncio.get_running_loop().create_task(self._run(plan))

    def planned(self) -> Plan | None:
        """What was decided above the wire, by the pool of an httpx client."""
        return planned.get()

    def _leaves_unread(self) -> bool:
        """Whether the body that is on its way meets the fault that it is not read; the call is noted then."""
        plan = self.planned()
        if plan is None and (head := self.parser.head()) is not None:
            upstream = current(self.parser.host, self.parser.port)
            fault = upstream.early_fault(head) if upstream is not None else None
            if upstream is not None and fault is not None and fault.while_sending:
                plan = upstream.plan(head)
        if plan is None or plan.used or (met := plan.send_fault) is None:
            return False
        plan.use().settle(met)
        return True

    async def _run(self, plan: Plan) -> None:
        try:
            if plan.takes_websocket:
                await self._websocket(plan)
                return
            answer = await plan.answer()
            if isinstance(answer, Reply) and answer.latency:
                await asyncio.sleep(answer.latency)
            await self._give(answer, plan.request)
        except Exception as exc:  # out of the iterator of a body
            plan.call.error = exc
            self.fail(exc)
        finally:
            self._task = None

    async def _give(self, answer: Answer, request: Request) -> None:
        match answer:
            case Fault():
                self._break(answer, Reply())
            case Reply(fault=Fault() as fault):
                self._break(fault, answer)
            case Reply(streams=True):
                await self._stream(answer, request)
            case Reply():
                self._send(answer, request)
            case _:
                self.fail(as_exception(answer))

    def _send(self, reply: Reply, request: Request) -> None:
        reply = last(reply, self.parser)
        self.transport.write(reply.head if request.method == "HEAD" else reply.message)
        if reply.close:
            self.transport.close()

    async def _stream(self, reply: Reply, request: Request) -> None:
        reply = last(reply, self.parser)
        self.transport.write(reply.head)
        measured = reply.header("content-length") is not None
        if request.method != "HEAD":
            async with aclosing(chunks(reply.body)) as body:
                async for chunk in body:
                    self.transport.write(chunk if measured else frame(chunk))
                    await self.drain()
            if not measured:
                self.transport.write(LAST_CHUNK)
        if reply.close:
            self.transport.close()

    async def drain(self) -> None:
        """Let the client read, and wait while it has too much unread."""
        await asyncio.sleep(0)
        if self._writable is not None:
            await self._writable.wait()

    async def _websocket(self, plan: Plan) -> None:
        from pytest_asyncapi.upstream.websocket import WebSocket

        conversation: Any = plan.effect
        self._upgraded = WebSocket(self.transport, plan.request, self.drain)
        plan.call.reply = Reply(101)
        await conversation.hold(self._upgraded, plan)

    # -- failing

    def fail(self, exc: BaseException) -> None:
        """Raise an exception into the client's read."""
        protocol: Any = self.transport.peer.get_protocol()
        protocol.set_exception(exc)
        self.transport.peer.close()

    def _break(self, fault: Fault, reply: Reply) -> None:
        match fault.kind:
            case "hang" | "unread":
                pass  # the connection stays open, and silent
            case "disconnect":
                self.transport.close()
            case "reset":
                self.transport.reset()
            case "garbage":
                self.transport.write(GARBAGE)
                self.transport.close()
            case "truncate":
                self.transport.write(truncated(reply, fault.after))
                self.transport.close()
            case _:
                self.fail(self._to_exception(fault))

    def kill(self) -> None:
        """End the connection from outside; its loop may have ended, or run in another thread."""
        loop = self.transport._loop
        if loop.is_running() and loop is not asyncio._get_running_loop():
            loop.call_soon_threadsafe(self._end)
        else:
            self._end()

    def _end(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self.transport.peer.close()
        self.transport.close()


def last(reply: Reply, parser: RequestParser) -> Reply:
    """The answer, as the last one when the client has asked for that."""
    return reply.changed(close=True) if parser.closes and not reply.close else reply


def truncated(reply: Reply, after: int) -> bytes:
    """A head that promises the whole body, and the first bytes of it."""
    assert isinstance(reply.body, bytes)
    whole = reply if reply.body else reply.changed(body=b"x" * (after + 100))
    assert isinstance(whole.body, bytes)
    return whole.head + whole.body[:after]


async def chunks(body: Any) -> AsyncGenerator[bytes, None]:
    """The chunks of any body."""
    if isinstance(body, bytes):
        yield body
    elif hasattr(body, "aclose"):
        async with aclosing(body):
            async for each in body:
                yield arguments.chunk(each)
    elif hasattr(body, "__aiter__"):
        async for each in body:
            yield arguments.chunk(each)
    else:
        for each in body:
            yield arguments.chunk(each)


def _not_http(exc: BadRequest) -> UpstreamError:
    if "HTTP/2" in str(exc):
        return UpstreamError(
            "upstream speaks HTTP/1.1, and the client insists on HTTP/2: leave http1=True (http2=True may stay)."
        )
    return UpstreamError(f"upstream speaks HTTP/1.1, and the client sent {exc}.")
