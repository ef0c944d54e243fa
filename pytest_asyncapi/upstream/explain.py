"""The words of the router: which routes came near, what was called, what was not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from pytest_asyncapi.masking import masked

if TYPE_CHECKING:
    from pytest_asyncapi.upstream.request import Request
    from pytest_asyncapi.upstream.routes import Call, Route

SHOWN = 3


def unmatched(request: Request, routes: Sequence[Route]) -> str:
    """Why no route answers, with the nearest routes first."""
    lines = [f"no upstream route answers {request.method} {masked(request.url)} (sent by {request.client})"]
    near = []
    for route in routes:
        if differs := route.differs(request):
            step, why = differs
            near.append((step, _likeness(request, route), route.number, f"  {route!r}: {why}"))
    lines += [text for *_, text in sorted(near, reverse=True)[:SHOWN]]
    if len(near) > SHOWN:
        lines.append(f"  and {len(near) - SHOWN} routes that are further off")
    if not near:
        lines.append("  no routes are set up")
    lines.append(f"  If it is on purpose: {_suggestion(request)}.reply(...)")
    return "\n".join(lines)


def _likeness(request: Request, route: Route) -> float:
    return SequenceMatcher(None, request.url, route.template.url).ratio() if route.template is not None else 0.0


def _suggestion(request: Request) -> str:
    url = masked(request.url.partition("?")[0])
    if request.is_websocket:
        return f"upstream.ws({url!r})"
    verb = request.method.lower()
    if verb in ("get", "post", "put", "patch", "delete", "head", "options"):
        return f"upstream.{verb}({url!r})"
    return f"upstream.route({request.method!r}, {url!r})"


def unused(routes: Iterable[Route], calls: Sequence[Call]) -> str:
    lines = [f"upstream route never called: {route!r}" for route in routes]
    return "\n".join([*lines, *_history(calls), "  If it is on purpose: required=False on the route."])


def wrong_count(what: str, times: int | None, calls: Sequence[Call], everything: Sequence[Call] = ()) -> str:
    wanted = "at least one call" if times is None else f"{times} call{'' if times == 1 else 's'}"
    return "\n".join([f"{what}: {len(calls)} calls, expected {wanted}", *_history(everything or calls)])


def _history(calls: Sequence[Call]) -> list[str]:
    return [
        f"  upstream was asked: {call.request.method} {masked(call.request.url)} -> {call.outcome}"
        for call in calls[-10:]
    ]


def report(calls: Sequence[Call]) -> str:
    """The calls of a test, for its report."""
    lines = []
    for call in calls:
        request = call.request
        route = f" by {call.route!r}" if call.route is not None else " by no route"
        lines.append(f"{request.method} {masked(request.url)} ({request.client}) -> {call.outcome}{route}")
        if request.content:
            lines.append(f"    body: {_shown(request.content)}")
    return "\n".join(lines)


def _shown(content: bytes, limit: int = 400) -> str:
    try:
        text = masked(content.decode())
    except UnicodeDecodeError:
        return f"{len(content)} bytes, {content[:40]!r}"
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"
