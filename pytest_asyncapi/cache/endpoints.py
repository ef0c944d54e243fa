"""The client's end of a connection: streams for the async clients, a socket for the sync ones.

For the in-memory engine no byte of an async client crosses the kernel. A sync client reads from a socket pair, so
that its time-outs and its C parser work; what it writes goes straight to the engine. For a real server the client's
end is the Unix socket itself, with the link in front of what is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from pytest_asyncapi.cache.link import Link
from pytest_asyncapi.wire.inline import InlineTransport

if TYPE_CHECKING:
    from pytest_asyncapi.cache.control import Control
    from pytest_asyncapi.cache.memory import MemoryEngine
    from pytest_asyncapi.cache.server import ServerEngine

ADDRESS = {"peername": ("192.0.2.1", 6379), "sockname": ("192.0.2.2", 50000)}  # TEST-NET-1: exists nowhere


async def open_streams(control: Control) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    if control.engine.name == "memory":
        transport: Any = _memory_transport(loop, protocol, control)
        protocol.connection_made(transport)
    else:
        transport = await _server_transport(loop, protocol, control)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


def _memory_transport(
    loop: asyncio.AbstractEventLoop, protocol: asyncio.BaseProtocol, control: Control
) -> InlineTransport:
    session = cast("MemoryEngine", control.engine).session(threaded=False)
    link = session.link = Link(control, session, lambda: transport.finish(), loop.call_later)
    transport = InlineTransport(loop, protocol, link.feed, link.close, **ADDRESS)
    session.send = transport.send
    control.links.add(link)
    return transport


async def _server_transport(
    loop: asyncio.AbstractEventLoop, protocol: asyncio.StreamReaderProtocol, control: Control
) -> FilteredTransport:
    engine = cast("ServerEngine", control.engine)
    real, _ = await loop.create_unix_connection(lambda: protocol, engine.path)
    link = Link(control, engine.session(real.write), lambda: _hang_up(real, protocol), loop.call_later)
    control.links.add(link)
    return FilteredTransport(real, link)


def _hang_up(transport: asyncio.Transport, protocol: asyncio.StreamReaderProtocol) -> None:
    if not transport.is_closing():
        protocol.eof_received()
        transport.abort()


class FilteredTransport:
    """A real transport whose writes pass a link first."""

    def __init__(self, real: asyncio.Transport, link: Link) -> None:
        self._real = real
        self._link = link

    def write(self, data: Any) -> None:
        if not self._real.is_closing():
            self._link.feed(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


# ---- sync clients


def open_socket(control: Control, timeout: float | None) -> socket.socket:
    open_one = _memory_socket if control.engine.name == "memory" else _server_socket
    client = open_one(control, timeout)
    control.links.add(client.link)
    return client


def _memory_socket(control: Control, timeout: float | None) -> ServedSocket:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    client = MemorySocket(theirs.family, theirs.type, theirs.proto, fileno=theirs.detach())
    client.settimeout(timeout)
    client.outbox = Outbox(ours)
    session = cast("MemoryEngine", control.engine).session(threaded=True)
    session.send = client.outbox.send
    client.link = session.link = Link(control, session, client.outbox.close, _timer)
    return client


def _server_socket(control: Control, timeout: float | None) -> ServedSocket:
    engine = cast("ServerEngine", control.engine)
    client = ServedSocket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(timeout)
    client.connect(engine.path)
    weak = weakref.ref(client)  # the client owns its link, not the other way round

    def hang_up() -> None:
        sock = weak()
        if sock is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def send(data: bytes) -> None:
        sock = weak()
        if sock is not None:
            socket.socket.sendall(sock, data)

    client.link = Link(control, engine.session(send), hang_up, _timer)
    return client


def _timer(seconds: float, callback: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(seconds, callback)
    timer.daemon = True
    timer.start()
    return timer


class ServedSocket(socket.socket):
    """A sync client's socket: what it writes passes a link first."""

    link: Link

    def sendall(self, data: Any, *flags: int) -> None:
        self.link.feed(bytes(data))

    def send(self, data: Any, *flags: int) -> int:
        self.link.feed(bytes(data))
        return len(data)

    def shutdown(self, how: int) -> None:
        self.link.close()
        super().shutdown(how)

    def close(self) -> None:
        self.link.close()
        super().close()


class MemorySocket(ServedSocket):
    """The client's half of a socket pair; replies that do not fit into the kernel's buffer follow as it reads."""

    outbox: Outbox

    def recv(self, *args: Any) -> bytes:
        data = super().recv(*args)
        self.outbox.flush()
        return data

    def recv_into(self, *args: Any) -> int:
        count = super().recv_into(*args)
        self.outbox.flush()
        return count

    def close(self) -> None:
        super().close()
        self.outbox.close()


class Outbox:
    """The server's half: never blocks, may be filled from any thread."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._rest = bytearray()
        self._lock = threading.Lock()

    def send(self, data: bytes) -> None:
        with self._lock:
            self._rest += data
        self.flush()

    def flush(self) -> None:
        if not self._rest:
            return
        with self._lock, contextlib.suppress(OSError):  # full, or closed
            while self._rest:
                del self._rest[: self._sock.send(self._rest)]

    def close(self) -> None:
        self._sock.close()
