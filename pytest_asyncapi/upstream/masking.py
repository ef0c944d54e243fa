"""Secrets in a recording, put out of sight: in headers, cookies, queries, forms and JSON."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit, urlunsplit

MASK = "***"
SECRETS = frozenset(
    {
        "access_token",
        "api-key",
        "api_key",
        "apikey",
        "authorization",
        "client_secret",
        "cookie",
        "id_token",
        "password",
        "private_key",
        "proxy-authorization",
        "refresh_token",
        "secret",
        "set-cookie",
        "signature",
        "token",
        "x-amz-security-token",
        "x-amz-signature",
        "x-api-key",
        "x-auth-token",
        "x-csrf-token",
    }
)
"""Names of headers, query parameters, form fields and JSON members, in lower case."""


class Masker:
    """Puts the mask in the place of the values of some names, and leaves every other byte as it is."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(name.lower() for name in names)
        either = "|".join(sorted(map(re.escape, self.names))) or r"(?!)"
        self._json = re.compile(rf'("(?:{either})"\s*:\s*)("(?:[^"\\]|\\.)*"|-?[\d.eE+-]+)', re.IGNORECASE)
        self._pair = re.compile(rf"((?:^|[?&])(?:{either})=)[^&#]*", re.IGNORECASE)

    def headers(self, headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        return [(name, self._header(name.lower(), value)) for name, value in headers]

    def _header(self, name: str, value: str) -> str:
        if name not in self.names:
            return value
        if name == "set-cookie":  # the name and the attributes are no secret
            pair, semicolon, attributes = value.partition(";")
            return f"{pair.partition('=')[0]}={MASK}{semicolon}{attributes}"
        if name in ("authorization", "proxy-authorization") and " " in value:
            return f"{value.partition(' ')[0]} {MASK}"
        return MASK

    def url(self, url: str) -> str:
        split = urlsplit(url)
        host = split.netloc.rpartition("@")
        netloc = f"{MASK}@{host[2]}" if host[1] else split.netloc
        return urlunsplit(split._replace(netloc=netloc, query=self._pair.sub(rf"\g<1>{MASK}", split.query)))

    def text(self, text: str, content_type: str) -> str:
        """A body."""
        if content_type.startswith("application/x-www-form-urlencoded"):
            return self._pair.sub(rf"\g<1>{MASK}", text)
        return self._json.sub(rf'\g<1>"{MASK}"', text)
