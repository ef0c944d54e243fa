"""A pair of asyncio transports that hand bytes to one another inside one loop, without a socket.

The client's end carries the protocol of the real library (aiohttp's ``ResponseHandler``, a ``StreamReaderProtocol``
under redis-py, ...), the other end a server of ours, which is an ordinary ``asyncio.Protocol``:

    client_end = connect(loop, ResponseHandler(loop), OurServer(), peername=("192.0.2.1", 443))
    reader, writer = open_streams(loop, OurServer())

What a socket would do, the pipe does: bytes arrive in order and never inside the ``write`` that sent them
(``call_soon``); ``write_eof`` and ``close`` are a FIN, ``reset`` is an RST that overtakes what is still unread; a
reader that pauses makes the writer's protocol pause. No kernel I/O and no timer is involved, so a virtual clock sees
an idle pipe as idle.
"""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from typing import Any

HIGH_WATER = 64 * 1024
MOST_AT_ONCE = 256 * 1024  # what asyncio reads from a socket in one go
CLIENT_ADDRESS = ("192.0.2.2", 50000)  # TEST-NET-1: addresses that exist nowhere
SERVER_ADDRESS = ("192.0.2.1", 80)


class MemoryTransport(asyncio.Transport):
    """One end of a pipe. ``peer`` is the other end."""

    peer: MemoryTransport

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: asyncio.BaseProtocol, extra: dict[str, Any]) -> None:
        super().__init__(extra)
        self._loop = loop
        self._protocol: Any = protocol
        self._inbox: deque[bytes | memoryview] = deque()  # written by the peer, not yet given to our protocol
        self._inbox_size = 0
        self._eof_in = False  # the peer wrote its last byte
        self._eof_seen = False  # and our protocol knows it
        self._eof_out = False
        self._paused = False  # our protocol reads no more for now
        self._scheduled = False
        self._closing = False
        self._lost = False  # connection_lost is called, or is on its way
        self._high = HIGH_WATER
        self._low = HIGH_WATER // 4
        self._writing_paused = False

    def __repr__(self) -> str:
        state = "closed" if self._closing else "open"
        return f"<MemoryTransport {state} peername={self.get_extra_info('peername')}>"

    # -- writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not data or self._closing:
            return
        if self._eof_out:
            raise RuntimeError("cannot write after write_eof()")
        peer = self.peer
        if peer._closing:
            self._lose(BrokenPipeError(errno.EPIPE, "Broken pipe"))
            return
        peer._inbox.append(bytes(data))
        peer._inbox_size += len(data)
        peer._schedule()
        if peer._inbox_size > self._high and not self._writing_paused:
            self._writing_paused = True
            self._protocol.pause_writing()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        if self._eof_out or self._closing:
            return
        self._eof_out = True
        self.peer._eof_in = True
        self.peer._schedule()

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return self.peer._inbox_size

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._high, self._low = high, low

    # -- reading

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            if self._inbox or self._eof_in:
                self._schedule()

    def is_reading(self) -> bool:
        return not self._paused and not self._closing

    def _schedule(self) -> None:
        if not self._scheduled and not self._paused and not self._closing and not self._loop.is_closed():
            self._scheduled = True
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._scheduled = False
        if self._paused or self._closing:
            return
        if self._inbox:
            self._protocol.data_received(self._take())
            self.peer._resume_protocol()
            if self._inbox:
                self._schedule()
            if self._inbox or self._paused or self._closing:
                return
        if self._eof_in and not self._eof_seen:
            self._eof_seen = True
            if not self._protocol.eof_received():
                self.close()

    def _take(self) -> bytes:
        """All that has arrived, but no more than a socket would give at once."""
        if self._inbox_size <= MOST_AT_ONCE:
            data = b"".join(self._inbox)
            self._inbox.clear()
        else:
            pieces, room = [], MOST_AT_ONCE
            while room:
                piece = memoryview(self._inbox.popleft())
                if len(piece) > room:
                    self._inbox.appendleft(piece[room:])  # a view: what is large is not copied at each turn
                    piece = piece[:room]
                pieces.append(piece)
                room -= len(piece)
            data = b"".join(pieces)
        self._inbox_size -= len(data)
        return data

    def _resume_protocol(self) -> None:
        if self._writing_paused and self.get_write_buffer_size() <= self._low:
            self._writing_paused = False
            if not self._lost:
                self._protocol.resume_writing()

    # -- ends

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """A FIN: the peer reads what was written, then the end."""
        if not self._closing:
            self.peer._eof_in = True
            self.peer._schedule()
            self._lose(None)

    def abort(self) -> None:
        self.close()

    def reset(self) -> None:
        """An RST: the peer loses the connection at once, with what it has not read."""
        if not self._closing:
            self._lose(None)
            self.peer._lose(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))

    def _lose(self, exc: BaseException | None) -> None:
        if self._lost:
            return
        self._closing = self._lost = True
        self._inbox.clear()
        self._inbox_size = 0
        if not self._loop.is_closed():
            self._loop.call_soon(self._protocol.connection_lost, exc)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol  # type: ignore[no-any-return]

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol


def connect(
    loop: asyncio.AbstractEventLoop,
    client: asyncio.BaseProtocol,
    server: asyncio.BaseProtocol,
    *,
    peername: Any = SERVER_ADDRESS,
    sockname: Any = CLIENT_ADDRESS,
    **extra: Any,
) -> MemoryTransport:
    """Join two protocols; returns the client's end. Both have had ``connection_made``, the server first."""
    near = MemoryTransport(loop, client, {"peername": peername, "sockname": sockname, **extra})
    far = MemoryTransport(loop, server, {"peername": sockname, "sockname": peername, **extra})
    near.peer, far.peer = far, near
    server.connection_made(far)
    client.connection_made(near)
    return near


def open_streams(
    loop: asyncio.AbstractEventLoop, server: asyncio.BaseProtocol, *, limit: int = 2**16, **extra: Any
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """What ``asyncio.open_connection`` gives, with `server` at the other end (``writer.transport`` is the client's)."""
    reader = asyncio.StreamReader(limit=limit, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport = connect(loop, protocol, server, **extra)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)
