"""A call as a cassette keeps it: what is compared of it, how it is given again, and what in it is broken."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import zlib
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pytest_asyncapi.errors import UpstreamError
from pytest_asyncapi.upstream.replies import Reply
from pytest_asyncapi.upstream.request import Request

Entry = dict[str, Any]
READABLE = ("gzip", "deflate", "identity")
"""The compressions that the standard library undoes, so that secrets are found in them."""


def describe(entry: Entry) -> str:
    return f"{entry['request']['method']} {entry['request']['url']}"


def part(name: str, asked: Entry) -> Any:
    """A part of a request, for comparing."""
    if name in ("method", "url"):
        return asked[name]
    if name == "body":
        return asked.get("base64") or _meant(asked.get("text", ""))
    split = urlsplit(asked["url"])
    match name:
        case "host":
            return split.netloc
        case "query":
            return sorted(parse_qsl(split.query, keep_blank_values=True))
    return getattr(split, name)


def _meant(text: str) -> Any:
    """JSON by what it says: clients, and releases of them, write it with other blanks."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def with_one_boundary(body: bytes, content_type: str) -> bytes:
    """A multipart body with a boundary that is always the same, where clients make up a new one each time."""
    found = re.search(r'^multipart/.*boundary="?([^";,]+)', content_type, re.IGNORECASE)
    return body.replace(b"--" + found[1].encode(), b"--boundary") if found else body


def readable(request: Request) -> Request:
    """The request without the compressions in which no secret would be found."""
    headers = [
        (name, _readable(value) if name.lower() == "accept-encoding" else value) for name, value in request.raw_headers
    ]
    return Request(request.method, request.url, headers, request.content, request.client)


def _readable(encodings: str) -> str:
    wanted = (each.strip() for each in encodings.split(","))
    return ", ".join(each for each in wanted if each.partition(";")[0] in READABLE) or "identity"


def plain(body: bytes, encoding: str | None) -> bytes | None:
    """A body as text sees it; None when that takes more than the standard library."""
    if encoding in (None, "", "identity"):
        return body
    if encoding not in (*READABLE, "x-gzip"):
        return None
    for wbits in (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS):  # with a head, or deflate without one
        with contextlib.suppress(zlib.error):
            return zlib.decompress(body, wbits=wbits)
    return None


def reply(kept: Entry) -> Reply:
    """The answer, byte for byte. Raises ValueError or UpstreamError for one that cannot be given."""
    headers = [(name, value) for name, value in kept["headers"]]
    return Reply(kept["status"], headers=headers, body=_bytes(kept), reason=kept.get("reason"))


def _bytes(kept: Entry) -> bytes:
    if "base64" in kept:
        return base64.b64decode(kept["base64"], validate=True)
    return str(kept.get("text", "")).encode()


def wrong(entry: Any) -> str:
    """What is wrong with a call of a file; nothing, if nothing is."""
    for side, names in (("request", ("method", "url")), ("response", ("status", "headers"))):
        if not isinstance(entry, dict) or not isinstance(entry.get(side), dict):
            return f"has no {side}"
        if missing := [name for name in names if name not in entry[side]]:
            return f"has a {side} without {missing[0]}"
    try:
        _bytes(entry["response"])
    except ValueError as exc:
        return f"has a body that is no base64 ({exc})"
    try:
        reply(entry["response"])
        urlsplit(entry["request"]["url"])
    except (UpstreamError, ValueError, TypeError, AttributeError) as exc:
        return f"cannot be given ({exc})"
    return ""
