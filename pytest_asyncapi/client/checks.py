"""The ASGI specification, as the app's `send()` enforces it. Each check raises inside the app, at its own line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pytest_asyncapi.asgi import Message
from pytest_asyncapi.errors import ProtocolError

Headers = list[tuple[bytes, bytes]]

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-zA-Z]+")
_UPPER = re.compile(rb"[A-Z]")
_known: set[bytes] = set()  # header names that are right, so that each is matched once
_BODILESS = (204, 304)
_NEVER_SENT = (1004, 1005, 1006)  # reserved, or what a side without a frame is told


def checked_start(message: Message, strict: bool) -> tuple[int, Headers, int | None]:
    """The status, headers and declared length of an `http.response.start`."""
    __tracebackhide__ = True
    status = message.get("status")
    if not isinstance(status, int):
        raise ProtocolError(f"http.response.start: 'status' must be an int, not {status!r}")
    if not 200 <= status <= 999:
        raise ProtocolError(f"http.response.start: {status} is not the status of a response (200 to 999)")
    headers, length = checked_headers(message.get("headers", ()), "http.response.start", strict)
    if status in _BODILESS:
        if length and status == 204:  # that of a 304 tells the length of the body that it leaves out
            raise ProtocolError(f"http.response.start: a 204 has no body, but content-length is {length}")
        length = 0
    return status, headers, length


def checked_headers(pairs: Iterable[Any], kind: str, strict: bool) -> tuple[Headers, int | None]:
    """The headers of a message as a list of pairs, and the length that they declare."""
    __tracebackhide__ = True
    headers: Headers = []
    length: int | None = None
    if type(pairs) is not list and (not isinstance(pairs, Iterable) or isinstance(pairs, str | bytes | Mapping)):
        hint = " (write list(headers.items()))" if isinstance(pairs, Mapping) else ""
        raise ProtocolError(f"{kind}: 'headers' is a list of pairs, not {type(pairs).__name__}{hint}")
    for pair in pairs:
        try:
            name, value = pair
        except (TypeError, ValueError):
            raise ProtocolError(f"{kind}: headers are pairs of name and value, not {pair!r}") from None
        if type(name) is not bytes or type(value) is not bytes:
            raise ProtocolError(
                f"{kind}: header name and value must be bytes, not {name!r}: {value!r} "
                f"(write {_as_bytes(name)!r}, {_as_bytes(value)!r})"
            )
        if name not in _known:
            _learn(name, kind)
        if b"\n" in value or b"\r" in value or b"\0" in value:
            raise ProtocolError(f"{kind}: the value of header {name!r} has a CR, LF or NUL: {value!r}")
        if strict and _UPPER.search(name):
            raise ProtocolError(f"{kind}: header names must be lower case, not {name!r} (write {name.lower()!r})")
        if strict and value != value.strip(b" \t"):
            raise ProtocolError(f"{kind}: the value of header {name!r} has blanks around it: {value!r}")
        if len(name) == 14 and name.lower() == b"content-length":
            length = _length(value, length, kind)
        headers.append((name, value))
    return headers, length


def _learn(name: bytes, kind: str) -> None:
    __tracebackhide__ = True
    if _NAME.fullmatch(name) is None:
        raise ProtocolError(f"{kind}: {name!r} is not a header name")
    if len(_known) < 1000:
        _known.add(name)


def _length(value: bytes, before: int | None, kind: str) -> int:
    __tracebackhide__ = True
    if not value.isdigit():
        raise ProtocolError(f"{kind}: content-length must be a number, not {value!r}")
    length = int(value)
    if before is not None and before != length:
        raise ProtocolError(f"{kind}: two content-length headers, {before} and {length}")
    return length


def _as_bytes(value: Any) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    return str(value).encode("latin-1", "replace")


def checked_body(message: Message) -> bytes:
    """The bytes of an `http.response.body`."""
    __tracebackhide__ = True
    chunk = message.get("body", b"")
    if type(chunk) is bytes:
        return chunk
    if isinstance(chunk, bytes | bytearray | memoryview):
        return bytes(chunk)
    hint = " (encode the text: body.encode())" if isinstance(chunk, str) else ""
    raise ProtocolError(f"http.response.body: 'body' must be bytes, not {type(chunk).__name__}{hint}")


def too_long(sent: int, declared: int, status: int) -> ProtocolError:
    """The error of a body that is longer than it may be."""
    if status in _BODILESS:
        return ProtocolError(f"http.response.body: a {status} has no body, but {sent} bytes were sent")
    return ProtocolError(f"http.response.body: the body is longer ({sent} bytes) than its content-length ({declared})")


def too_short(sent: int, declared: int) -> ProtocolError:
    """The error of a body that ends before its declared length."""
    return ProtocolError(f"http.response.body: the body ends after {sent} bytes, but its content-length is {declared}")


def misplaced(started: bool) -> ProtocolError:
    """The error of a part of the body that comes too early or too late."""
    return ProtocolError(
        "http.response.body was sent after the last one (more_body=False)"
        if started
        else "http.response.body was sent before http.response.start"
    )


def kind_of(message: Any) -> str:
    """The type of a message of the app."""
    __tracebackhide__ = True
    try:
        kind = message["type"]
    except (TypeError, KeyError):
        raise ProtocolError(f"send() takes a dict with a 'type', not {message!r}") from None
    return kind if type(kind) is str else str(kind)


def checked_frame(message: Message) -> None:
    """A `websocket.send` has text or bytes."""
    __tracebackhide__ = True
    text, data = message.get("text"), message.get("bytes")
    if (text is None) == (data is None):
        raise ProtocolError("websocket.send: give exactly one of 'text' and 'bytes'")
    if text is not None and not isinstance(text, str):
        raise ProtocolError(f"websocket.send: 'text' must be a str, not {type(text).__name__}")
    if data is not None and not isinstance(data, bytes | bytearray | memoryview):
        raise ProtocolError(f"websocket.send: 'bytes' must be bytes, not {type(data).__name__}")


def checked_close(message: Message) -> None:
    """A `websocket.close` has a code that may be sent, and a reason that fits into its frame."""
    __tracebackhide__ = True
    code, reason = message.get("code", 1000), message.get("reason") or ""
    if not isinstance(code, int) or not (1000 <= code <= 1014 or 3000 <= code <= 4999) or code in _NEVER_SENT:
        raise ProtocolError(f"websocket.close: {code!r} is not a code to close with (1000, or your own from 4000 on)")
    if not isinstance(reason, str):
        raise ProtocolError(f"websocket.close: 'reason' must be a str, not {type(reason).__name__}")
    if len(reason.encode()) > 123:
        raise ProtocolError(f"websocket.close: 'reason' has {len(reason.encode())} bytes, its frame takes 123")
