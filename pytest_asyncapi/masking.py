"""Secrets, put out of sight: the one place that says what a secret is, for every text that leaves a test.

`masked(text)` is for reports and messages, where all that looks like a secret goes. A `Masker` is for recordings: it
knows the names that it is given, and leaves every other byte as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit, urlunsplit

MASK = "***"

_SECRET = r"password|passwd|passphrase|secret|token|api[-_]?key|access[-_]?key|private[-_]?key|authorization|session"
_SECRET_PARAMETER = rf"{_SECRET}|signature|credential|\bsig\b"
_SECRET_HEADER = re.compile(rf"(?:{_SECRET}|cookie|auth|signature)", re.IGNORECASE)
_JSON_FIELD = re.compile(rf'("[^"\\]*(?:{_SECRET})[^"\\]*"\s*:\s*)("(?:[^"\\]|\\.)*"?|[^,\]}}\s"]+)', re.IGNORECASE)
_JSON_IN_JSON = re.compile(
    rf'(\\"[^"\\]*(?:{_SECRET})[^"\\]*\\"\s*:\s*)\\"(?:\\\\\\"|\\\\|[^"\\]|\\[^"\\])*(?:\\")?', re.IGNORECASE
)
_FORM_FIELD = re.compile(
    rf"((?:^|[?&;])[^=&?;\s'\"]*(?:{_SECRET}|signature|credential)[^=&?;\s'\"]*=)[^&;\s#'\"]*", re.IGNORECASE
)
# Up to the last @, for people do not quote what they should; but digits before a slash are a port.
_USER_INFO = re.compile(r"(://[^/@\s:'\"\[]*):(?!\d+(?:[/?#]|$))[^\s'\"]*@")
_LONE_USER = re.compile(r"\b(https?|wss?)(://)[^/@\s:'\"]+@", re.IGNORECASE)

# What is looked for in prose only.
_DICT_FIELD = re.compile(
    rf"('[^'\\\n]*(?:{_SECRET})[^'\\\n]*'\s*:\s*)b?(?:'(?:[^'\\]|\\.)*'|\"[^\"]*\")", re.IGNORECASE
)
_ARGUMENT = re.compile(
    rf"(\b\w*(?:{_SECRET})\w*=)(?![=\s*])(?:b?'[^'\n]*'|b?\"[^\"\n]*\"|[^\s,;&)'\"]+)", re.IGNORECASE
)
_HEADER_LINE = re.compile(
    r"\b((?:proxy-)?authorization|(?:set-)?cookie|x-[\w-]*(?:key|token|secret|signature))(:\s*)"
    r"((?:Basic|Bearer|Digest|Token)\s+)?(?!(?:Basic|Bearer|Digest|Token|str|bytes|Annotated|None)\b|\*)[^\s'\",<>]+",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\b(Basic|Bearer|Digest)(\s+)[\w.~+/-]{6,}=*")
_SQL_VALUE = re.compile(
    rf"(\b\w*(?:{_SECRET})\w*\"?(?:\s*(?:=|<>|!=)\s*|\s+(?:like\s+)?))E?'(?:[^']|'')*'", re.IGNORECASE
)
_SCHEME = re.compile(r"^(Basic|Bearer|Digest|Token)\s", re.IGNORECASE)


def masked(text: str) -> str:
    """The text with the values of secrets replaced: in URLs, queries, forms and JSON."""
    text = _JSON_FIELD.sub(rf'\1"{MASK}"', text)
    text = _FORM_FIELD.sub(rf"\1{MASK}", text)
    text = _USER_INFO.sub(rf"\1:{MASK}@", text)
    return _LONE_USER.sub(rf"\1\2{MASK}@", text)


def masked_prose(text: str) -> str:
    """The same for a text of any kind, such as a traceback or what was logged: headers, dictionaries and SQL too.

    It masks rather too much than too little, so it is for reports that are passed on.
    """
    text = _JSON_IN_JSON.sub(rf'\1\\"{MASK}\\"', text)
    text = _DICT_FIELD.sub(rf"\1'{MASK}'", masked(text))
    text = _HEADER_LINE.sub(rf"\1\2\3{MASK}", _ARGUMENT.sub(rf"\1{MASK}", text))
    return masked_sql(_BEARER.sub(rf"\1\2{MASK}", text))


def masked_sql(sql: str) -> str:
    """A statement with the literal values of secret columns replaced."""
    return _SQL_VALUE.sub(rf"\1'{MASK}'", sql)


def masked_header(name: str, value: str) -> str:
    """The value of a header, or its mask."""
    if not _SECRET_HEADER.search(name):
        return masked(value)
    scheme = _SCHEME.match(value)
    return f"{scheme.group(0)}{MASK}" if scheme else MASK


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
"""Names of headers, query parameters, form fields and JSON members, in lower case, that a recording masks."""


class Masker:
    """Puts the mask in the place of the values of some names, and leaves every other byte as it is."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(name.lower() for name in names)
        either = "|".join(sorted(map(re.escape, self.names))) or r"(?!)"
        string = r'"(?:[^"\\]|\\.)*"'
        flat = rf'\[(?:[^][{{}}"]|{string})*\]|\{{(?:[^][{{}}"]|{string})*\}}'  # a list or an object of plain values
        self._json = re.compile(rf'("(?:{either})"\s*:\s*)({string}|-?[\d.eE+-]+|{flat})', re.IGNORECASE)
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
        if content_type.lower().startswith("application/x-www-form-urlencoded"):
            return self._pair.sub(rf"\g<1>{MASK}", text)
        return self._json.sub(rf'\g<1>"{MASK}"', text)
