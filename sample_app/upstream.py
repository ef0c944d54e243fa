"""How to ask another service for JSON: with a time limit, a few retries, and errors of one's own.

The same function twice, for aiohttp and for httpx2: both map what their library raises to `UpstreamError`, which
`sample_app.errors` turns into a 502 or a 504. The clients are made once, in the lifespan: a pool of connections that is
thrown away after each request is none.
"""

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import aiohttp
import httpx2
from fastapi import Depends, Request

T = TypeVar("T")

ATTEMPTS = 3
FIRST_PAUSE = 0.2
TIMEOUT = 5.0
CONNECT_TIMEOUT = 2.0

TLS = ssl.create_default_context()
"""Made once: to read the certificates of the system takes longer than all else that a new client does."""


class UpstreamError(Exception):
    """The other service did not give what was asked of it."""


class UpstreamBusy(UpstreamError):
    """It answered 503, which asks to be tried again."""


class UpstreamTimeout(UpstreamError):
    """It did not answer in time."""


def make_aiohttp_session() -> aiohttp.ClientSession:
    """To be used with ``async with``, in a running loop."""
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT, connect=CONNECT_TIMEOUT))


def make_httpx_client() -> httpx2.AsyncClient:
    """To be used with ``async with``."""
    return httpx2.AsyncClient(verify=TLS, timeout=httpx2.Timeout(TIMEOUT, connect=CONNECT_TIMEOUT))


async def get_aiohttp_session(request: Request) -> aiohttp.ClientSession:
    """The session of this app's lifespan."""
    session: aiohttp.ClientSession = request.state.aiohttp_session
    return session


async def get_httpx_client(request: Request) -> httpx2.AsyncClient:
    """The client of this app's lifespan."""
    client: httpx2.AsyncClient = request.state.httpx_client
    return client


AiohttpSession = Annotated[aiohttp.ClientSession, Depends(get_aiohttp_session)]
HttpxClient = Annotated[httpx2.AsyncClient, Depends(get_httpx_client)]


async def fetch_by_aiohttp(session: aiohttp.ClientSession, url: str) -> Any:
    """The JSON at `url`, by aiohttp."""

    async def attempt() -> Any:
        try:
            async with session.get(url) as response:
                if response.status == 503:
                    raise UpstreamBusy(f"{url} answered 503")
                response.raise_for_status()
                return await response.json()
        except TimeoutError as error:
            raise UpstreamTimeout(f"{url} did not answer in time") from error
        except (aiohttp.ClientError, ValueError) as error:
            raise UpstreamError(f"{url} failed: {error!r}") from error

    return await retry(attempt)


async def fetch_by_httpx(client: httpx2.AsyncClient, url: str) -> Any:
    """The JSON at `url`, by httpx2."""

    async def attempt() -> Any:
        try:
            response = await client.get(url)
            if response.status_code == 503:
                raise UpstreamBusy(f"{url} answered 503")
            return response.raise_for_status().json()
        except httpx2.TimeoutException as error:
            raise UpstreamTimeout(f"{url} did not answer in time") from error
        except (httpx2.HTTPError, ValueError) as error:
            raise UpstreamError(f"{url} failed: {error!r}") from error

    return await retry(attempt)


async def retry(attempt: Callable[[], Awaitable[T]]) -> T:
    """Try again while the service says that it is busy, and wait longer each time.

    The pause is partly chance, so that the callers of a service that comes back do not all return in the same instant.
    Only for requests that may be sent twice.
    """
    pause = FIRST_PAUSE
    for _ in range(ATTEMPTS - 1):
        try:
            return await attempt()
        except UpstreamBusy:
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause *= 2
    return await attempt()
