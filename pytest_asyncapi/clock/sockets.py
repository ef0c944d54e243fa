"""Real sockets, pipes and processes that the loop waits for.

A connection whose last byte went out waits for an answer. One that was just read from may have more to come, so the
clock gives it a moment. An idle one, in a pool for instance, holds nothing; neither do a listening socket, nor two
ends of one connection that are both in this loop (the test's client and a live server).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import selectors
import socket
import struct
import termios
from time import perf_counter
from typing import Any

from pytest_asyncapi.compatibility import check
from pytest_asyncapi.wire.patches import Patches

GRACE = 0.01  # real seconds after the last byte in which more may come
SLICE = 0.005  # real seconds that a byte between two ends in this loop takes at most, or we look again


class Stream:
    """What is known of one transport, in real time: since when it is, and when it last sent and read."""

    def __init__(self, transport: Any, *, idle: bool) -> None:
        self.transport = transport
        self.born = 0.0 if idle else perf_counter()
        self.sent = self.read = 0.0
        self.names = _name(transport, "sockname"), _name(transport, "peername")

    @property
    def waiting(self) -> bool:
        """For an answer; one that is new, for the first word of its peer."""
        return max(self.sent, self.born) > self.read

    @property
    def active(self) -> float:
        return max(self.sent, self.read)


class Sockets:
    """The files that are registered in a loop's selector, besides the loop's own."""

    def __init__(self, loop: asyncio.SelectorEventLoop) -> None:
        check("Python")
        self._loop = loop
        self._selector: Any = loop._selector  # type: ignore[attr-defined]
        self._own = {loop._ssock.fileno()}  # type: ignore[attr-defined]
        self._streams: dict[Any, Stream] = {}
        self._patches = Patches()
        for name, methods in (
            ("_SelectorSocketTransport", ("write", "writelines")),
            ("_SelectorDatagramTransport", ("sendto",)),
        ):
            for method in methods:
                self._patches.replace(getattr(asyncio.selector_events, name), method, self._noting)
        for _, key in self._others():
            transport = _transport(key)
            if transport is not None:
                self._streams[transport] = Stream(transport, idle=True)

    def _noting(self, original: Any) -> Any:
        def write(transport: Any, *args: Any) -> Any:
            if transport._loop is self._loop:
                self._stream(transport).sent = perf_counter()
            return original(transport, *args)

        return write

    def _others(self) -> list[tuple[int, Any]]:
        found = self._selector.get_map()
        if found is None or len(found) <= len(self._own):  # closed, or nothing but the self-pipe
            return []
        return [(fd, key) for fd, key in found.items() if fd not in self._own]

    def note(self, events: Any) -> None:
        """What the selector reported."""
        for key, mask in events:
            if key.fd not in self._own and mask & selectors.EVENT_READ:
                transport = _transport(key)
                if transport is not None:
                    self._stream(transport).read = perf_counter()

    def _stream(self, transport: Any) -> Stream:
        """What is known of a transport; one that was not seen before waits for the first word of its peer."""
        stream = self._streams.get(transport)
        if stream is None:
            stream = self._streams[transport] = Stream(transport, idle=False)
        return stream

    def waiting(self) -> tuple[float | None, str]:
        """How long to wait for a file (infinitely, or a moment; None: not at all), and for which."""
        others = self._others()
        if not others:
            self._streams.clear()
            return None, ""
        reading = [(key, _transport(key)) for _, key in others]
        for transport in [each for each in self._streams if each.is_closing()]:
            del self._streams[transport]
        for _, transport in reading:
            if transport is not None:
                self._stream(transport)
        ends = {stream.names: stream for stream in self._streams.values()}
        now = perf_counter()
        for key, transport in reading:
            if transport is None:
                if key.events & selectors.EVENT_WRITE or not _listens(key.fd):
                    return float("inf"), f"file {key.fd}"
                continue
            stream = self._streams[transport]
            peer = ends.get(stream.names[::-1]) if any(stream.names) else None
            if peer is not None:
                if _is_read(peer.transport) and (stream.sent > peer.read or _unsent(key.fd)):
                    return SLICE, f"what was sent to {stream.names[1]}"
            elif key.events & selectors.EVENT_WRITE or stream.waiting or _is_pipe(transport):
                return float("inf"), f"an answer from {_peer(stream)}"
            elif stream.active + GRACE > now:
                return stream.active + GRACE - now, f"more from {_peer(stream)}"
        return None, ""

    def release(self) -> None:
        self._patches.undo()
        self._streams.clear()


def _transport(key: Any) -> Any:
    """The transport of a registered file, or None: then somebody called `add_reader` or `add_writer`."""
    for handle in key.data if isinstance(key.data, tuple) else ():
        owner = getattr(getattr(handle, "_callback", None), "__self__", None)
        if isinstance(owner, asyncio.BaseTransport):
            return owner
    return None


def _is_pipe(transport: Any) -> bool:
    return isinstance(transport, asyncio.ReadTransport) and not isinstance(transport, asyncio.WriteTransport)


def _unsent(fd: int) -> int:
    """Bytes that the peer's kernel has not confirmed yet: Nagle's algorithm may hold them back."""
    try:
        return struct.unpack("i", fcntl.ioctl(fd, termios.TIOCOUTQ, b"\0" * 4))[0]  # type: ignore[no-any-return]
    except OSError:
        return 0


def _is_read(transport: Any) -> bool:
    return bool(getattr(transport, "is_reading", lambda: True)())


def _name(transport: Any, what: str) -> str:
    return str(transport.get_extra_info(what) or "")


def _peer(stream: Stream) -> str:
    return stream.names[1] or stream.names[0] or type(stream.transport).__name__


def _listens(fd: int) -> bool:
    try:
        with socket.socket(fileno=os.dup(fd)) as copy:
            return bool(copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False
