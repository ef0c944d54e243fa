"""A client's transport whose other end is a function: what the client writes is handled inside its `write`.

Half a `MemoryTransport`: for a server of ours that answers request by request (Redis), where the second hop through
the loop would only cost time. What the server sends back reaches the client's protocol in a later turn of the loop,
as from a socket, so that concurrent requests interleave as they do in production.
"""

from __future__ import annotations

import asyncio
import errno
import threading
from collections import deque
from collections.abc import Callable
from typing import Any


class InlineTransport(asyncio.Transport):
    """The client's end. `received` gets every write; `closed` is called once, when the client or the server ends it."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        protocol: asyncio.BaseProtocol,
        received: Callable[[bytes], None],
        closed: Callable[[], None],
        **extra: Any,
    ) -> None:
        super().__init__(extra)
        self._loop = loop
        self._thread = threading.get_ident()
        self._protocol: Any = protocol
        self._received = received
        self._closed = closed
        self._outbox: deque[bytes] = deque()
        self._scheduled = False
        self._paused = False
        self._ending = False  # the server has sent its last byte
        self._closing = False

    def __repr__(self) -> str:
        state = "closed" if self._closing else "open"
        return f"<InlineTransport {state} peername={self.get_extra_info('peername')}>"

    # -- the server's side

    def send(self, data: bytes) -> None:
        """Bytes for the client, from any thread."""
        self._outbox.append(data)
        if not self._scheduled:
            self._schedule()

    def finish(self) -> None:
        """The server hangs up: the client reads what was sent, then the end."""
        self._ending = True
        self._schedule()

    def _schedule(self) -> None:
        if self._scheduled or self._paused or self._closing or self._loop.is_closed():
            return
        self._scheduled = True
        if threading.get_ident() == self._thread:
            self._loop.call_soon(self._deliver)
        else:
            self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._scheduled = False
        if self._paused or self._closing:
            return
        if self._outbox:
            data = self._outbox.popleft()
            if self._outbox:
                pieces = [data]
                while self._outbox:  # one by one: other threads may be adding to them
                    pieces.append(self._outbox.popleft())
                data = b"".join(pieces)
            self._protocol.data_received(data)
        if self._ending and not self._closing and not self._paused:
            self._protocol.eof_received()
            self._lose(None)

    # -- the client's side

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing:
            return
        if self._ending:
            self._lose(BrokenPipeError(errno.EPIPE, "Broken pipe"))
            return
        self._received(data if type(data) is bytes else bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            if self._outbox or self._ending:
                self._schedule()

    def is_reading(self) -> bool:
        return not self._paused and not self._closing

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._lose(None)

    def abort(self) -> None:
        self._lose(None)

    def _lose(self, exc: BaseException | None) -> None:
        if self._closing:
            return
        self._closing = True
        self._outbox.clear()
        if not self._loop.is_closed():
            self._loop.call_soon(self._protocol.connection_lost, exc)
        self._closed()

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol  # type: ignore[no-any-return]

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol
