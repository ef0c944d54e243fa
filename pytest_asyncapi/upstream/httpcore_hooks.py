"""Where httpx and httpx2 are taken hold of: the pools and the network backends of httpcore and httpcore2.

The pool is asked once for each request (and each hop of a redirect). A whole answer that takes no time is given there;
it holds a place in the pool until it is closed, as a connection would. Everything else is left to the pool's own code,
over a connection to our server that the backend's ``connect_tcp`` gives it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_asyncapi.compatibility import check
from pytest_asyncapi.errors import UpstreamError, ours
from pytest_asyncapi.upstream.active import current
from pytest_asyncapi.upstream.fault import Fault
from pytest_asyncapi.upstream.httpcore_streams import async_stream, sync_stream, to_exception
from pytest_asyncapi.upstream.plan import Plan, planned
from pytest_asyncapi.upstream.replies import BODILESS, Reply, as_exception
from pytest_asyncapi.upstream.request import DEFAULT_PORTS, HTTP_SCHEME, Request, with_target
from pytest_asyncapi.wire.patches import Patches

if TYPE_CHECKING:
    from pytest_asyncapi.upstream.router import Upstream

__tracebackhide__ = ours

CLIENT = {"httpcore": "httpx", "httpcore2": "httpx2"}


def install(patches: Patches, core: ModuleType) -> None:
    """Put the hooks in; `core` is the module ``httpcore`` or ``httpcore2``."""
    check(core.__name__)
    hooks = Hooks(core)
    patches.replace(core.AsyncConnectionPool, "handle_async_request", hooks.async_pool)
    patches.replace(core.ConnectionPool, "handle_request", hooks.sync_pool)
    patches.replace(core._backends.auto.AutoBackend, "connect_tcp", hooks.async_backend)
    patches.replace(core._backends.sync.SyncBackend, "connect_tcp", hooks.sync_backend)
    patches.when_imported(
        f"{core.__name__}._backends.anyio",
        lambda module: patches.replace(module.AnyIOBackend, "connect_tcp", hooks.async_backend),
    )


class Hooks:
    """The replacements for one of the two libraries."""

    def __init__(self, core: ModuleType) -> None:
        self.core: Any = core
        self.client = CLIENT[core.__name__]
        self.async_stream = async_stream(core, self.client)
        self.sync_stream = sync_stream(core, self.client)

    # -- the pool

    def async_pool(self, original: Any) -> Any:
        async def handle_async_request(pool: Any, request: Any) -> Any:
            upstream = self._upstream(pool, request)
            if upstream is None:
                return await original(pool, request)
            body = b"".join([chunk async for chunk in request.stream])
            plan = upstream.plan(self._request(pool, request, body))
            answer = self._at_once(pool, request, plan)
            if answer is not None:
                return answer
            request.stream = Body(body)
            for connection in real_connections(pool, request):
                await connection.aclose()
            token = planned.set(plan)
            try:
                return await original(pool, request)
            finally:
                planned.reset(token)

        return handle_async_request

    def sync_pool(self, original: Any) -> Any:
        def handle_request(pool: Any, request: Any) -> Any:
            upstream = self._upstream(pool, request)
            if upstream is None:
                return original(pool, request)
            body = b"".join(request.stream)
            plan = upstream.plan(self._request(pool, request, body))
            answer = self._at_once(pool, request, plan)
            if answer is not None:
                return answer
            request.stream = Body(body)
            for connection in real_connections(pool, request):
                connection.close()
            token = planned.set(plan)
            try:
                return original(pool, request)
            finally:
                planned.reset(token)

        return handle_request

    def _upstream(self, pool: Any, request: Any) -> Upstream | None:
        if pool._uds is not None or not self._is_network(type(pool._network_backend)):
            return None  # a Unix socket, or a network of the user's own
        url = request.url
        return current(url.host.decode("ascii"), url.port or DEFAULT_PORTS.get(url.scheme.decode("ascii"), 443))

    def _is_network(self, backend: type) -> bool:
        """A backend of the library that leads to the network: not its mocks, and not a class of someone else."""
        return backend.__module__.partition(".")[0] == self.core.__name__ and "Mock" not in backend.__name__

    def _request(self, pool: Any, request: Any, body: bytes) -> Request:
        url = request.url
        scheme = url.scheme.decode("ascii")
        authority = url.host.decode("ascii") + (f":{url.port}" if url.port else "")
        proxy = proxy_of(pool)
        headers = request.headers
        if proxy is not None and scheme == "http":  # what is said to the proxy goes with the request
            headers = [*proxy.headers, *headers]
        ours = Request(
            request.method.decode("ascii"),
            with_target(f"{HTTP_SCHEME.get(scheme, scheme)}://{authority}", url.target.decode("ascii")),
            headers,
            body,
            self.client,
        )
        if proxy is not None:
            ours.proxy = proxy.url
        return ours

    def _at_once(self, pool: Any, request: Any, plan: Plan) -> Any:
        """The response when it can be given without a connection; None when it takes one. Raises what the app is to
        get."""
        if plan.takes_websocket or plan.waits or isinstance(plan.effect, Fault):
            return None
        if "trace" in request.extensions or plan.upstream.wire or not has_room(pool):
            return None
        effect = plan.effect
        answer = plan.settle(effect) if isinstance(effect, Reply) else plan.answer_now()
        if isinstance(answer, Reply):
            return self._response(pool, plan, answer) if answer.instant else None
        if isinstance(answer, Fault):
            return None
        raise as_exception(answer)

    def _response(self, pool: Any, plan: Plan, reply: Reply) -> Any:
        body = b"" if plan.request.method == "HEAD" or reply.status in BODILESS else reply.body
        assert isinstance(body, bytes)
        place = Place(pool, body, plan.upstream.connections)
        return self.core.Response(
            reply.status,
            headers=list(reply.encoded_headers),
            content=place,
            extensions={"http_version": b"HTTP/1.1", "reason_phrase": reply.reason.encode("latin-1")},
        )

    # -- the backend

    def async_backend(self, original: Any) -> Any:
        async def connect_tcp(backend: Any, host: str, port: int, *args: Any, **kwargs: Any) -> Any:
            upstream = self._connecting(host, port)
            if upstream is None:
                return await original(backend, host, port, *args, **kwargs)
            try:
                stream = self.async_stream(host, port)
            except RuntimeError:  # no running event loop of asyncio
                raise UpstreamError(
                    f"upstream: {self.client} runs under trio, where only whole replies that take no time are given."
                ) from None
            upstream.connections.add(stream.server)
            return stream

        return connect_tcp

    def sync_backend(self, original: Any) -> Any:
        def connect_tcp(backend: Any, host: str, port: int, *args: Any, **kwargs: Any) -> Any:
            upstream = self._connecting(host, port)
            if upstream is None:
                return original(backend, host, port, *args, **kwargs)
            stream = self.sync_stream(host, port)
            upstream.connections.add(stream)
            return stream

        return connect_tcp

    def _connecting(self, host: str, port: int) -> Upstream | None:
        """Who answers a new connection. Raises the fault that its request meets in this phase."""
        plan = planned.get()
        if plan is None:
            return current(host, port)
        if plan.used:  # the client connects again for the same request, after the fault
            plan = plan.upstream.plan(plan.request)
            planned.set(plan)
        if (fault := plan.connect_fault) is not None:
            plan.use().settle(fault)
            raise to_exception(self.core, fault)
        return plan.upstream


class Proxy(NamedTuple):
    url: str
    headers: list[tuple[bytes, bytes]]


def proxy_of(pool: Any) -> Proxy | None:
    """The proxy that a pool sends through: a pool of its own class has it, or one that was made with ``proxy=``."""
    if (proxy := getattr(pool, "_proxy", None)) is not None:
        return Proxy(_address(proxy.url), [] if proxy.url.scheme.startswith(b"socks") else proxy.headers)
    if (url := getattr(pool, "_proxy_url", None)) is not None:
        return Proxy(_address(url), getattr(pool, "_proxy_headers", []))
    return None


def _address(url: Any) -> str:
    return bytes(url).decode("ascii").rstrip("/")


def has_room(pool: Any) -> bool:
    return len(pool._connections) < pool._max_connections  # type: ignore[no-any-return]


def real_connections(pool: Any, request: Any) -> list[Any]:
    """The idle connections to the real service that were open before; they must not be used again."""
    found = []
    for connection in list(pool._connections):
        inner = getattr(connection, "_connection", None)
        stream = getattr(inner, "_network_stream", None)
        ours = type(stream).__module__.startswith("pytest_asyncapi.")
        if (
            stream is not None
            and not ours
            and connection.is_idle()
            and connection.can_handle_request(request.url.origin)
        ):
            pool._connections.remove(connection)
            found.append(connection)
    return found


class Body:
    """A request's body that has been read."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __iter__(self) -> Iterator[bytes]:
        if self.data:
            yield self.data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self.data:
            yield self.data

    def close(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


class Place(Body):
    """The body of an answer given without a connection. Until it is closed it takes the place of one in the pool."""

    def __init__(self, pool: Any, data: bytes, open_connections: set[Any]) -> None:
        super().__init__(data)
        self.pool = pool
        self.open_connections = open_connections
        open_connections.add(self)
        with pool._optional_thread_lock:
            pool._connections.append(self)

    def _leave(self) -> list[Any]:
        """Give the place up, and to those who wait for one; returns the connections that the pool wants closed."""
        pool = self.pool
        self.open_connections.discard(self)
        with pool._optional_thread_lock:
            if self not in pool._connections:
                return []
            pool._connections.remove(self)
            return pool._assign_requests_to_connections() if pool._requests else []

    def close(self) -> None:
        if closing := self._leave():
            self.pool._close_connections(closing)

    async def aclose(self) -> None:
        if closing := self._leave():
            await self.pool._close_connections(closing)

    def kill(self) -> None:
        """The router goes, and the app never closed its response."""
        if self in self.pool._connections:
            self.pool._connections.remove(self)

    # what a pool asks of its connections

    def is_idle(self) -> bool:
        return False

    def is_available(self) -> bool:
        return False

    def is_closed(self) -> bool:
        return False

    def is_connected(self) -> bool:
        return True

    def has_expired(self) -> bool:
        return False

    def can_multiplex(self) -> bool:
        return False

    def can_handle_request(self, origin: Any) -> bool:
        return False

    def info(self) -> str:
        return "answered by upstream"
