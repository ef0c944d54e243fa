"""The requests of a test as events, for the page of a run."""

from __future__ import annotations

from typing import Any

from pytest_asyncapi.client.recorder import Recorder
from pytest_asyncapi.masking import masked, masked_prose
from pytest_asyncapi.timeline import Event


def events(recorder: Recorder) -> list[Event]:
    return [_event(request, exchange, began) for request, exchange, began in recorder.entries]


def _event(request: Any, exchange: Any, began: float) -> Event:
    socket = exchange.scope["type"] == "websocket"
    url = request.url.raw_path.decode("ascii", "replace")
    failed = exchange.exc is not None and not exchange.noticed_departure()
    status = str(exchange.status) if not socket and exchange.started else "no response"
    lines = []
    template = getattr(exchange.scope.get("route"), "path", None)
    if template:
        lines.append(f"route {exchange.scope.get('root_path', '')}{template}")
    if failed:
        lines.append(masked_prose(f"raised {type(exchange.exc).__name__}: {exchange.exc}"))
    if not socket and exchange.started and not exchange.complete:
        lines.append("the body did not end")
    return Event(
        "request",
        began,
        exchange.ended - began if exchange.ended is not None else None,
        f"{'WEBSOCKET' if socket else request.method} {masked(url)}",
        str(exchange.state) if socket else status,
        "\n".join(lines),
        failed or (not socket and (exchange.status >= 500 or not exchange.started)),
    )
