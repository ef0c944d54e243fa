"""A route: which requests it wants, what it answers them with, and which calls it had."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, SupportsIndex

from pytest_asyncapi.errors import UpstreamError, ours
from pytest_asyncapi.timeline import now
from pytest_asyncapi.upstream import arguments, matching
from pytest_asyncapi.upstream.effects import Callback, to_effect
from pytest_asyncapi.upstream.fault import Fault
from pytest_asyncapi.upstream.replies import Effect, Reply
from pytest_asyncapi.upstream.request import Request
from pytest_asyncapi.upstream.spellings import RouteSpellings
from pytest_asyncapi.upstream.urls import Template

if TYPE_CHECKING:
    from pytest_asyncapi.upstream.router import Upstream

__tracebackhide__ = ours


REPLY_ARGUMENTS = (
    "status",
    "json",
    "text",
    "html",
    "body",
    "headers",
    "cookies",
    "reason",
    "fault",
    "close",
    "chunked",
)


class Call:
    """One request and what became of it: `reply`, or the `error` (a fault or an exception) that it met."""

    def __init__(self, request: Request, route: Route | None) -> None:
        self.request = request
        self.route = route
        self.reply: Reply | None = None
        self.error: Fault | BaseException | type[BaseException] | None = None
        self.started = now()
        self.ended: float | None = None  # when the answer was known; the client may have to wait for it still

    @property
    def response(self) -> Reply | None:
        """respx's name for `reply`."""
        return self.reply

    @property
    def outcome(self) -> str:
        """The status or the failure, in a word or two."""
        if self.reply is not None:
            status = f"{self.reply.status} {self.reply.reason}".rstrip()
            return status if self.error is None else f"{status}, {self.error!r}"
        if self.error is None:
            return "no answer yet"
        return (
            repr(self.error)
            if isinstance(self.error, Fault)
            else getattr(self.error, "__name__", type(self.error).__name__)
        )

    def __repr__(self) -> str:
        return f"<Call {self.request.method} {self.request.url} -> {self.outcome}>"


class Calls(list[Call]):
    """The calls of a route or of a router, the oldest first."""

    @property
    def last(self) -> Call:
        if not self:
            raise UpstreamError("calls.last: there was no call.")
        return list.__getitem__(self, -1)

    @property
    def call_count(self) -> int:
        return len(self)

    def reset(self) -> None:
        """respx's name for `clear`."""
        self.clear()

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, SupportsIndex) and not -len(self) <= index.__index__() < len(self):
            raise IndexError(f"calls[{index}]: there were {len(self)} calls: {list(self)}")
        return super().__getitem__(index)


