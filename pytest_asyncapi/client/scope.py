"""The ASGI scope of a request, key by key as uvicorn builds it."""

from __future__ import annotations

import dataclasses
from typing import Any

from pytest_asyncapi.errors import ConfigurationError, ours

__tracebackhide__ = ours

ASGI_VERSION = "3.0"
HTTP_SPEC = "2.3"  # what uvicorn announces; Starlette takes other paths from 2.4 on
WEBSOCKET_SPEC = "2.4"
PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_AS_WEBSOCKET = {"http": "ws", "https": "wss"}


@dataclasses.dataclass(frozen=True, slots=True)
class Peer:
    """What the app is told about the connection."""

    address: tuple[str, int] | None = ("127.0.0.1", 50000)
    root_path: str = ""
    http_version: str = "1.1"
    extensions: tuple[str, ...] = ("http.response.debug",)

    def __post_init__(self) -> None:
        address = self.address
        if address is not None and (isinstance(address, str) or len(address) != 2):
            raise ConfigurationError(
                f"client={address!r}: expected an address and a port, as ('10.0.0.7', 4000), or None"
            )
        for name, value in (("root_path", self.root_path), ("http_version", self.http_version)):
            if not isinstance(value, str):
                raise ConfigurationError(f"{name}={value!r}: expected a str")


def http_scope(request: Any, peer: Peer) -> dict[str, Any]:
    """The scope of an httpx or httpx2 request. The caller adds `state`."""
    url = request.url
    scheme = url.scheme
    raw_path, _, query = url.raw_path.partition(b"?")
    path: str = url.path if b"%" in raw_path else raw_path.decode("ascii")  # each property costs more than it seems to
    if peer.root_path:  # as uvicorn: both paths begin with it
        path = peer.root_path + path
        raw_path = peer.root_path.encode("ascii") + raw_path
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": ASGI_VERSION, "spec_version": HTTP_SPEC},
        "http_version": peer.http_version,
        "server": (url.host, url.port or PORTS.get(scheme, 80)),
        "client": peer.address,
        "scheme": scheme,
        "method": request.method,
        "root_path": peer.root_path,
        "path": path,
        "raw_path": raw_path,
        "query_string": query,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
    }
    headers = scope["headers"]
    if headers and headers[0][0] != b"host":  # on the wire it is the first, wherever a request has it
        headers.sort(key=_not_the_host)
    if peer.extensions:
        scope["extensions"] = {name: {} for name in peer.extensions}
    return scope


def _not_the_host(pair: tuple[bytes, bytes]) -> bool:
    return pair[0] != b"host"


def websocket_scope(scope: dict[str, Any]) -> dict[str, Any]:
    """The scope of a websocket, from that of its HTTP upgrade request."""
    scope = dict(scope)
    del scope["method"]
    protocols = b",".join(value for name, value in scope["headers"] if name == b"sec-websocket-protocol")
    scope["type"] = "websocket"
    scope["asgi"] = {"version": ASGI_VERSION, "spec_version": WEBSOCKET_SPEC}
    scope["scheme"] = _AS_WEBSOCKET.get(scope["scheme"], scope["scheme"])
    scope["subprotocols"] = [each.strip() for each in protocols.decode("latin-1").split(",") if each.strip()]
    scope["extensions"] = {"websocket.http.response": {}}
    return scope
