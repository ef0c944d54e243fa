"""`AsyncClient`: the client of httpx2 (or httpx) for an app in this process, with lifespan, websockets, `drain()`."""

from __future__ import annotations

import functools
import inspect
import string
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pytest_asyncapi.asgi import ASGIApp
from pytest_asyncapi.client.lifespan import Lifespan
from pytest_asyncapi.client.options import Options
from pytest_asyncapi.client.recorder import Recorder
from pytest_asyncapi.client.scope import Peer
from pytest_asyncapi.client.transport import COLLECT, TransportBase, extensions_of, http_module, transport_class
from pytest_asyncapi.client.websocket import Channel, WebSocketSession
from pytest_asyncapi.errors import ConfigurationError

BASE_URL = "http://testserver"
_OF_A_SCHEME = frozenset(string.ascii_letters + string.digits + "+-.")
_URLS_KEPT = 500  # of one base URL


class ClientMethods:
    """What our clients have beside those of httpx. Their arguments, all but `app` by name:

    base_url, headers, cookies, auth, ...: as httpx's.
    timeout: of reading a response or its next part, as httpx's; 30 seconds by default.
    lifespan: True runs the app's lifespan while the client is open; False does not; or a `Lifespan`, which is left
        running unless `owned`.
    raise_app_exceptions, background, strict, ...: see `Options`.
    client, root_path, http_version, asgi_extensions: what the app finds in its scope.
    server: a `LiveServer`, for requests that cross a socket.
    """

    module: ModuleType
    app: ASGIApp
    asgi: TransportBase
    _base: Any = None  # the base URL that `_urls` belongs to
    _urls: _URLs

    def __init__(
        self,
        app: ASGIApp,
        *,
        base_url: Any = BASE_URL,
        lifespan: bool | Lifespan = True,
        owned: bool | None = None,
        startup_timeout: float | None = 30.0,
        shutdown_timeout: float | None = 30.0,
        raise_app_exceptions: bool = True,
        background: str = "wait",
        background_timeout: float | None = 30.0,
        strict: bool = False,
        client: tuple[str, int] | None = ("127.0.0.1", 50000),
        root_path: str = "",
        http_version: str = "1.1",
        asgi_extensions: Iterable[str] = ("http.response.debug",),
        recorder: Recorder | None = None,
        server: LiveServer | None = None,
        timeout: Any = 30.0,
        **httpx_options: Any,
    ) -> None:
        __tracebackhide__ = True
        _check_names(self.module, httpx_options)
        running: Lifespan | None = None
        if isinstance(lifespan, Lifespan):
            running = lifespan
        elif not isinstance(lifespan, bool | None):
            raise ConfigurationError(f"lifespan={lifespan!r}: expected True, False or a Lifespan")
        elif lifespan:
            running = Lifespan(app, startup_timeout=startup_timeout, shutdown_timeout=shutdown_timeout)
        common: dict[str, Any] = {
            "options": Options(raise_app_exceptions, background, background_timeout, strict),
            "peer": Peer(client, root_path, http_version, extensions_of(asgi_extensions)),
            "lifespan": running,
            "owned": owned if owned is not None else not isinstance(lifespan, Lifespan),
            "recorder": recorder,
        }
        if server is None:
            transport = transport_class(self.module)(app, **common)
        else:
            from pytest_asyncapi.client.live import live_transport_class

            transport = live_transport_class(self.module)(app, server=server, **common)
        self.app = app
        self.asgi = transport
        super().__init__(transport=transport, base_url=base_url, timeout=timeout, **httpx_options)  # type: ignore[call-arg]
        if base_url and not self.base_url.scheme:  # type: ignore[attr-defined]
            raise ConfigurationError(f"base_url={str(base_url)!r} has no scheme: write 'http://{base_url}'")

    def build_request(self, method: str, url: Any, *, params: Any = None, **options: Any) -> Any:
        """As httpx's. The tests of an app ask for the same paths again and again: each is parsed once."""
        if type(url) is not str or params is not None or self.params:  # type: ignore[attr-defined]
            return super().build_request(method, url, params=params, **options)  # type: ignore[misc]
        base = self.base_url  # type: ignore[attr-defined]
        if base is not self._base:
            self._base, self._urls = base, _urls_of(self.module, str(base))
        known = self._urls.parsed
        parsed = known.get(url)
        if parsed is None and ":" in url:
            self._check_host(url)
        made = super().build_request(method, self._urls.joined(url) if parsed is None else parsed, **options)  # type: ignore[misc]
        if parsed is None and len(known) < _URLS_KEPT:
            known[url] = made.url
        return made

    def _check_host(self, url: str) -> None:
        """Refuse a URL without a host, of which httpx would take the path alone: `localhost:8000/users`."""
        __tracebackhide__ = True
        scheme, _, rest = url.partition(":")
        if not rest.startswith("//") and scheme and scheme[0].isalpha() and not set(scheme) - _OF_A_SCHEME:
            raise self.module.UnsupportedProtocol(
                f"{url!r} is neither a path, as '/users', nor a URL with a scheme and a host, as 'http://shop:80/users'"
            )

    def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
        """As httpx's. Where the whole body will be read, the app need not wait for the reader of each part."""
        if not stream:
            request.extensions[COLLECT] = True
        return super().send(request, stream=stream, **options)  # type: ignore[misc]

    async def drain(self, timeout: float | None = None) -> None:
        """Run the work that the app does after its responses to its end (`background="defer"` and `"detach"`).

        What it raises is raised here. `timeout` is `background_timeout` by default.
        """
        await self.asgi.drain(timeout)

    def websocket_connect(
        self,
        url: Any,
        *,
        subprotocols: Iterable[str] = (),
        params: Any = None,
        headers: Any = None,
        cookies: Any = None,
        timeout: float | None = None,
        extensions: dict[str, Any] | None = None,
    ) -> WebSocketSession:
        """Open a websocket: `async with client.websocket_connect("/ws") as ws`.

        `timeout` is how long the handshake and each `receive()` may take, by default as long as the client's reading.
        """
        offered = list(subprotocols)
        upgrade = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
        upgrade |= {"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="}
        if offered:
            upgrade["sec-websocket-protocol"] = ", ".join(offered)
        request = self.build_request(
            "GET",
            url,
            params=params,
            headers=[*upgrade.items(), *self.module.Headers(headers).multi_items()],
            cookies=cookies,
            extensions=dict(extensions or {}) | ({} if timeout is None else {"timeout": {"read": timeout}}),
        )
        return WebSocketSession(_LateChannel(self.asgi, request, self._handshake_auth(request)))

    def _handshake_auth(self, request: Any) -> Any:
        """The `auth=` of the client, or what its URL says, as for its other requests."""
        url = request.url
        auth = self.auth  # type: ignore[attr-defined]
        if auth is None and (url.username or url.password):
            auth = self.module.BasicAuth(url.username, url.password)
        return auth


