"""The upstream calls of a test as events, for the page of a run."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_asyncapi.masking import masked
from pytest_asyncapi.timeline import Event
from pytest_asyncapi.upstream.routes import Call


def events(calls: Iterable[Call]) -> list[Event]:
    return [_event(call) for call in calls]


def _event(call: Call) -> Event:
    lines = [f"sent by {call.request.client}" if call.request.client else ""]
    lines.append(f"answered by {call.route!r}" if call.route is not None else "no route answers it")
    if call.reply is not None and call.reply.latency:
        lines.append(f"with a latency of {call.reply.latency:g} s")
    return Event(
        "upstream",
        call.started,
        call.ended - call.started if call.ended is not None else None,
        f"{call.request.method} {masked(call.request.url)}",
        call.outcome if call.route is not None else "no route",
        "\n".join(filter(None, map(masked, lines))),
        call.route is None or call.error is not None or (call.reply is not None and call.reply.status >= 500),
    )
