"""The clients that the router serves, with one small face, so that a test is written once for all of them."""

from __future__ import annotations

import importlib
import ssl
from functools import partial
from typing import Any

import aiohttp
import pytest

from tests.httpx_libraries import HTTPX
from tests.upstream.servers import BrokenNetwork, LiveServer, Proxy, routed


class Answer:
    """What came back, the same for every client."""

    def __init__(self, status: int, headers: Any, content: bytes, url: str, reason: str) -> None:
        self.status, self.headers, self.content, self.url, self.reason = status, headers, content, url, reason

    def json(self) -> Any:
        import json

        return json.loads(self.content)

    @property
    def text(self) -> str:
        return self.content.decode()


class AiohttpClient:
    name = "aiohttp"
    is_async = True

    def __init__(self) -> None:
        self.session: aiohttp.ClientSession | None = None
        self.options: dict[str, Any] = {}

    async def request(self, method: str, url: str, **kwargs: Any) -> Answer:
        if self.session is None:
            self.session = aiohttp.ClientSession(**self.options)
        if "content" in kwargs:
            kwargs["data"] = kwargs.pop("content")
        if "timeout" in kwargs:
            kwargs["timeout"] = aiohttp.ClientTimeout(sock_read=kwargs["timeout"])
        if "follow" in kwargs:
            kwargs["allow_redirects"] = kwargs.pop("follow")
        async with self.session.request(method, url, **kwargs) as response:
            content = await response.read()
            return Answer(response.status, response.headers, content, str(response.url), response.reason or "")

    def trust(self, context: ssl.SSLContext) -> None:
        self.options["connector"] = aiohttp.TCPConnector(ssl=context)

    def pool_of_one(self, wait: float = 0.05) -> None:
        """One connection at a time, and so many seconds of waiting for it."""
        self.options.update(connector=aiohttp.TCPConnector(limit=1), timeout=aiohttp.ClientTimeout(connect=wait))

    async def hold(self, url: str) -> Any:
        """A response whose connection is taken until it is released."""
        response = await self.session.get(url)
        return response.read

    async def close(self) -> None:
        if self.session is not None:
            await self.session.close()


class HttpxClient:
    is_async = True

    def __init__(self, library: Any) -> None:
        self.library = library
        self.name = library.__name__
        self.options: dict[str, Any] = {}
        self.client: Any = None

    def make(self) -> Any:
        return self.library.AsyncClient(**self.options)

    async def send(self, method: str, url: str, **kwargs: Any) -> Any:
        return await self.client.request(method, url, **kwargs)

    async def request(self, method: str, url: str, **kwargs: Any) -> Answer:
        if self.client is None:
            self.client = self.make()
        kwargs["follow_redirects"] = kwargs.pop("follow", True)
        response = await self.send(method, url, **kwargs)
        return Answer(
            response.status_code, response.headers, response.content, str(response.url), response.reason_phrase
        )

    def trust(self, context: ssl.SSLContext) -> None:
        self.options["verify"] = context

    def pool_of_one(self, wait: float = 0.05) -> None:
        self.options.update(limits=self.library.Limits(max_connections=1), timeout=self.library.Timeout(5, pool=wait))

    async def hold(self, url: str) -> Any:
        response = await self.client.send(self.client.build_request("GET", url), stream=True)
        return response.aread

    async def close(self) -> None:
        if self.client is not None:
            await self.client.aclose()


class SyncHttpxClient(HttpxClient):
    is_async = False

    def make(self) -> Any:
        return self.library.Client(**self.options)

    async def send(self, method: str, url: str, **kwargs: Any) -> Any:
        return self.client.request(method, url, **kwargs)

    async def hold(self, url: str) -> Any:
        response = self.client.send(self.client.build_request("GET", url), stream=True)

        async def read() -> bytes:
            return response.read()

        return read

    async def close(self) -> None:
        if self.client is not None:
            self.client.close()


ASYNC_CLIENTS: dict[str, Any] = {
    "aiohttp": AiohttpClient,
    **{library.__name__: partial(HttpxClient, library) for library in HTTPX},
}
CLIENTS = {**ASYNC_CLIENTS, **{f"{library.__name__}-sync": partial(SyncHttpxClient, library) for library in HTTPX}}


@pytest.fixture(params=CLIENTS)
async def http(request):
    """Each of the five clients in turn, as far as they are installed."""
    client = CLIENTS[request.param]()
    yield client
    await client.close()


@pytest.fixture(params=ASYNC_CLIENTS)
async def async_http(request):
    """Each of the three async clients in turn, as far as they are installed."""
    client = CLIENTS[request.param]()
    yield client
    await client.close()


KINDS = ["wire", "short", pytest.param("live", marks=[pytest.mark.live, pytest.mark.slow])]
"""Each promise is tested against the router, by either way that it answers httpx, and against a real server."""


@pytest.fixture(scope="session")
def real_proxy():
    with Proxy().running() as proxy:
        yield proxy


@pytest.fixture(scope="session")
def real_server():
    with LiveServer().running() as server:
        yield server


@pytest.fixture(scope="session")
def authority():
    """Who signs the certificate of the real server."""
    return pytest.importorskip("trustme").CA(key_type=importlib.import_module("trustme").KeyType.ECDSA)


@pytest.fixture(scope="session")
def secure_server(authority, tmp_path_factory):
    path = tmp_path_factory.mktemp("certificate") / "localhost.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(path))
    with LiveServer(str(path)).running() as server:
        yield server


@pytest.fixture
def trusting(authority):
    """A context for clients that trust the authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def _service(request, scheme, server):
    if request.param == "live":
        return request.getfixturevalue(server).serving(request.getfixturevalue("real_proxy"))
    return routed(scheme, wire=request.param == "wire")


@pytest.fixture(params=KINDS)
def service(request):
    """A service for plain HTTP and websockets."""
    with _service(request, "http", "real_server") as service:
        yield service


@pytest.fixture(params=[kind for kind in KINDS if kind != "short"])
def wired_service(request):
    """The same, always by way of connections."""
    with _service(request, "http", "real_server") as service:
        yield service


@pytest.fixture(params=KINDS)
def secure_service(request):
    """The same, over TLS."""
    with _service(request, "https", "secure_server") as service:
        yield service


@pytest.fixture
def broken_network():
    network = BrokenNetwork()
    yield network
    network.close()
