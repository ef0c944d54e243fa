"""What a route may want of a request besides its URL, each as a check that says what differs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from pytest_asyncapi.errors import UpstreamError
from pytest_asyncapi.upstream import arguments
from pytest_asyncapi.upstream.replies import UNSET
from pytest_asyncapi.upstream.request import Request

Check = Callable[[Request], str | None]
"""None when the request is as wanted, else what differs."""


def same(want: Any, got: Any) -> bool:
    """Equality, or a search when a regular expression is wanted."""
    if isinstance(want, re.Pattern):
        return isinstance(got, str) and want.search(got) is not None
    return bool(want == got)


def subset(want: Any, got: Any) -> bool:
    """Everything wanted is there: of an object the names, of a list each element in its place."""
    if isinstance(want, Mapping) and isinstance(got, Mapping):
        return all(name in got and subset(value, got[name]) for name, value in want.items())
    if isinstance(want, list) and isinstance(got, list):
        return len(want) == len(got) and all(map(subset, want, got))
    return same(want, got)


def written(want: Any) -> str:
    """A wanted value for a message."""
    return f"a match of {want.pattern!r}" if isinstance(want, re.Pattern) else repr(want)


def _text(value: Any) -> Any:
    """A value as a client writes it into a query or a form."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
    return value


def _values(
    kind: str, argument: str, wanted: Mapping[str, Any], get: Callable[[Request], Mapping[str, list[str]]]
) -> Check:
    """For names that may have several values: those of a wanted name are all of them, in order."""
    texts = {
        name: [_text(each) for each in value] if isinstance(value, list | tuple) else [_text(value)]
        for name, value in arguments.mapping(argument, wanted).items()
    }

    def check(request: Request) -> str | None:
        have = get(request)
        for name, values in texts.items():
            wish = f"the route wants {', '.join(map(written, values))}"
            if name not in have:
                return f"{kind} {name!r} is missing, {wish}"
            got = have[name]
            if len(got) != len(values) or not all(map(same, values, got)):
                return f"{kind} {name!r} is {', '.join(map(repr, got))}, {wish}"
        return None

    return check


def query(params: Mapping[str, Any]) -> Check:
    return _values("query", "params", params, lambda request: request.query)


def form(fields: Mapping[str, Any]) -> Check:
    return _values("form field", "form", fields, lambda request: request.form)


def _mapping(kind: str, wanted: Mapping[str, Any], get: Callable[[Request], Mapping[str, str]]) -> Check:
    wanted = {name: _text(value) for name, value in arguments.mapping(f"{kind}s", wanted).items()}

    def check(request: Request) -> str | None:
        have = get(request)
        for name, want in wanted.items():
            if name not in have:
                return f"{kind} {name!r} is missing, the route wants {written(want)}"
            if not same(want, have[name]):
                return f"{kind} {name!r} is {have[name]!r}, the route wants {written(want)}"
        return None

    return check


def headers(wanted: Mapping[str, Any]) -> Check:
    return _mapping("header", wanted, lambda request: request.headers)


def cookies(wanted: Mapping[str, Any]) -> Check:
    return _mapping("cookie", wanted, lambda request: request.cookies)


def _shown(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:300]}... ({len(text)} characters)"


def json_equal(want: Any) -> Check:
    return _json(lambda got: same(want, got), f"the route wants {want!r}")


def json_subset(want: Any) -> Check:
    return _json(lambda got: subset(want, got), f"the route wants at least {want!r}")


def _json(holds: Callable[[Any], bool], wish: str) -> Check:
    def check(request: Request) -> str | None:
        try:
            got = request.json()
        except ValueError:
            return _shown(f"the body is no JSON: {request.content[:80]!r}, {wish}")
        return None if holds(got) else _shown(f"json is {got!r}, {wish}")

    return check


def content(want: bytes | str | re.Pattern[str]) -> Check:
    if isinstance(want, str):
        want = want.encode()
    if not isinstance(want, bytes | re.Pattern):
        raise UpstreamError(f"upstream route: content={want!r} is neither bytes nor a str or a regular expression.")

    def check(request: Request) -> str | None:
        got: Any = request.content
        if isinstance(want, re.Pattern) and isinstance(want.pattern, str):
            got = got.decode(errors="replace")
        found = want.search(got) if isinstance(want, re.Pattern) else want == got
        return None if found else _shown(f"the body is {got!r}, the route wants {written(want)}")

    return check


def files(wanted: Mapping[str, Any]) -> Check:
    """A file is wanted by its name (str), its bytes, or as ``(filename, content type, bytes)``."""

    def holds(want: Any, file: tuple[str, str, bytes]) -> bool:
        match want:
            case bytes():
                return want == file[2]
            case tuple():
                return want == file
        return same(want, file[0])

    wanted = arguments.mapping("files", wanted)
    for name, want in wanted.items():
        if not isinstance(want, str | bytes | tuple | re.Pattern):
            raise UpstreamError(
                f"upstream route: the file {name!r} is wanted as {want!r}; give its name (str), its bytes, or"
                " (filename, content type, bytes)."
            )

    def check(request: Request) -> str | None:
        for name, want in wanted.items():
            got = request.files.get(name)
            if not got:
                return f"file {name!r} is missing"
            if not any(holds(want, file) for file in got):
                return _shown(f"file {name!r} is {got[0]!r}, the route wants {written(want)}")
        return None

    return check


def predicate(where: Any) -> Check:
    """A callable that is given the request, or a pattern of respx."""
    if not callable(where) and hasattr(where, "match"):
        from pytest_asyncapi.upstream.respx_patterns import respx_predicate

        where = respx_predicate(where)
    if not callable(where):
        raise UpstreamError(f"upstream route: where={where!r} is no function of the request, and no respx pattern.")

    def check(request: Request) -> str | None:
        try:
            holds = where(request)
        except Exception as exc:
            raise UpstreamError(f"where={getattr(where, '__name__', where)!s} failed: {exc!r}") from exc
        return None if holds else f"where={getattr(where, '__name__', where)!s} said no"

    return check


HEAD: Mapping[str, Callable[[Any], Check]] = {"params": query, "headers": headers, "cookies": cookies}
BODY: Mapping[str, Callable[[Any], Check]] = {
    "json": json_equal,
    "json_subset": json_subset,
    "content": content,
    "form": form,
    "files": files,
    "where": predicate,
}


def checks(wanted: Mapping[str, Any], kinds: Mapping[str, Callable[[Any], Check]]) -> list[Check]:
    """The checks of those arguments of a route that were given."""
    return [make(wanted[name]) for name, make in kinds.items() if wanted.get(name, UNSET) is not UNSET]
