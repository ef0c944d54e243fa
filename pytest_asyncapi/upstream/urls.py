"""URL templates such as ``https://api.example.com/users/{id}``, and the index that finds the routes of a URL
quickly."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pytest_asyncapi.errors import UpstreamError, ours
from pytest_asyncapi.upstream.request import DEFAULT_PORTS, HTTP_SCHEME, Request

if TYPE_CHECKING:
    from pytest_asyncapi.upstream.routes import Route

__tracebackhide__ = ours

_NAME = re.compile(r"\{(\w*)(:path)?\}")


class Template:
    """A URL with ``{name}`` for one part of the path (or of the host), and ``{name:path}`` for all the rest of the
    path."""

    def __init__(self, url: Any) -> None:
        url = _as_text(url)
        self.url = url
        _check_scheme(url)
        _check_names(url)
        try:
            split = urlsplit(url)
            self.scheme = HTTP_SCHEME.get(split.scheme, split.scheme)
            self.host = _encoded(split.hostname or "")
            self.port = split.port or DEFAULT_PORTS.get(self.scheme, 0)
            self.any_port = self.host == "*" and split.port is None
        except ValueError as exc:
            raise UpstreamError(f"upstream URL {url!r}: {exc}.") from None
        self.path = split.path or "/"
        self.query = parse_qsl(split.query, keep_blank_values=True)
        if "@" in split.netloc:
            raise UpstreamError(
                f"upstream URL {url!r}: credentials are no part of an address; want them by"
                " headers={'Authorization': ...}."
            )
        self.any_host = "{" in self.host or "*" in self.host
        self._host = None
        if self.any_host and self.host != "*":
            self._host = re.compile(_pattern(self.host, "[^.]+").replace(r"\*", ".*"))
        self.parts: list[Any] = [_part(unquote(part), ".+") for part in self.path[1:].split("/")]
        self.rest: str | None = None
        if last := re.fullmatch(r"\{(\w+):path\}", self.path.rpartition("/")[2]):
            self.rest = last[1]
            self.parts.pop()
        elif ":path}" in self.path:
            raise UpstreamError(f"upstream URL {url!r}: {{name:path}} must be the last part of the path.")

    def match(self, request: Request) -> dict[str, str] | str:
        """The values of the names, or what differs, for a person to read."""
        params: dict[str, str] = {}
        if self._host is not None:
            if not (found := self._host.fullmatch(request.host)):
                return f"host is {request.host!r}, the route wants {self.host!r}"
            params.update(found.groupdict())
        elif self.host not in (request.host, "*"):
            return f"host is {request.host!r}, the route wants {self.host!r}"
        if self.scheme != request.scheme:
            return f"scheme is {request.scheme!r}, the route wants {self.scheme!r}"
        if self.port != request.port and not self.any_port:
            return f"port is {request.port}, the route wants {self.port}"
        got = request.segments
        if len(got) == len(self.parts) or (self.rest is not None and len(got) > len(self.parts)):
            for want, part in zip(self.parts, got, strict=False):
                if isinstance(want, str):
                    if want != part:
                        break
                elif found := want.fullmatch(part):
                    params.update(found.groupdict())
                else:
                    break
            else:
                if self.rest is not None:
                    params[self.rest] = "/".join(got[len(self.parts) :])
                return params
        return f"path is {request.path!r}, the route wants {unquote(self.path)!r}"


def _part(text: str, wildcard: str) -> str | re.Pattern[str]:
    """A literal, or the pattern of a part with names in it."""
    if "{" not in text:
        return text
    return re.compile(_pattern(text, wildcard), re.DOTALL)


def _pattern(text: str, wildcard: str) -> str:
    pieces = _NAME.split(text)  # literal, name, ":path" or None, literal, ...
    return "".join(re.escape(literal) + (f"(?P<{name}>{wildcard})" if name else "") for literal, name in _pairs(pieces))


def _pairs(pieces: list[str]) -> Iterator[tuple[str, str | None]]:
    for at in range(0, len(pieces), 3):
        yield pieces[at], pieces[at + 1] if at + 1 < len(pieces) else None


def _as_text(url: Any) -> str:
    """A URL as a str; those of yarl, httpx and Starlette are taken too."""
    if isinstance(url, str) or type(url).__name__ == "URL":
        return str(url)
    raise UpstreamError(f"upstream URL {url!r} is no str (nor a compiled regular expression).")


def _encoded(host: str) -> str:
    """A host name as clients send it."""
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError as exc:
        raise ValueError(str(exc)) from None


def _check_scheme(url: str) -> None:
    scheme, sep, rest = url.partition("://")
    scheme = scheme.lower()
    if not sep:
        guess = f"api.example.com{url}" if url.startswith("/") and not url.startswith("//") else url.lstrip("/")
        raise UpstreamError(
            f"upstream URL {url!r} has no scheme: write 'https://{guess}' (or a compiled regular expression)."
        )
    if scheme not in ("http", "https", "ws", "wss"):
        raise UpstreamError(f"upstream URL {url!r}: the scheme {scheme!r} is none of http, https, ws, wss.")
    if not rest or rest.startswith("/"):
        raise UpstreamError(f"upstream URL {url!r} has no host.")


def _check_names(url: str) -> None:
    place, _, query = url.partition("?")
    names = [found[1] for found in _NAME.finditer(place)]
    if left := re.search(r"\{[^{}]*\}?|\}", _NAME.sub("", place)):
        raise UpstreamError(f"upstream URL {url!r}: {left[0]!r} is no name; write {{name}} or {{name:path}}.")
    if (found := _NAME.search(query)) and found[1]:
        raise UpstreamError(
            f"upstream URL {url!r}: {found[0]} stands in the query, where no names are taken; a query that is not"
            " named may be anything, and params= takes regular expressions."
        )
    for name in names:
        if not name.isidentifier():
            raise UpstreamError(f"upstream URL {url!r}: {{{name}}} is not a name.")
        if names.count(name) > 1:
            raise UpstreamError(f"upstream URL {url!r} has the name {{{name}}} twice: each name stands once.")


class _Node:
    """The routes whose path runs through here."""

    __slots__ = ("children", "patterns", "rest", "routes")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.patterns: _Node | None = None
        self.routes: list[Route] = []
        self.rest: list[Route] = []


class RouteIndex:
    """Routes by host, then by the parts of their paths: what does not lie on a request's way costs it nothing."""

    def __init__(self) -> None:
        self.hosts: dict[str, _Node] = {}
        self.anywhere: list[Route] = []  # regular expressions, host patterns, no URL

    def add(self, route: Route) -> None:
        template = route.template
        if template is None or template.any_host:
            self.anywhere.append(route)
            return
        node = self.hosts.setdefault(template.host, _Node())
        for part in template.parts:
            if isinstance(part, str):
                node = node.children.setdefault(part, _Node())
            else:
                node.patterns = node = node.patterns or _Node()
        (node.routes if template.rest is None else node.rest).append(route)

    def candidates(self, request: Request) -> Iterable[Route]:
        """The routes that may answer, the newest first."""
        found = list(self.anywhere)
        node = self.hosts.get(request.host)
        if node is not None:
            _collect(node, request.segments, 0, found)
        if len(found) > 1:
            found.sort(key=_number, reverse=True)
        return found


def _collect(node: _Node, parts: list[str], at: int, found: list[Route]) -> None:
    if node.rest and at < len(parts):
        found += node.rest
    if at == len(parts):
        found += node.routes
        return
    child = node.children.get(parts[at])
    if child is not None:
        _collect(child, parts, at + 1, found)
    if node.patterns is not None:
        _collect(node.patterns, parts, at + 1, found)


def _number(route: Route) -> int:
    return route.number
