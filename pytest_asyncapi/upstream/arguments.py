"""What a user gave to a route or a reply, checked where it is given: a mistake is told there, and not by a request
later."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from pytest_asyncapi.errors import UpstreamError, ours

__tracebackhide__ = ours

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_UNSENDABLE = re.compile(r"[\r\n\0]")
_BODIES = "bytes, or an iterator or async iterator of bytes (for a str write text=)"


def methods(method: Any) -> frozenset[str]:
    """The methods of a route: one, several, or None for any."""
    if method is None:
        return frozenset()
    several = [method] if isinstance(method, str) else method
    if not isinstance(several, Collection) or isinstance(several, bytes) or not several:
        raise UpstreamError(f"upstream route: the method {method!r} is no str such as 'GET', and no list of them.")
    for each in several:
        if not isinstance(each, str) or not _TOKEN.fullmatch(each):
            raise UpstreamError(f"upstream route: the method {each!r} is no str such as 'GET'; several are a list.")
    return frozenset(each.upper() for each in several)


def mapping(what: str, value: Any) -> dict[str, Any]:
    """A mapping of names to values, or pairs of them; a name that is there several times gets a list."""
    pairs = value.items() if isinstance(value, Mapping) else value
    found: dict[str, Any] = {}
    try:
        for name, each in () if isinstance(pairs, str | bytes) else pairs:
            if not isinstance(name, str):
                raise TypeError(name)
            if name not in found:
                found[name] = each
            else:
                found[name] = [*(found[name] if isinstance(found[name], list) else [found[name]]), each]
    except (TypeError, ValueError):
        found = {}
    if not found and (isinstance(value, str | bytes) or not _is_empty(value)):
        raise UpstreamError(f"upstream route: {what}={value!r} is no mapping of names (str) to values.")
    return found


def _is_empty(value: Any) -> bool:
    try:
        return not len(value)
    except TypeError:
        return False


def headers(value: Any) -> list[tuple[str, str]]:
    """The headers of a reply: a mapping, or pairs; they must be such as can be sent."""
    try:
        pairs = value.items() if isinstance(value, Mapping) else value
        found = [(str(name), str(each)) for name, each in pairs]
    except (TypeError, ValueError):
        raise UpstreamError(f"reply headers {value!r}: give a mapping of names to values, or pairs of them.") from None
    for name, each in found:
        if not _TOKEN.fullmatch(name):
            raise UpstreamError(f"reply headers: {name!r} is no name of a header.")
        if _UNSENDABLE.search(each) or not _is_latin_1(each):
            raise UpstreamError(
                f"reply headers: the value {each!r} of {name!r} cannot be sent: it has a line break, or a character"
                " that is not in Latin-1."
            )
    return found


def _is_latin_1(text: str) -> bool:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True


def status(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 100 <= value <= 599:
        raise UpstreamError(
            f"reply({value!r}): an HTTP status is between 100 and 599; for a JSON number write Reply(json={value!r})."
        )
    return int(value)


def reason(value: Any) -> str:
    if not isinstance(value, str) or _UNSENDABLE.search(value) or not _is_latin_1(value):
        raise UpstreamError(f"reply reason {value!r}: it is a str in one line, such as 'OK'.")
    return value


def text(what: str, value: Any) -> bytes:
    if not isinstance(value, str):
        raise UpstreamError(f"Reply({what}={value!r}): it is a str; for bytes write body=.")
    return value.encode()


def body(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, str) or not (hasattr(value, "__aiter__") or isinstance(value, Iterable)):
        raise UpstreamError(f"Reply(body={value!r}): a body is {_BODIES}.")
    return value


def chunk(value: Any) -> bytes:
    """A piece of a body that an iterator gave."""
    if not isinstance(value, bytes | bytearray | memoryview):
        raise UpstreamError(f"the iterator of a reply's body gave {value!r}: its chunks are bytes.")
    return bytes(value)


def latency(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise UpstreamError(f"latency={value!r}: it is a number of seconds, 0 or more.")
    return value
