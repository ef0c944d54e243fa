"""The server's half of HTTP/1.1: bytes of a client into requests. (The other direction is ``Reply.head``.)"""

from __future__ import annotations

import re

from pytest_asyncapi.upstream.request import DEFAULT_PORTS, Request, with_target

_AUTHORITY = re.compile(r"(?:\[[^\]]+\]|[^:\[\]]+):[0-9]{1,5}")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class BadRequest(Exception):
    """What arrived is not HTTP/1.1."""


class RequestParser:
    """Takes bytes as they come, gives whole requests. Knows where the connection leads: an address, or through a
    proxy."""

    def __init__(self, client: str, scheme: str, host: str, port: int) -> None:
        self.client = client
        self.scheme, self.host, self.port = scheme, host, port
        self.proxy: str | None = None
        self._buffer = bytearray()
        self._head: tuple[str, str, list[tuple[str, str]]] | None = None
        self._body = bytearray()
        self._length = 0
        self._chunked = False
        self.expects_continue = False
        self.closes = False  # the client wants the connection closed after the answer

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next_request(self) -> Request | None:
        """The next request that has arrived wholly. `expects_continue` tells that the client waits to be asked for the
        body."""
        if self._head is None and not self._read_head():
            return None
        if not (self._read_chunks() if self._chunked else self._read_length()):
            return None
        self.expects_continue = False
        assert self._head is not None
        method, target, headers = self._head
        request = self._request(method, target, headers, bytes(self._body))
        request.proxy = self.proxy or (self._origin() if self._is_for_another(request, target) else None)
        self._head = None
        self._body.clear()
        return request

    def head(self) -> Request | None:
        """The request whose head has arrived, and whose body has not; as it is without the body."""
        if self._head is None:
            return None
        return self._request(*self._head, b"")

    def tunnel(self, authority: str) -> None:
        """A proxy was asked to connect: what follows is for that address."""
        self.proxy = self._origin()
        host, _, port = authority.rpartition(":")
        self.scheme, self.host, self.port = "https" if port == "443" else self.scheme, host.strip("[]"), int(port)

    def _is_for_another(self, request: Request, target: str) -> bool:
        """A whole URL of another address was asked for, as a proxy is."""
        return "://" in target and (request.host, request.port) != (self.host.lower(), self.port)

    def _origin(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == DEFAULT_PORTS.get(self.scheme) else f":{self.port}")

    def _request(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> Request:
        if method == "CONNECT" and not _AUTHORITY.fullmatch(target):
            raise BadRequest(f"CONNECT to {target[:80]!r}")
        url = target if method == "CONNECT" else with_target(self._origin(), target)
        try:
            return Request(method, url, headers, body, self.client)
        except ValueError:  # a port that is none, brackets that do not close
            raise BadRequest(f"the target {target[:80]!r}") from None

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        try:
            method, target, version = lines[0].split(" ")
            if not version.startswith("HTTP/1."):
                raise ValueError(version)
        except ValueError:
            raise BadRequest(lines[0][:80]) from None
        headers = []
        self._length, self._chunked, self.closes = 0, False, version == "HTTP/1.0"
        for line in lines[1:]:
            name, _, value = line.partition(":")
            value = value.strip()
            headers.append((name, value))
            lower = name.lower()
            if lower == "content-length":
                self._length = _size(value, 10)
            elif lower == "transfer-encoding":
                self._chunked = "chunked" in value.lower()
            elif lower == "connection":
                self.closes = "close" in value.lower() or (self.closes and "keep-alive" not in value.lower())
            elif lower == "expect":
                self.expects_continue = value.lower() == "100-continue"
        self._head = method, target, headers
        return True

    def _read_length(self) -> bool:
        if len(self._buffer) < self._length:
            return False
        self._body += self._buffer[: self._length]
        del self._buffer[: self._length]
        return True

    def _read_chunks(self) -> bool:
        while True:
            end = self._buffer.find(b"\r\n")
            if end < 0:
                return False
            size = _size(self._buffer[:end].split(b";")[0].decode("latin-1").strip(), 16)
            if size == 0:
                return self._read_trailers(end + 2)
            start = end + 2
            if len(self._buffer) < start + size + 2:
                return False
            self._body += self._buffer[start : start + size]
            del self._buffer[: start + size + 2]

    def _read_trailers(self, start: int) -> bool:
        end = start if self._buffer[start : start + 2] == b"\r\n" else self._buffer.find(b"\r\n\r\n", start) + 2
        if end < start or len(self._buffer) < end + 2:
            return False
        del self._buffer[: end + 2]
        return True


def _size(written: str, base: int) -> int:
    """A length as HTTP writes one: digits alone, where int() takes signs, underscores and blanks too."""
    try:
        if not written.isascii() or not written.isalnum():
            raise ValueError(written)
        return int(written, base)
    except ValueError:
        raise BadRequest(f"the length {written[:80]!r}") from None
