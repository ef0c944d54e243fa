"""Tells which request runs: sets `asgi.current_scope` around the apps that other callers than our client run.

Starlette's (and so FastAPI's) `__call__` is wrapped at the class, for every caller: our client, TestClient, httpx,
uvicorn. For apps of other frameworks httpx's and uvicorn's own calls are wrapped. An app's frame is recognised in a
stack by its signature, `(scope, receive, send)`.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from contextvars import ContextVar
from types import ModuleType
from typing import Any

from pytest_asyncapi.asgi import current_scope
from pytest_asyncapi.blocking.slices import local_slot
from pytest_asyncapi.wire.imports import AfterImport

# module -> (class, method); all are public but uvicorn's
_TARGETS: dict[str, tuple[tuple[str, str], ...]] = {
    "starlette.applications": (("Starlette", "__call__"),),
    "httpx._transports.asgi": (("ASGITransport", "handle_async_request"),),
    "httpx2._transports.asgi": (("ASGITransport", "handle_async_request"),),
    "uvicorn.protocols.http.h11_impl": (("RequestResponseCycle", "run_asgi"),),
    "uvicorn.protocols.http.httptools_impl": (("RequestResponseCycle", "run_asgi"),),
}

# The test that runs now, and, in the context of a request, the test that sent it.
CURRENT_TEST: list[str | None] = [None]
SENT_BY: ContextVar[str | None] = ContextVar("asyncapi_sent_by", default=None)


def note(scope: Any, clock: Callable[[], int] = time.perf_counter_ns) -> None:
    """A request began in the slice that runs: for slices that end before the watchdog looks."""
    slot = local_slot()
    if slot is not None:
        slot.scope = (clock(), scope)


def _around_app(original: Any) -> Any:
    @functools.wraps(original)
    async def __call__(self: Any, scope: Any, receive: Any, send: Any) -> None:
        __tracebackhide__ = True
        note(scope)
        if current_scope.get() is scope:
            await original(self, scope, receive, send)
            return
        token = current_scope.set(scope)
        SENT_BY.set(CURRENT_TEST[0])
        try:
            await original(self, scope, receive, send)
        finally:
            _reset(token)

    return __call__


def _around_transport(original: Any) -> Any:
    @functools.wraps(original)
    async def handle_async_request(self: Any, request: Any) -> Any:
        __tracebackhide__ = True
        # What the transport itself will make of the request; an app of Starlette's puts the live scope in its place.
        token = current_scope.set({"type": "http", "method": request.method, "path": request.url.path})
        try:
            return await original(self, request)
        finally:
            _reset(token)

    return handle_async_request


def _around_cycle(original: Any) -> Any:
    @functools.wraps(original)
    async def run_asgi(self: Any, app: Any) -> None:
        __tracebackhide__ = True
        current_scope.set(self.scope)  # its task is its own
        note(self.scope)
        await original(self, app)

    return run_asgi


def _reset(token: Any) -> None:
    try:
        current_scope.reset(token)
    except ValueError:  # closed in another context than it was opened in
        current_scope.set(None)


_WRAPPERS = {"__call__": _around_app, "handle_async_request": _around_transport, "run_asgi": _around_cycle}


class Scopes:
    """The patches, and their undoing."""

    def __init__(self) -> None:
        self._patched: list[tuple[Any, str, Any, Any]] = []

    def install(self, imports: AfterImport) -> None:
        for name in _TARGETS:
            imports.watch(name, functools.partial(self._patch, name))

    def _patch(self, module_name: str, module: ModuleType) -> None:
        for class_name, method in _TARGETS[module_name]:
            holder = getattr(module, class_name, None)
            original = getattr(holder, "__dict__", {}).get(method)
            if original is None:
                continue
            wrapper = _WRAPPERS[method](original)
            setattr(holder, method, wrapper)
            self._patched.append((holder, method, original, wrapper))

    def uninstall(self) -> None:
        for holder, method, original, wrapper in reversed(self._patched):
            if holder.__dict__.get(method) is wrapper:
                setattr(holder, method, original)
        self._patched.clear()
