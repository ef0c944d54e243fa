"""Real sockets, pipes and processes that the loop waits for.

A connection whose last byte went out waits for an answer. One that was just read from may have more to come, so the
clock gives it a moment. An idle one, in a pool for instance, holds nothing; neither do a listening socket, nor two
ends of one connection that are both in this loop (the test's client and a live server).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import selectors
import socket
from time import perf_counter
from typing import Any

GRACE = 0.01  # real seconds after the last byte in which more may come


class Stream:
    """What is known of one transport."""

    def __init__(self, transport: Any, waiting: bool) -> None:
        self.transport = transport
        self.waiting = waiting
        self.active = perf_counter()
        self._watched: list[str] = []
        for name in ("write", "writelines", "sendto"):
            original = getattr(transport, name, None)
            if original is not None:
                with contextlib.suppress(AttributeError):
                    setattr(transport, name, self._noting(original))
                    self._watched.append(name)

    def _noting(self, original: Any) -> Any:
        def write(*args: Any) -> Any:
            self.waiting = True
            self.active = perf_counter()
            return original(*args)

        return write

    def read(self) -> None:
        self.waiting = False
        self.active = perf_counter()

    def release(self) -> None:
        for name in self._watched:
            with contextlib.suppress(AttributeError):
                delattr(self.transport, name)


class Sockets:
    """The files that are registered in a loop's selector, besides the loop's own."""

    def __init__(self, loop: asyncio.SelectorEventLoop) -> None:
        self._selector: Any = loop._selector  # type: ignore[attr-defined]
        self._own = {loop._ssock.fileno()}  # type: ignore[attr-defined]
        self._streams: dict[int, Stream] = {}
        for fd, key in self._others():
            transport = _transport(key)
            if transport is not None:
                self._streams[fd] = Stream(transport, waiting=False)

    @property
    def known(self) -> int:
        return len(self._streams)

    def _others(self) -> list[tuple[int, Any]]:
        found = self._selector.get_map()
        if found is None or len(found) <= len(self._own):  # closed, or nothing but the self-pipe
            return []
        return [(fd, key) for fd, key in found.items() if fd not in self._own]

    def note(self, events: Any) -> None:
        """What the selector reported."""
        for key, mask in events:
            stream = self._streams.get(key.fd)
            if stream is not None and mask & selectors.EVENT_READ:
                stream.read()

    def waiting(self) -> tuple[float | None, str]:
        """How long to wait for a file (infinitely, or a moment; None: not at all), and for which."""
        others = self._others()
        if not others:
            self._streams.clear()
            return None, ""
        streams: dict[int, Stream] = {}
        for fd, key in others:
            if key.events & selectors.EVENT_WRITE:
                return float("inf"), f"{_describe(key)} to take data"
            transport = _transport(key)
            if transport is not None:
                known = self._streams.get(fd)
                fresh = known is None or known.transport is not transport
                streams[fd] = Stream(transport, waiting=True) if fresh or known is None else known
            elif not _listens(fd):
                return float("inf"), f"{_describe(key)} to have data"
        self._streams = streams
        names = {(_name(each, "sockname"), _name(each, "peername")) for each in streams.values()}
        now = perf_counter()
        for fd, stream in streams.items():
            pair = _name(stream, "peername"), _name(stream, "sockname")
            internal = any(pair) and pair in names
            if _is_pipe(stream.transport) or (stream.waiting and not internal):
                return float("inf"), f"an answer from {_peer(stream, fd)}"
            left = stream.active + GRACE - now
            if left > 0 and not internal:
                return left, f"more from {_peer(stream, fd)}"
        return None, ""

    def release(self) -> None:
        for stream in self._streams.values():
            stream.release()
        self._streams.clear()


def _transport(key: Any) -> Any:
    """The transport that reads from a registered file, or None: then somebody called `add_reader`."""
    reader = key.data[0] if isinstance(key.data, tuple) else None
    owner = getattr(getattr(reader, "_callback", None), "__self__", None)
    return owner if isinstance(owner, asyncio.BaseTransport) else None


def _is_pipe(transport: Any) -> bool:
    return isinstance(transport, asyncio.ReadTransport) and not isinstance(transport, asyncio.WriteTransport)


def _name(stream: Stream, what: str) -> str:
    return str(stream.transport.get_extra_info(what) or "")


def _peer(stream: Stream, fd: int) -> str:
    return _name(stream, "peername") or _name(stream, "sockname") or f"file {fd}"


def _describe(key: Any) -> str:
    transport = _transport(key)
    return f"{type(transport).__name__ if transport is not None else 'file'} {key.fd}"


def _listens(fd: int) -> bool:
    try:
        with socket.socket(fileno=os.dup(fd)) as copy:
            return bool(copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False
