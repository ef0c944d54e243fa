"""What a route answers with: :class:`Reply`, and everything that can be written in its place."""

from __future__ import annotations

import contextlib
import json as jsonlib
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any

from pytest_asyncapi.errors import UpstreamError, ours
from pytest_asyncapi.upstream import arguments
from pytest_asyncapi.upstream.fault import Fault

__tracebackhide__ = ours

REASONS = {status.value: status.phrase for status in HTTPStatus}
BODILESS = frozenset({204, 304})
UNSET: Any = object()

HeaderList = list[tuple[str, str]]
Body = bytes | Iterable[bytes] | AsyncIterable[bytes]


class Reply:
    """An HTTP answer. Exactly one of `json`, `text`, `html` and `body` gives the body; `body` may be an iterator or an
    async iterator of bytes, which is then sent in chunks as it produces them.

    `latency` is how many seconds pass before the answer starts. `fault` breaks it (``faults.truncate(10)``), `close`
    ends the connection after it, and `chunked` sends a whole body with chunk framing.
    """

    def __init__(
        self,
        status: int = 200,
        *,
        json: Any = UNSET,
        text: str | None = None,
        html: str | None = None,
        body: Body = b"",
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        cookies: Mapping[str, str] | None = None,
        reason: str | None = None,
        latency: float = 0.0,
        fault: Fault | None = None,
        close: bool = False,
        chunked: bool = False,
    ) -> None:
        if sum((json is not UNSET, text is not None, html is not None, body != b"")) > 1:
            raise UpstreamError("Reply(): give one of json=, text=, html= and body=, not several.")
        self.status = arguments.status(status)
        self.headers: HeaderList = arguments.headers(headers) if headers else []
        self.reason = REASONS.get(status, "") if reason is None else arguments.reason(reason)
        self.body: Body = arguments.body(body)
        self.latency = arguments.latency(latency)
        if fault is not None and not isinstance(fault, Fault):
            raise UpstreamError(f"Reply(fault={fault!r}): give one of faults, such as faults.truncate(10).")
        if fault is not None and fault.kind == "truncate" and self.streams:
            raise UpstreamError("Reply(fault=faults.truncate(...)): only a body of bytes can be cut, no iterator.")
        self.fault = fault
        self.close = close
        self.chunked = chunked
        if json is not UNSET:
            self._content(_dump(json), "application/json")
        elif text is not None:
            self._content(arguments.text("text", text), "text/plain; charset=utf-8")
        elif html is not None:
            self._content(arguments.text("html", html), "text/html; charset=utf-8")
        if cookies:
            given = arguments.mapping("cookies", cookies)
            self.headers += arguments.headers([("Set-Cookie", f"{name}={given[name]}; Path=/") for name in given])

    def __repr__(self) -> str:
        return f"<Reply {self.status}>"

    def _content(self, body: bytes, content_type: str) -> None:
        self.body = body
        if self.header("content-type") is None:
            self.headers.insert(0, ("Content-Type", content_type))

    def header(self, name: str) -> str | None:
        """The first value of a header."""
        return next((value for each, value in self.headers if each.lower() == name), None)

    @property
    def streams(self) -> bool:
        """The body is an iterator, whose length is not known."""
        return not isinstance(self.body, bytes)

    @cached_property
    def once(self) -> bool:
        """The body is an iterator that can be sent a single time."""
        return hasattr(self.body, "__next__") or hasattr(self.body, "__anext__")

    @cached_property
    def instant(self) -> bool:
        """Nothing but its bytes is to be said about it, so that it may be given without a connection."""
        return not (self.streams or self.latency or self.fault or self.close or self.chunked) and self.status >= 200

    @property
    def wire_headers(self) -> HeaderList:
        """The headers as they are sent, with the framing of the body."""
        headers = [(name, value) for name, value in self.headers if name.lower() != "transfer-encoding"]
        measured = self.header("content-length") is not None
        if self.chunked or (self.streams and not measured):
            headers = [pair for pair in headers if pair[0].lower() != "content-length"]
            headers.append(("Transfer-Encoding", "chunked"))
        elif not measured and self.status >= 200 and self.status not in BODILESS:
            headers.append(("Content-Length", str(len(self.body))))  # type: ignore[arg-type]
        if self.close:
            headers.append(("Connection", "close"))
        return headers

    @cached_property
    def encoded_headers(self) -> list[tuple[bytes, bytes]]:
        return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self.wire_headers]

    @cached_property
    def head(self) -> bytes:
        """The status line and the headers as bytes."""
        lines = [f"HTTP/1.1 {self.status} {self.reason}".encode("latin-1")]
        lines += [b"%s: %s" % pair for pair in self.encoded_headers]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    @cached_property
    def message(self) -> bytes:
        """The whole answer as bytes, for a body that is known."""
        assert isinstance(self.body, bytes)
        if self.status in BODILESS or self.status < 200:
            return self.head
        return self.head + (frame(self.body) + LAST_CHUNK if self.chunked else self.body)

    def changed(self, **attributes: Any) -> Reply:
        """A copy with other attributes."""
        copy = Reply.__new__(Reply)
        fields = ("status", "headers", "reason", "body", "latency", "fault", "close", "chunked")
        copy.__dict__.update({name: self.__dict__[name] for name in fields} | attributes)
        if "status" in attributes and self.reason == REASONS.get(self.status, ""):
            copy.reason = REASONS.get(copy.status, "")
        return copy


