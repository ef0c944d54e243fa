"""Real sockets, pipes and processes that the loop waits for.

A connection whose last byte went out waits for an answer. One that was just read from may have more to come, so the
clock gives it a moment. An idle one, in a pool for instance, holds nothing; neither do a listening socket, nor two
ends of one connection that are both in this loop (the test's client and a live server).
"""

from __future__ import annotations

import asyncio
import os
import selectors
import socket
from time import perf_counter
from typing import Any

from pytest_asyncapi.wire.patches import Patches

GRACE = 0.01  # real seconds after the last byte in which more may come


PRIVATE_NAMES = {
    "asyncio.selector_events:_SelectorSocketTransport.write": "Python 3.11 to 3.15",
    "asyncio.selector_events:_SelectorSocketTransport.writelines": "Python 3.11 to 3.15",
    "asyncio.selector_events:_SelectorDatagramTransport.sendto": "Python 3.11 to 3.15",
}


class Stream:
    """What is known of one transport: does it wait for an answer, and when did it last have to do with the world?"""

    def __init__(self, transport: Any, waiting: bool) -> None:
        self.transport = transport
        self.waiting = waiting
        self.active = perf_counter()

    def note(self, waiting: bool) -> None:
        self.waiting = waiting
        self.active = perf_counter()


class Sockets:
    """The files that are registered in a loop's selector, besides the loop's own."""

    def __init__(self, loop: asyncio.SelectorEventLoop) -> None:
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
                self._streams[transport] = Stream(transport, waiting=False)

    def _noting(self, original: Any) -> Any:
        def write(transport: Any, *args: Any) -> Any:
            if transport._loop is self._loop:
                self._stream(transport).note(waiting=True)
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
                    self._stream(transport).note(waiting=False)

    def _stream(self, transport: Any) -> Stream:
        """What is known of a transport; one that was not seen before waits for the first word of its peer."""
        stream = self._streams.get(transport)
        if stream is None:
            stream = self._streams[transport] = Stream(transport, waiting=True)
        return stream

    def waiting(self) -> tuple[float | None, str]:
        """How long to wait for a file (infinitely, or a moment; None: not at all), and for which."""
        others = self._others()
        if not others:
            self._streams.clear()
            return None, ""
        streams: dict[Any, Stream] = {}
        for fd, key in others:
            if key.events & selectors.EVENT_WRITE:
                return float("inf"), f"{_describe(key)} to take data"
            transport = _transport(key)
            if transport is not None:
                streams[transport] = self._stream(transport)
            elif not _listens(fd):
                return float("inf"), f"{_describe(key)} to have data"
        self._streams = streams
        names = {(_name(each, "sockname"), _name(each, "peername")) for each in streams.values()}
        now = perf_counter()
        for stream in streams.values():
            pair = _name(stream, "peername"), _name(stream, "sockname")
            internal = any(pair) and pair in names
            if _is_pipe(stream.transport) or (stream.waiting and not internal):
                return float("inf"), f"an answer from {_peer(stream)}"
            left = stream.active + GRACE - now
            if left > 0 and not internal:
                return left, f"more from {_peer(stream)}"
        return None, ""

    def release(self) -> None:
        self._patches.undo()
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


def _peer(stream: Stream) -> str:
    return _name(stream, "peername") or _name(stream, "sockname") or type(stream.transport).__name__


def _describe(key: Any) -> str:
    transport = _transport(key)
    return f"{type(transport).__name__ if transport is not None else 'file'} {key.fd}"


def _listens(fd: int) -> bool:
    try:
        with socket.socket(fileno=os.dup(fd)) as copy:
            return bool(copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False
