"""The clients that the router serves, with one small face, so that a test is written once for all of them."""

from __future__ import annotations

from typing import Any

import aiohttp
import httpx
import httpx2
import pytest


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

    async def close(self) -> None:
        if self.client is not None:
            await self.client.aclose()


class SyncHttpxClient(HttpxClient):
    is_async = False

    def make(self) -> Any:
        return self.library.Client(**self.options)

    async def send(self, method: str, url: str, **kwargs: Any) -> Any:
        return self.client.request(method, url, **kwargs)

    async def close(self) -> None:
        if self.client is not None:
            self.client.close()


CLIENTS = {
    "aiohttp": AiohttpClient,
    "httpx": lambda: HttpxClient(httpx),
    "httpx2": lambda: HttpxClient(httpx2),
    "httpx-sync": lambda: SyncHttpxClient(httpx),
    "httpx2-sync": lambda: SyncHttpxClient(httpx2),
}


@pytest.fixture(params=CLIENTS)
async def http(request):
    """Each of the five clients in turn."""
    client = CLIENTS[request.param]()
    yield client
    await client.close()


@pytest.fixture(params=["aiohttp", "httpx", "httpx2"])
async def async_http(request):
    """Each of the three async clients in turn."""
    client = CLIENTS[request.param]()
    yield client
    await client.close()
