"""From what a route was given to what the client gets: values are made into replies, callables are called."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable
from copy import copy
from typing import Any

from pytest_asyncapi.errors import UpstreamError, ours
from pytest_asyncapi.upstream.fault import Fault, faults
from pytest_asyncapi.upstream.replies import Answer, Effect, Reply, to_reply
from pytest_asyncapi.upstream.request import Request

__tracebackhide__ = ours


class Callback:
    """A callable as an effect. It is given the request and, by name, those path parameters that it takes."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.latency = 0.0
        self.is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004 - an object whose __call__ is async
        )
        self.takes_all = False
        self.names: list[str] = []
        self.first: str | None = "request"
        with contextlib.suppress(TypeError, ValueError):  # a builtin without a signature
            parameters = inspect.signature(function).parameters.values()
            self.takes_all = any(each.kind is each.VAR_KEYWORD for each in parameters)
            self.names = [each.name for each in parameters]
            named = (each.name for each in parameters if each.kind not in (each.KEYWORD_ONLY, each.VAR_KEYWORD))
            self.first = next(named, None)

    def __repr__(self) -> str:
        return getattr(self.function, "__qualname__", repr(self.function))

    speaks_websocket = False

    def call_now(self, request: Request) -> Any:
        """Call it for a client that has no event loop."""
        return self(request)

    def later(self, latency: float) -> Callback:
        """The same, whose answer is held back for so many seconds."""
        late = copy(self)
        late.latency = latency
        return late

    def answer(self, value: Any) -> Answer:
        """What the callable returned, as an answer."""
        answer = to_reply(value)
        if self.latency and isinstance(answer, Reply) and not answer.latency:
            return answer.changed(latency=self.latency)
        return answer

    def __call__(self, request: Request) -> Any:
        params = request.path_params
        if not self.takes_all:
            params = {name: value for name, value in params.items() if name in self.names}
        if self.first is None or self.first in params:
            return self.function(**params)
        return self.function(request, **params)


def to_effect(value: Any) -> Effect:
    """A value that was written in ``reply(...)``; a class is an exception or a mistake, any other callable is
    called."""
    if isinstance(value, Callback):
        return value
    if value is faults.truncate:
        raise UpstreamError("reply(faults.truncate): say after how many bytes, as in faults.truncate(10).")
    if (
        callable(value)
        and not isinstance(value, type | Reply | Fault)
        and "status_code" not in getattr(value, "__dict__", ())
    ):
        return Callback(value)
    return to_reply(value)


def answer_now(effect: Effect, request: Request, route: Any) -> Answer:
    """The answer of an effect that need not wait; for a callable under a client without an event loop."""
    if not isinstance(effect, Callback):
        return effect  # type: ignore[return-value]
    value = effect.call_now(request)
    if inspect.isawaitable(value):
        if inspect.iscoroutine(value):
            value.close()
        raise UpstreamError(
            f"{route!r} is answered by the async callable {effect!r}, but {request.client}'s sync client sent"
            f" {request.method} {request.url} and has no event loop to run it in. Make it a plain function, or send"
            " with the async client."
        )
    return effect.answer(value)


async def answer_of(effect: Effect, request: Request) -> Answer:
    """The answer of any effect."""
    if not isinstance(effect, Callback):
        return effect  # type: ignore[return-value]
    value = effect(request)
    if inspect.isawaitable(value):
        value = await value
    return effect.answer(value)
