"""What the app sent, as callables, matchers and ``route.calls`` see it: one class, whichever client sent it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from pytest_asyncapi.upstream import forms

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
HTTP_SCHEME = {"ws": "http", "wss": "https"}


def with_target(origin: str, target: str) -> str:
    """The URL of a request: its target is a path, or a whole URL, or ``*``."""
    if "://" in target.partition("?")[0] and not target.startswith("/"):
        return target
    return f"{origin}{target}" if target.startswith("/") else f"{origin}/{target}"


class Headers(dict[str, str]):
    """Header values by name in lower case; repeated ones are joined by a comma, and a look-up ignores case."""

    def __init__(self, raw: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__()
        for name, value in raw:
            name = name.lower()
            super().__setitem__(name, f"{self[name]}, {value}" if name in self else value)

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name.lower() if isinstance(name, str) else name)

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")


class Request:
    """A request as it left the app.

    `raw_headers` has the names and the order of the wire, `content` the bytes of the body (without the chunk framing),
    `client` the library that sent it ("aiohttp", "httpx" or "httpx2"), `path_params` what a template such as
    ``/users/{id}`` took out of the path, and `proxy` the address of the proxy that it went through, if any.
    """

    split: SplitResult
    scheme: str
    """``http`` or ``https``, for websockets too."""
    host: str
    port: int
    segments: list[str]
    """The path between its slashes, each part decoded by itself, so that ``a%2Fb`` is one part."""

    def __init__(
        self,
        method: str,
        url: str,
        raw_headers: Sequence[tuple[str, str] | tuple[bytes, bytes]] = (),
        content: bytes = b"",
        client: str = "",
    ) -> None:
        self.method = method
        self.url = url
        self._head = raw_headers
        self.content = content
        self.client = client
        self.path_params: dict[str, str] = {}
        self.proxy: str | None = None
        # SplitResult would take the address apart at each look, so it is done once here
        self.split = split = urlsplit(url)
        self.scheme = HTTP_SCHEME.get(split.scheme, split.scheme)
        authority = split.netloc.rpartition("@")[2]
        host, colon, port = authority.rpartition(":")
        if not colon or port.endswith("]"):
            host, port = authority, ""
        self.host = host.strip("[]").lower()
        self.port = int(port) if port else DEFAULT_PORTS.get(self.scheme, 0)
        parts = split.path[1:].split("/")
        self.segments = [unquote(part) for part in parts] if "%" in split.path else parts

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.url}>"

    # -- the URL

    @property
    def path(self) -> str:
        """The path, decoded."""
        return unquote(self.split.path) or "/"

    @cached_property
    def query(self) -> dict[str, list[str]]:
        """All values of each name of the query."""
        values: dict[str, list[str]] = {}
        for name, value in parse_qsl(self.split.query, keep_blank_values=True):
            values.setdefault(name, []).append(value)
        return values

    @property
    def params(self) -> dict[str, str]:
        """The first value of each name of the query."""
        return {name: values[0] for name, values in self.query.items()}

    # -- the head

    @cached_property
    def raw_headers(self) -> list[tuple[str, str]]:
        return [(_text(name), _text(value)) for name, value in self._head]

    @cached_property
    def headers(self) -> Headers:
        return Headers(self.raw_headers)

    @property
    def cookies(self) -> dict[str, str]:
        pairs = (part.strip().partition("=") for part in self.headers.get("cookie", "").split(";"))
        return {name: value.strip('"') for name, sep, value in pairs if sep}

    @property
    def is_websocket(self) -> bool:
        return bool(self.headers.get("upgrade", "").lower() == "websocket")

    # -- the body

    @property
    def text(self) -> str:
        return self.content.decode()

    def json(self) -> Any:
        return json.loads(self.content)

    @cached_property
    def form(self) -> dict[str, list[str]]:
        """The fields of a urlencoded or multipart body, files left out."""
        if self._media_is("application/x-www-form-urlencoded"):
            return forms.urlencoded(self.content)
        return self._multipart[0]

    @property
    def files(self) -> dict[str, list[tuple[str, str, bytes]]]:
        """The files of a multipart body, each as ``(filename, content type, bytes)``."""
        return self._multipart[1]

    @cached_property
    def _multipart(self) -> tuple[forms.Fields, forms.Files]:
        if not self._media_is("multipart/"):
            return {}, {}
        return forms.multipart(self.content, self.headers["content-type"])

    def _media_is(self, kind: str) -> bool:
        return bool(self.headers.get("content-type", "").lower().startswith(kind))
