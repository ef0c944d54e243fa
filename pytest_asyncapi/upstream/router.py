"""The router: where a test says what the services behind its app answer, and asks afterwards what they were asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from pytest_asyncapi.errors import ContractError, UnmatchedRequest, UnusedRoute, UpstreamError, ours
from pytest_asyncapi.masking import masked
from pytest_asyncapi.upstream import active, clients, explain
from pytest_asyncapi.upstream.fault import Fault
from pytest_asyncapi.upstream.plan import Plan
from pytest_asyncapi.upstream.replies import Effect
from pytest_asyncapi.upstream.request import Request
from pytest_asyncapi.upstream.routes import Call, Calls, Route
from pytest_asyncapi.upstream.spellings import RouterSpellings
from pytest_asyncapi.upstream.urls import RouteIndex
from pytest_asyncapi.wire.hosts import Hosts, is_loopback, plain

if TYPE_CHECKING:
    from pytest_asyncapi.upstream.cassette import Cassette

__tracebackhide__ = ours

ROUTE_ARGUMENTS = (
    "params",
    "headers",
    "cookies",
    "json",
    "json_subset",
    "content",
    "form",
    "files",
    "where",
    "name",
    "required",
)


class Connection(Protocol):
    """A connection of a client to this router, ended when the router goes."""

    def kill(self) -> None: ...


class Upstream(RouterSpellings):
    """Answers for every service that the app calls through aiohttp, httpx or httpx2, as long as its ``with`` block
    runs.

    The newest route that matches wins. A request that no route answers raises :class:`UnmatchedRequest` into the
    client; when the block ends, such requests (`strict`) and routes that were not called (`assert_all_called`) are an
    error, even when the app has swallowed the first. Loopback addresses and the hosts of `allow` are not touched,
    unless a route names them. `wire=True` answers httpx and httpx2 always through a connection of bytes, also where a
    shorter way is the same.
    """

    def __init__(
        self,
        *,
        strict: bool = True,
        assert_all_called: bool = True,
        allow: Iterable[str] = (),
        wire: bool = False,
        record: str = "none",
        outside: Callable[[str], AbstractContextManager[Any]] | None = None,
    ) -> None:
        if record not in ("none", "new", "all"):
            raise UpstreamError(f"Upstream(record={record!r}): it is one of none, new, all.")
        self.strict = strict
        self.assert_all_called_at_exit = assert_all_called
        self.wire = wire
        self.record = record
        self.outside = outside or (lambda host: nullcontext())
        self.routes: list[Route] = []
        self.calls = Calls()
        self.problems: list[str] = []
        self.checks: list[Callable[[], str | None]] = []
        self.cassettes: list[Cassette] = []
        self.at_exit: list[Callable[[], None]] = []
        self.connections: set[Connection] = set()
        self.has_early_faults = False
        self._allow = Hosts(allow)
        self._index = RouteIndex()
        self._addresses: set[tuple[str, int]] = set()
        self._intercepts: dict[tuple[str, int | None], bool] = {}
        self._opened: list[AbstractContextManager[Upstream]] = []

    def __repr__(self) -> str:
        return f"<Upstream {len(self.routes)} routes, {len(self.calls)} calls>"

    # -- routes

    def route(self, method: str | Iterable[str] | None = None, url: Any = None, **wanted: Any) -> Route:
        """A route for one method, several, or (None) any; `url` is a template, a regular expression, or None for any
        URL.

        It wants of a request what these arguments name, each of them a part of it: `params`, `headers`, `cookies` and
        `form` (the named ones), `files`, `json` (equal), `json_subset`, `content` (the bytes), `where` (a callable
        that is given the request, or a respx pattern). Values may be regular expressions. `name` is for messages; a
        route with ``required=False`` may stay unused.
        """
        _check_arguments(wanted)
        route = Route(self, len(self.routes), method, url, **wanted)
        self.routes.append(route)
        self._index.add(route)
        if route.template is not None and not route.template.any_host:
            self._addresses.add((route.template.host, route.template.port))
            self._intercepts.clear()
        return route

    def get(self, url: Any, **wanted: Any) -> Route:
        return self.route("GET", url, **wanted)

    def post(self, url: Any, **wanted: Any) -> Route:
        return self.route("POST", url, **wanted)

    def put(self, url: Any, **wanted: Any) -> Route:
        return self.route("PUT", url, **wanted)

    def patch(self, url: Any, **wanted: Any) -> Route:
        return self.route("PATCH", url, **wanted)

    def delete(self, url: Any, **wanted: Any) -> Route:
        return self.route("DELETE", url, **wanted)

    def head(self, url: Any, **wanted: Any) -> Route:
        return self.route("HEAD", url, **wanted)

    def options(self, url: Any, **wanted: Any) -> Route:
        return self.route("OPTIONS", url, **wanted)

    def ws(self, url: Any, **wanted: Any) -> Any:
        """A websocket route: ``upstream.ws("wss://feed.example.com/").reply(handler)``, see :class:`WebSocketRoute`."""
        from pytest_asyncapi.upstream.websocket import WebSocketRoute

        return WebSocketRoute(self.route("GET", url, **wanted))

    def mount(self, base: str, app: Callable[..., Any]) -> Route:
        """An ASGI app as the service at `base`: HTTP and websockets, streaming; its lifespan is not run."""
        from pytest_asyncapi.upstream.mount import mount

        return mount(self, base, app)

    def cassette(self, file: str | PathLike[str], **options: Any) -> Cassette:
        """Answers from a file, which ``--upstream-record=new`` or ``all`` records, see :class:`Cassette`."""
        from pytest_asyncapi.upstream.cassette import Cassette

        return Cassette(self, file, **options)

    def openapi(self, base: str, document: Mapping[str, Any] | str | PathLike[str]) -> Mapping[str, Route]:
        """A route for each operation of an OpenAPI document, by its ``operationId``, see :mod:`.openapi`."""
        from pytest_asyncapi.upstream.openapi import routes

        return routes(self, base, document)

    # -- afterwards

    def assert_called(self, times: int | None = None) -> None:
        """Some request (or so many) arrived at this router."""
        if len(self.calls) != times if times is not None else not self.calls:
            raise AssertionError(explain.wrong_count("upstream", times, self.calls))

    def assert_all_called(self) -> None:
        """Every route was called, but those with ``required=False``."""
        if unused := self.unused:
            raise UnusedRoute(explain.unused(unused, self.calls))

    @property
    def unused(self) -> list[Route]:
        return [route for route in self.routes if not route.calls and route.required is not False]

    def _assert_calls(self, route: Route, times: int | None) -> None:
        if len(route.calls) != times if times is not None else not route.calls:
            raise AssertionError(explain.wrong_count(repr(route), times, route.calls, self.calls))

    def reset(self) -> None:
        """Forget the calls and what was wrong with them; the routes stay, and start again with their first reply."""
        self.calls.clear()
        self.problems.clear()
        for route in self.routes:
            route.reset()

    def clear(self) -> None:
        """Forget the routes too."""
        self.reset()
        self.routes.clear()
        self.checks.clear()
        self._index = RouteIndex()
        self._addresses.clear()
        self._intercepts.clear()
        self.has_early_faults = False

    def failures(self) -> list[str]:
        """All that is wrong: unanswered requests when strict, broken contracts, unused routes."""
        failures = list(self.problems)
        if self.assert_all_called_at_exit and (unused := self.unused):
            failures.append(explain.unused(unused, self.calls))
        return [*failures, *filter(None, (check() for check in self.checks))]

    def verify(self) -> None:
        """Raise what :meth:`failures` lists."""
        if failures := self.failures():
            raise (UnmatchedRequest if self.problems else UnusedRoute)("\n".join(failures))

    # -- what the hooks ask

    def intercepts(self, host: str, port: int | None) -> bool:
        """Whether requests to this address are answered here."""
        known = self._intercepts.get((host, port))
        if known is None:
            name = plain(host)
            mine = (name, port) in self._addresses or not (is_loopback(name) or self._allow.allows(name, port))
            known = self._intercepts[host, port] = mine
        return known

    def plan(self, request: Request) -> Plan:
        """Find the route of a request, and note the call. What goes wrong in it is raised into the app, and fails the
        test."""
        self.calls.append(call := Call(request, None))
        effect: Effect
        try:
            effect = self._effect(call)
        except Exception as exc:
            self.problems.append(f"upstream: {exc}" if isinstance(exc, UpstreamError) else f"upstream: {exc!r}")
            effect = exc
        return Plan(self, request, call, effect)

    def _effect(self, call: Call) -> Effect:
        request = call.request
        for route in self._index.candidates(request):
            if route.differs(request) is None:
                call.route = route
                route.calls.append(call)
                for check in route.contract:
                    if why := check(request):
                        return self._broken_contract(route, request, why)
                return route.take()
        return self.unmatched(call)

    def unmatched(self, call: Call, why: str | None = None) -> UnmatchedRequest:
        """The error for a request that nothing answers; noted, for the app may swallow it."""
        error = UnmatchedRequest(why or explain.unmatched(call.request, self.routes))
        if self.strict:
            self.problems.append(str(error))
        return error

    def _broken_contract(self, route: Route, request: Request, why: str) -> ContractError:
        error = ContractError(f"{request.method} {masked(request.url)} breaks the contract of {route!r}: {why}")
        self.problems.append(str(error))
        return error

    def early_fault(self, request: Request, *, whole: bool = False) -> Fault | None:
        """The fault that the next answer to a request is. A request that is not `whole` has no body yet, and None is
        said also when it is the body that decides."""
        if not self.has_early_faults:
            return None
        for route in self._index.candidates(request):
            if route.differs(request, head_only=not whole) is None:
                effect = route.peek()
                return effect if isinstance(effect, Fault) and (whole or not route.wants_body) else None
        return None

    def _route_changed(self, route: Route) -> None:
        self.has_early_faults = self.has_early_faults or route.fails_early

    # -- life

    @contextmanager
    def open(self) -> Iterator[Upstream]:
        """Answer as long as the block runs, without verifying anything at its end."""
        clients.install()
        active.STACK.append(self)
        try:
            yield self
        finally:
            active.STACK.remove(self)
            for connection in list(self.connections):
                connection.kill()
            self.connections.clear()
            if not active.STACK:
                clients.uninstall()
            while self.at_exit:
                self.at_exit.pop()()

    def __enter__(self) -> Upstream:
        self._opened.append(opened := self.open())
        return opened.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._opened.pop().__exit__(kind, error, traceback)
        if kind is None:
            self.verify()


def _check_arguments(wanted: Mapping[str, Any]) -> None:
    for name in wanted:
        if name not in ROUTE_ARGUMENTS:
            raise UpstreamError(f"upstream route: there is no {name}=; the arguments are {', '.join(ROUTE_ARGUMENTS)}.")