class _LateChannel:
    """A channel that is made when it connects, so that `websocket_connect` itself needs no `await`."""

    def __init__(self, transport: TransportBase, request: Any, auth: Any) -> None:
        self._transport = transport
        self._request = request
        self._auth = auth
        self._channel: Channel | None = None

    async def connect(self) -> None:
        if self._auth is not None and "authorization" not in self._request.headers:
            flow = self._auth.async_auth_flow(self._request)
            self._request = await anext(flow)
            await flow.aclose()
        self._channel = await self._transport.channel(self._request)
        await self._channel.connect()

    def __getattr__(self, name: str) -> Any:
        if self._channel is None:
            raise RuntimeError("the websocket is not open: write `async with client.websocket_connect(...) as ws`")
        return getattr(self._channel, name)


@functools.cache
def _names_of(function: Any) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters) - {"self", "httpx_options"}


def _check_names(module: ModuleType, options: dict[str, Any]) -> None:
    """Refuse an argument that neither our client nor the library's has."""
    __tracebackhide__ = True
    theirs = _names_of(module.AsyncClient.__init__)
    unknown = next((name for name in options if name not in theirs), None)
    if unknown is None:
        return
    import difflib

    own = _names_of(ClientMethods.__init__)
    close = difflib.get_close_matches(unknown, own | theirs, 1, 0.6)
    raise ConfigurationError(
        f"unknown argument {unknown!r} of a client{f' (did you mean {close[0]!r}?)' if close else ''}: "
        f"expected some of {', '.join(sorted(own - {'recorder', 'server', 'owned'}))}, or of {module.__name__}'s: "
        f"{', '.join(sorted(theirs - own - {'transport', 'mounts'}))}"
    )


class _URLs:
    """What the clients of a base URL have parsed."""

    def __init__(self, base: str) -> None:
        self.parsed: dict[str, Any] = {}  # URLs as the tests write them -> the library's, which cannot be changed
        self._base = None if "?" in base or "#" in base else base.removesuffix("/")

    def joined(self, url: str) -> str:
        """A path as an absolute URL, which httpx parses once; it parses a path by itself, and again with its base.

        What is no plain path, or not a right one, is left to httpx, and to its words.
        """
        if self._base is None or url[:1] != "/" or url[1:2] == "/" or "#" in url or not url.isprintable():
            return url
        return self._base + url


@functools.lru_cache(maxsize=16)
def _urls_of(module: ModuleType, base: str) -> _URLs:
    return _URLs(base)


@functools.cache
def client_class(module: ModuleType) -> type[Any]:
    """The client class on httpx or httpx2."""
    names = {"module": module, "__doc__": ClientMethods.__doc__, "__module__": __name__}
    return type("AsyncClient", (ClientMethods, module.AsyncClient), names)


if TYPE_CHECKING:
    import httpx2

    from pytest_asyncapi.client.live import LiveServer

    class AsyncClient(ClientMethods, httpx2.AsyncClient):
        """An `httpx2.AsyncClient` of an app in this process. See `ClientMethods` for the arguments."""

    class ASGITransport(TransportBase, httpx2.AsyncBaseTransport):
        """The transport of `AsyncClient`, for an httpx2 client of one's own."""

else:

    def __getattr__(name: str) -> Any:
        """The classes on the library that is installed, httpx2 before httpx; made at their first use."""
        if name == "AsyncClient":
            return client_class(http_module())
        if name == "ASGITransport":
            return transport_class(http_module())
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
