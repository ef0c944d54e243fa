"""A request sent to the real service after all, for a recording or a route that passes through.

It is sent by httpx2 (or httpx), whichever client the app used, with the app's own headers; what comes back is kept as
it travelled: compressed, with every header. Where that fails, the app gets the exception of its own client.
"""

from __future__ import annotations

import importlib
import socket
import ssl
from functools import cache
from typing import TYPE_CHECKING, Any

from pytest_asyncapi.upstream.active import real_network
from pytest_asyncapi.upstream.effects import Callback
from pytest_asyncapi.upstream.fault import Fault, faults
from pytest_asyncapi.upstream.replies import Reply

if TYPE_CHECKING:
    from pytest_asyncapi.upstream.request import Request
    from pytest_asyncapi.upstream.router import Upstream

HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "te", "trailer", "upgrade", "expect"}
)
TIMEOUT = 60.0


def httpx_library() -> Any:
    """httpx2, or httpx where that is not installed."""
    try:
        return importlib.import_module("httpx2")
    except ImportError:
        return importlib.import_module("httpx")


@cache
def _options() -> dict[str, Any]:
    """For every client alike; the SSL context, which is dear, is made once."""
    return {
        "verify": httpx_library().create_ssl_context(),
        "trust_env": False,
        "timeout": TIMEOUT,
        "follow_redirects": False,
    }


async def fetch(upstream: Upstream, request: Request) -> Reply | Fault:
    """What the real service answers, or how it fails."""
    library = httpx_library()
    try:
        with upstream.outside(request.host), real_network():
            async with library.AsyncClient(**_options()) as client:
                sent = client.build_request(request.method, request.url, content=request.content)
                sent.headers = library.Headers(_sent_headers(request))
                response = await client.send(sent, stream=True)
                body = b"".join([chunk async for chunk in response.aiter_raw()])
                await response.aclose()
    except library.TransportError as exc:
        return _fault(library, exc)
    return _reply(response, body)


def fetch_now(upstream: Upstream, request: Request) -> Reply | Fault:
    """The same for a sync client."""
    library = httpx_library()
    try:
        with upstream.outside(request.host), real_network(), library.Client(**_options()) as client:
            sent = client.build_request(request.method, request.url, content=request.content)
            sent.headers = library.Headers(_sent_headers(request))
            response = client.send(sent, stream=True)
            body = b"".join(response.iter_raw())
            response.close()
    except library.TransportError as exc:
        return _fault(library, exc)
    return _reply(response, body)


def _fault(library: Any, error: BaseException) -> Fault:
    """The failure of the real network, which is to reach the app as its own client's. Raises what is none."""
    if isinstance(error, library.ConnectError):
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, socket.gaierror):
                return faults.dns
            if isinstance(cause, ssl.SSLError):
                return faults.tls
            cause = cause.__cause__ or cause.__context__
    for kind, fault in _FAULTS.items():
        if isinstance(error, getattr(library, kind)):
            return fault
    raise error


_FAULTS = {
    "ConnectError": faults.refused,
    "ConnectTimeout": faults.connect_timeout,
    "ReadTimeout": faults.read_timeout,
    "WriteTimeout": faults.write_timeout,
    "NetworkError": faults.reset,
    "RemoteProtocolError": faults.disconnect,
}


def _sent_headers(request: Request) -> list[tuple[str, str]]:
    headers = [pair for pair in request.raw_headers if pair[0].lower() not in HOP_BY_HOP | {"content-length"}]
    if request.content or request.method in ("POST", "PUT", "PATCH"):
        headers.append(("Content-Length", str(len(request.content))))
    return headers


def _reply(response: Any, body: bytes) -> Reply:
    headers = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in response.headers.raw
        if name.decode("latin-1").lower() not in HOP_BY_HOP
    ]
    return Reply(response.status_code, headers=headers, body=body, reason=response.reason_phrase)


class PassThrough(Callback):
    """The effect of a route that lets the real service answer."""

    def __init__(self, upstream: Upstream) -> None:
        super().__init__(self._fetch)
        self.upstream = upstream

    async def _fetch(self, request: Request) -> Reply | Fault:
        return await fetch(self.upstream, request)

    def call_now(self, request: Request) -> Any:
        return fetch_now(self.upstream, request)