class Route(RouteSpellings):
    """What answers some of the requests. ``upstream.get(url)`` and its like make one; :meth:`reply` says with what.

    Without a reply a route answers 200 with no body. It must be called in the test, unless ``required=False``.
    """

    def __init__(
        self,
        upstream: Upstream,
        number: int,
        method: str | Iterable[str] | None,
        url: Any,
        *,
        name: str | None = None,
        required: bool | None = None,
        **wanted: Any,
    ) -> None:
        self.upstream = upstream
        self.number = number
        self.methods = arguments.methods(method)
        self.pattern: re.Pattern[str] | None = url if isinstance(url, re.Pattern) else None
        self.template = Template(url) if url is not None and self.pattern is None else None
        if name is not None and not isinstance(name, str):
            raise UpstreamError(f"upstream route: name={name!r} is no str.")
        if required is not None and not isinstance(required, bool):
            raise UpstreamError(f"upstream route: required={required!r} is neither True nor False.")
        self.name = name
        self.required = required
        self.calls = Calls()
        self.websocket = False
        self._effects: list[Effect] = [Reply()]
        self._next = 0
        self._latency = 0.0
        self._spent: list[Reply] = []
        if self.template is not None and self.template.query:
            wanted["params"] = _merged(self.template.query, wanted.get("params"))
        self._head_checks = matching.checks(wanted, matching.HEAD)
        self._body_checks = matching.checks(wanted, matching.BODY)
        self.contract: list[matching.Check] = []

    def __repr__(self) -> str:
        url = (
            self.template.url
            if self.template is not None
            else self.pattern.pattern
            if self.pattern is not None
            else "*"
        )
        name = f" {self.name!r}" if self.name else ""
        return f"<Route{name} {'|'.join(sorted(self.methods)) if self.methods else 'ANY'} {url}>"

    # -- matching

    def differs(self, request: Request, *, head_only: bool = False) -> tuple[int, str] | None:
        """None when the route answers this request; else how far it agrees (the higher the nearer), and what
        differs."""
        if self.template is not None:
            params = self.template.match(request)
            if isinstance(params, str):
                return (("host", "scheme", "port", "path").index(params.partition(" ")[0]), params)
            request.path_params = params
        elif self.pattern is not None:
            if not self.pattern.search(request.url):
                return (0, f"the URL does not match {self.pattern.pattern!r}")
            request.path_params = {}
        if self.methods and request.method not in self.methods:
            return (4, f"method is {request.method}, the route wants {' or '.join(sorted(self.methods))}")
        if self.websocket and not request.is_websocket:
            return (5, "the request is no websocket handshake, the route wants one")
        for check in self._head_checks:
            if why := check(request):
                return (6, why)
        if not head_only:
            for check in self._body_checks:
                if why := check(request):
                    return (7, why)
        return None

    def add_check(self, check: matching.Check, *, contract: bool = False) -> None:
        """One thing more that is wanted of a request. A request that breaks a contract is this route's, and an
        error."""
        (self.contract if contract else self._body_checks).append(check)

    @property
    def wants_body(self) -> bool:
        """It can only be told from the body whether the request is for this route."""
        return bool(self._body_checks)

    # -- what it answers

    def reply(self, *values: Any, latency: float | None = None, **reply: Any) -> Route:
        """Answer with these values one after the other; the last repeats.

        A value is a dict, list or None (JSON), a str, bytes, a status, ``(status, value)``, a :class:`Reply`, a
        response object of httpx, httpx2, aiohttp.web or Starlette, a fault, an exception, or a callable (plain or
        async) that is given the request and the path parameters and returns any of these. Keyword arguments are those
        of :class:`Reply`.
        """
        if reply:
            if len(values) > 1 or (values and not isinstance(values[0], int)):
                shown = ", ".join([*map(repr, values), *(f"{each}=..." for each in reply)])
                raise UpstreamError(f"reply({shown}): give values, or the arguments of one Reply, not both.")
            for name in reply:
                if name not in REPLY_ARGUMENTS:
                    raise UpstreamError(
                        f"reply({name}=...): there is no such argument; they are {', '.join(REPLY_ARGUMENTS)}, latency."
                    )
            self._effects = [Reply(*values, **reply)]
        else:
            self._effects = [to_effect(value) for value in values] or [Reply()]
        self._next = 0
        self._latency = arguments.latency(latency or 0.0)
        self.upstream._route_changed(self)
        return self

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """As a decorator: ``@upstream.get(url)``."""
        self.reply(function)
        return function

    def pass_through(self) -> Route:
        """Let the real service answer."""
        from pytest_asyncapi.upstream.real import PassThrough

        self._effects = [PassThrough(self.upstream)]
        self.required = False if self.required is None else self.required
        return self

    # -- what the router asks

    def peek(self) -> Effect:
        """The effect of the next call."""
        return self._held_back(self._effects[self._next])

    def take(self) -> Effect:
        """The effect of this call."""
        effect = self._effects[self._next]
        if self._next < len(self._effects) - 1:
            self._next += 1
        if isinstance(effect, Reply) and effect.once:
            if effect in self._spent:
                raise UpstreamError(
                    f"{self!r} has sent the iterator that is its answer, and it is used up: answer with a function"
                    " that makes a new one."
                )
            self._spent.append(effect)
        return self._held_back(effect)

    def _held_back(self, effect: Effect) -> Effect:
        return _late(effect, self._latency) if self._latency else effect

    @property
    def fails_early(self) -> bool:
        """Some answer is a fault that comes before the request has arrived."""
        return any(isinstance(each, Fault) and (each.while_connecting or each.while_sending) for each in self._effects)

    # -- afterwards

    def assert_called(self, times: int | None = None) -> None:
        """Called so many times; at least once when no number is given."""
        self.upstream._assert_calls(self, times)

    def reset(self) -> None:
        """Forget the calls, and start again with the first of the replies."""
        self.calls.clear()
        self._next = 0


def _late(effect: Effect, latency: float) -> Effect:
    if isinstance(effect, Reply):
        return effect if effect.latency else effect.changed(latency=latency)
    if isinstance(effect, Callback):
        return effect.later(latency)
    if isinstance(effect, Fault):
        return Reply(fault=effect, latency=latency)
    return effect


def _merged(query: list[tuple[str, str]], params: Any) -> dict[str, Any]:
    """What the URL's own query wants, together with `params`."""
    wanted: dict[str, Any] = {}
    for name, value in query:
        wanted.setdefault(name, []).append(value)
    return {**wanted, **(arguments.mapping("params", params) if params else {})}
