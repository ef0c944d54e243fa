"""Tells which request runs: sets `asgi.current_scope` around the apps that other callers than our client run.

Starlette's (and so FastAPI's) `__call__` is wrapped at the class, for every caller: our client, TestClient, httpx,
uvicorn. For apps of other frameworks httpx's and uvicorn's own calls are wrapped. An app's frame is recognised in a
stack by its signature, `(scope, receive, send)`.

All this runs at each request, so it is lean: a context variable is set once, and where the caller sets it back, the
app's coroutine is the caller's own, with no coroutine of ours around it.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Iterator, MutableMapping
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


class Sent(MutableMapping[str, Any]):
    """The scope of a request that httpx hands to an app: the live one, once an app of Starlette's has told it.

    Until then it is what the transport itself will make of the request. Most are never looked into: httpx decodes a
    path anew each time that it is asked.
    """

    __slots__ = ("_request", "live")

    def __init__(self, request: Any) -> None:
        self._request = request
        self.live: MutableMapping[str, Any] | None = None

    def _scope(self) -> MutableMapping[str, Any]:
        if self.live is None:
            self.live = {"type": "http", "method": self._request.method, "path": self._request.url.path}
        return self.live

    def __getitem__(self, key: str) -> Any:
        return self._scope()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._scope()[key] = value

    def __delitem__(self, key: str) -> None:
        del self._scope()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._scope())

    def __len__(self) -> int:
        return len(self._scope())


def note(scope: Any) -> None:
    """A request began in the slice that runs: for slices that end before the watchdog looks."""
    slot = local_slot()
    if slot is not None:
        slot.scope = (slot.start, scope)


def _sent() -> None:
    """In the context of a request: which test has sent it."""
    if CURRENT_TEST[0] is not None:
        SENT_BY.set(CURRENT_TEST[0])


def _around_app(original: Any) -> Any:
    async def held(self: Any, scope: Any, receive: Any, send: Any) -> None:
        __tracebackhide__ = True
        token = current_scope.set(scope)
        _sent()
        try:
            await original(self, scope, receive, send)
        finally:
            _reset(token)

    @functools.wraps(original)
    def __call__(self: Any, scope: Any, receive: Any, send: Any) -> Any:
        __tracebackhide__ = True
        known = current_scope.get()
        if known is scope:
            note(scope)
        elif type(known) is Sent:
            known.live, known._request = scope, None
            note(known)
        else:
            note(scope)
            return held(self, scope, receive, send)
        return original(self, scope, receive, send)  # whoever has set the scope sets it back

    return _like_a_coroutine_function(__call__)


def _like_a_coroutine_function(function: Any) -> Any:
    """Servers tell an app of ASGI 3 by its being a coroutine function."""
    mark = getattr(inspect, "markcoroutinefunction", None)
    if mark is not None:
        return mark(function)
    # Python 3.11: asyncio has a mark, `inspect` asks the code. CPython runs the instructions, whatever the flag says.
    function._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]
    function.__code__ = function.__code__.replace(co_flags=function.__code__.co_flags | inspect.CO_COROUTINE)
    return function


def _around_transport(original: Any) -> Any:
    @functools.wraps(original)
    async def handle_async_request(self: Any, request: Any) -> Any:
        __tracebackhide__ = True
        token = current_scope.set(Sent(request))
        _sent()
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
