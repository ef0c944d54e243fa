"""Which router answers a request now. A stack for the whole process: a lifespan's task and the thread of a TestClient
must find the router that the test opened, so no context variable will do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from pytest_asyncapi.upstream.plan import Plan, planned

if TYPE_CHECKING:
    from pytest_asyncapi.upstream.request import Request
    from pytest_asyncapi.upstream.router import Upstream

STACK: list[Upstream] = []
_real: ContextVar[bool] = ContextVar("asyncapi_upstream_real", default=False)


def current(host: str, port: int | None) -> Upstream | None:
    """The innermost router, when it is to answer for this address; None lets the client do what it would."""
    if not STACK or _real.get():
        return None
    upstream = STACK[-1]
    return upstream if upstream.intercepts(host, port) else None


def plan_of(request: Request, host: str, port: int, decided: Plan | None) -> Plan | None:
    """What becomes of a request that a server for this address has read: what was decided above the wire, else what the
    router says now. None: nobody answers there any more."""
    if decided is not None:
        plan = decided.use()
        plan.request.proxy = request.proxy
        return plan
    upstream = current(host, port)
    return upstream.plan(request).use() if upstream is not None else None


@contextmanager
def real_network() -> Iterator[None]:
    """Requests of this context go out: for a recording, or a route that passes through."""
    real, plan = _real.set(True), planned.set(None)
    try:
        yield
    finally:
        planned.reset(plan)
        _real.reset(real)