LAST_CHUNK = b"0\r\n\r\n"


def frame(chunk: bytes) -> bytes:
    """A chunk of a chunked body; nothing for an empty one, which would end the body."""
    return b"%x\r\n%s\r\n" % (len(chunk), chunk) if chunk else b""


def _dump(value: Any) -> bytes:
    try:
        return jsonlib.dumps(value).encode()
    except (TypeError, ValueError) as exc:
        raise UpstreamError(f"reply({value!r}): the value is no JSON ({exc}).") from None


# -- what else may be written

Answer = Reply | Fault | BaseException | type[BaseException]
"""What an effect comes to in the end."""


def to_reply(value: Any) -> Answer:
    """A value that the user wrote, or that a callable returned, as a Reply, a Fault or an exception."""
    match value:
        case Reply() | Fault():
            return value
        case BaseException():  # those of aiohttp.web are responses too
            return _from_library(value) if hasattr(value, "status") and hasattr(value, "content_type") else value
        case type() if issubclass(value, BaseException):
            as_exception(value)
            return value
        case bool():
            return Reply(json=value)
        case int():
            return Reply(value)
        case str():
            return Reply(text=value)
        case bytes() | bytearray():
            return Reply(body=bytes(value))
        case dict() | list() | None:
            return Reply(json=value)
        case (int() as status, body) if isinstance(value, tuple):
            return _with_status(status, to_reply(body))
        case (int() as status, body, headers) if isinstance(value, tuple):
            answer = _with_status(status, to_reply(body))
            given = Reply(headers=headers).headers
            names = {name.lower() for name, _ in given}
            return answer.changed(headers=[*(pair for pair in answer.headers if pair[0].lower() not in names), *given])
    return _from_library(value)


def as_exception(error: BaseException | type[BaseException]) -> BaseException:
    """An exception to raise, of an instance or of a class that may want a message."""
    if isinstance(error, BaseException):
        return error
    for given in (("injected by upstream",), ()):
        with contextlib.suppress(TypeError):
            return error(*given)
    name = error.__qualname__
    raise UpstreamError(f"reply({name}): the exception cannot be made without arguments; give {name}(...).")


def _with_status(status: int, answer: Answer) -> Reply:
    if not isinstance(answer, Reply):
        raise UpstreamError(f"reply(({status}, {answer!r})): a fault and an exception have no status.")
    return answer.changed(status=arguments.status(status))


def _from_library(value: Any) -> Reply:
    """The response objects of httpx, httpx2, aiohttp.web and Starlette, told by what they have, and generators of
    bytes."""
    if hasattr(value, "status_code") and hasattr(getattr(value, "headers", None), "multi_items"):
        return _from_httpx(value)
    if hasattr(value, "raw_headers") and hasattr(value, "status_code"):
        return _from_starlette(value)
    if hasattr(value, "status") and hasattr(value, "content_type") and hasattr(value, "body"):  # aiohttp.web.Response
        body = value.body if isinstance(value.body, bytes | bytearray) else (value.text or "").encode()
        return Reply(value.status, headers=list(value.headers.items()), body=bytes(body), reason=value.reason)
    if hasattr(value, "__aiter__") or hasattr(value, "__next__"):
        return Reply(body=value)
    kind = type(value)
    raise UpstreamError(
        f"reply({value!r}): cannot answer with a {kind.__module__}.{kind.__qualname__}. Give a dict, list or None"
        " (JSON), a str, bytes, a status, (status, value), a Reply, a response of httpx, httpx2, aiohttp.web or"
        " Starlette, a fault, an exception, an iterator of bytes, or a callable."
    )


def _from_starlette(value: Any) -> Reply:
    headers = [(name.decode("latin-1"), text.decode("latin-1")) for name, text in value.raw_headers]
    if hasattr(value, "path"):  # a file, whose length and date are found out only when it is sent
        body: Any = Path(value.path).read_bytes()
    else:
        body = value.body if hasattr(value, "body") else value.body_iterator
    return Reply(value.status_code, headers=headers, body=body)


def _from_httpx(value: Any) -> Reply:
    """`.stream` has the bytes as they travel; `.content` would be decoded already."""
    try:
        body: Any = b"".join(value.stream)
    except (TypeError, RuntimeError):
        body = value.stream
    headers = [(name, text) for name, text in value.headers.multi_items() if name.lower() != "transfer-encoding"]
    reason = value.extensions.get("reason_phrase")
    return Reply(value.status_code, headers=headers, body=body, reason=reason.decode() if reason is not None else None)


Effect = Answer | Callable[..., Any]
