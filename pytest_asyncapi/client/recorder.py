"""The last requests of a test and their responses, for the report of a failure: as curl, cut, secrets masked."""

from __future__ import annotations

import collections
import shlex
from typing import TYPE_CHECKING, Any

from pytest_asyncapi.masking import masked, masked_header, masked_prose
from pytest_asyncapi.timeline import now

if TYPE_CHECKING:
    from pytest_asyncapi.client.exchange import Exchange

SHOWN_REQUESTS = 5  # in the report of a failing test
KEPT = 400  # for the page of the run, where one is wanted
SHOWN = 1000  # characters of a body
_DULL = ("host", "accept", "accept-encoding", "connection", "user-agent", "content-length")


class Recorder:
    """Keeps the last requests of a test with their exchanges."""

    def __init__(self, kept: int = SHOWN_REQUESTS) -> None:
        self.entries: collections.deque[tuple[Any, Any, float]] = collections.deque(maxlen=kept)
        self.count = 0

    def add(self, request: Any, exchange: Any) -> None:
        """Keep a request."""
        self.count += 1
        self.entries.append((request, exchange, now()))

    def render(self) -> str:
        """The text of the report section; empty when nothing was requested."""
        shown = list(self.entries)[-SHOWN_REQUESTS:]
        parts = []
        if self.count > len(shown):
            parts.append(f"(the last {len(shown)} of {self.count} requests)")
        parts.extend(f"{_curl(request)}\n{_outcome(exchange)}" for request, exchange, _ in shown)
        return "\n\n".join(parts)


def cut(data: bytes, content_type: str = "") -> str:
    """A body as text, masked and cut; only its length when it is not text."""
    if "\0" in (text := data[: 4 * SHOWN].decode("utf-8", "replace")) or text.count("\ufffd") > len(text) // 10:
        return f"<{len(data)} bytes{f' of {content_type}' if content_type else ''}>"
    text = masked(text)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... <cut>"


def _curl(request: Any) -> str:
    words = ["curl", "-X", request.method, masked(str(request.url))]
    for raw_name, raw_value in request.headers.raw:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if name.lower() not in _DULL:
            words += ["-H", f"{name.lower()}: {masked_header(name, value)}"]
    try:
        content = request.content
    except Exception:  # RequestNotRead of httpx or httpx2
        words += ["--data-binary", "<streamed>"]
    else:
        if content:
            words += ["--data-raw", cut(content, request.headers.get("content-type", ""))]
    return shlex.join(words)


def _outcome(exchange: Any) -> str:
    if exchange.scope["type"] == "websocket":
        return f"<- websocket {exchange.state}{_raised(exchange)}"
    if not exchange.started:
        return f"<- no response{_raised(exchange) or ', the app had not answered yet'}"
    lines = [f"<- {exchange.status}{_raised(exchange)}"]
    content_type = ""
    for raw_name, raw_value in exchange.headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        content_type = value if name.lower() == "content-type" else content_type
        lines.append(f"   {name}: {masked_header(name, value)}")
    if exchange.preview:
        lines.append(f"   {cut(exchange.preview, content_type)}")
    if not exchange.complete:
        lines.append("   (the body did not end)")
    return "\n".join(lines)


def _raised(exchange: Exchange) -> str:
    return masked_prose(f", raised {type(exchange.exc).__name__}: {exchange.exc}") if exchange.exc is not None else ""
