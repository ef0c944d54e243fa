"""Where aiohttp is taken hold of: its connector makes a connection to our server in place of a socket.

Everything above the connection stays aiohttp's own: pool and limits, time-outs, cookies, redirects, decompression,
tracing, middlewares, websockets. ``BaseConnector.connect`` is called once for each request, and for each hop of a
redirect.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from base64 import b64encode
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pytest_asyncapi.compatibility import check
from pytest_asyncapi.errors import ours
from pytest_asyncapi.upstream.active import current
from pytest_asyncapi.upstream.fault import Fault
from pytest_asyncapi.upstream.request import HTTP_SCHEME, Request
from pytest_asyncapi.upstream.server import ServerConnection
from pytest_asyncapi.wire.patches import Patches
from pytest_asyncapi.wire.pipe import SERVER_ADDRESS, MemoryTransport, connect

if TYPE_CHECKING:
    from pytest_asyncapi.upstream.router import Upstream

__tracebackhide__ = ours


def install(patches: Patches, connector: ModuleType) -> None:
    """Put the hooks in; `connector` is the module ``aiohttp.connector``."""
    check("aiohttp")

    def hook_connect(original: Any) -> Any:
        async def connect(self: Any, req: Any, traces: Any, timeout: Any) -> Any:
            upstream = _upstream(req) if isinstance(self, connector.TCPConnector) else None
            if upstream is None:
                return await original(self, req, traces, timeout)
            must_connect = _connect_fault(upstream, req) is not None
            for protocol, *_ in self._conns.get(req.connection_key, ()):
                # a real connection that was open before, or one by which a failure to connect would not be met
                if must_connect or not isinstance(protocol.transport, MemoryTransport):
                    protocol.close()
            connection = await original(self, req, traces, timeout)
            transport = connection.transport
            if isinstance(transport, MemoryTransport):
                transport.peer.get_protocol().request_info = req  # type: ignore[attr-defined]
            return connection

        return connect

    def hook_create_connection(original: Any) -> Any:
        async def _create_connection(self: Any, req: Any, traces: Any, timeout: Any) -> Any:
            upstream = _upstream(req)
            if upstream is None:
                return await original(self, req, traces, timeout)
            if (fault := _connect_fault(upstream, req)) is not None:
                upstream.plan(_before_it_is_sent(req)[0]).settle(fault)
                raise connect_error(fault, req)
            if req.proxy and not req.is_ssl() and (auth := _proxy_auth(req)) is not None:
                req.headers["Proxy-Authorization"] = auth
            protocol = self._factory()
            server = AiohttpServerConnection(req)
            connect(asyncio.get_running_loop(), protocol, server, peername=(SERVER_ADDRESS[0], req.url.port))
            upstream.connections.add(server)
            return protocol

        return _create_connection

    patches.replace(connector.BaseConnector, "connect", hook_connect)
    patches.replace(connector.TCPConnector, "_create_connection", hook_create_connection)


class AiohttpServerConnection(ServerConnection):
    """Knows aiohttp's request, from which its exceptions are made."""

    def __init__(self, req: Any) -> None:
        scheme = HTTP_SCHEME.get(req.url.scheme, req.url.scheme)
        super().__init__("aiohttp", scheme, req.url.raw_host or "", req.url.port, self._exception)
        self.request_info = req
        if req.proxy:
            self.parser.proxy = str(req.proxy.with_user(None)).rstrip("/")

    def planned(self) -> None:
        """Nothing: what a context has was meant for the request of an httpx client, whose callable sent this one."""

    def _exception(self, fault: Fault) -> BaseException:
        from aiohttp import client_exceptions

        if fault.kind in ("read_timeout", "write_timeout"):
            timeout = getattr(client_exceptions, "SocketTimeoutError", client_exceptions.ServerTimeoutError)
            return timeout("Timeout on reading data from socket")
        if fault.kind == "connect_timeout":
            timeout = getattr(client_exceptions, "ConnectionTimeoutError", client_exceptions.ServerTimeoutError)
            return timeout(f"Connection timeout to host {self.request_info.url}")
        return connect_error(fault, self.request_info)


def _upstream(req: Any) -> Upstream | None:
    return current(req.url.raw_host or "", req.url.port)


def _proxy_auth(req: Any) -> str | None:
    """What aiohttp says to the proxy with a request that is not tunnelled: ``proxy_auth=``, or what the URL has."""
    if req.proxy_auth is not None:
        return str(req.proxy_auth.encode())
    if req.proxy.user is None:
        return None
    return "Basic " + b64encode(f"{req.proxy.user}:{req.proxy.password or ''}".encode("latin-1")).decode()


def _before_it_is_sent(req: Any) -> tuple[Request, bool]:
    """A request for which there is no connection yet, and whether it is whole: a body that streams is not there."""
    body = getattr(req.body, "_value", req.body)
    whole = isinstance(body, bytes | bytearray)
    content = bytes(body) if whole else b""
    return Request(req.method, str(req.url), list(req.headers.items()), content, "aiohttp"), whole


def _connect_fault(upstream: Upstream, req: Any) -> Fault | None:
    """The fault that keeps the client from connecting for this request."""
    if not upstream.has_early_faults:
        return None
    request, whole = _before_it_is_sent(req)
    fault = upstream.early_fault(request, whole=whole)
    return fault if fault is not None and fault.while_connecting else None


def connect_error(fault: Fault, req: Any) -> BaseException:
    """aiohttp's exception for a connection that could not be made; for a time-out, what makes aiohttp raise its own."""
    from aiohttp import client_exceptions

    key = req.connection_key
    match fault.kind:
        case "dns":
            error = getattr(client_exceptions, "ClientConnectorDNSError", client_exceptions.ClientConnectorError)
            return error(key, socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
        case "tls":
            reason = ssl.SSLCertVerificationError(
                1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: injected"
            )
            return client_exceptions.ClientConnectorCertificateError(key, reason)
        case "connect_timeout":
            return TimeoutError()
    return client_exceptions.ClientConnectorError(
        key, ConnectionRefusedError(111, f"Connect call failed ('192.0.2.1', {key.port})")
    )
