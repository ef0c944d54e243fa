"""The upstream router beside respx, aioresponses-ng and aiointercept: ``python -m benchmarks upstream``."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import httpx
import httpx2
import respx
import respx.mocks
from aiointercept import aiointercept
from aioresponses import aioresponses

from benchmarks._timing import ratios, table
from pytest_asyncapi.upstream import Upstream

URL = "https://api.example.com/users/7"
BODY = {"id": 7, "name": "Ada"}
REQUESTS = 100
OURS = ("upstream", "200 routes")  # the rows whose getting worse is named


class HTTPCore2Mocker(respx.mocks.HTTPCoreMocker):  # respx has none of its own for httpx2
    name = "httpcore2"
    targets = [target.replace("httpcore", "httpcore2") for target in respx.mocks.HTTPCoreMocker.targets]  # noqa: RUF012

    @classmethod
    async def from_async_httpx_response(cls, httpx_response: Any, target: Any, **kwargs: Any) -> Any:
        import httpcore2

        return httpcore2.Response(
            status=httpx_response.status_code,
            headers=httpx_response.headers.raw,
            content=httpx_response.stream,
            extensions=httpx_response.extensions,
        )


class Benches:
    """One loop for all, and the sessions that live in it."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()

    def run(self, main: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(main)

    def requests(self, send: Callable[[], Coroutine[Any, Any, Any]], count: int = REQUESTS) -> None:
        async def batch() -> None:
            for _ in range(count):
                await send()

        self.run(batch())


def aiohttp_cases(benches: Benches) -> dict[str, Callable[[], object]]:
    async def with_session(mock: Any) -> None:
        async with aiohttp.ClientSession() as session:
            for _ in range(REQUESTS):
                async with session.get(URL) as response:
                    assert await response.json() == BODY

    async def ours() -> None:
        with Upstream() as upstream:
            upstream.get(URL).reply(BODY)
            await with_session(upstream)

    async def intercept() -> None:
        async with aiointercept(mock_external_urls=True) as mock:
            mock.get(URL, payload=BODY, repeat=True)
            await with_session(mock)

    async def responses() -> None:
        with aioresponses() as mock:
            mock.get(URL, payload=BODY, repeat=True)
            await with_session(mock)

    return {
        "upstream": lambda: benches.run(ours()),
        "aiointercept": lambda: benches.run(intercept()),
        "aioresponses-ng": lambda: benches.run(responses()),
    }


def httpx_cases(benches: Benches, library: Any, using: str) -> dict[str, Callable[[], object]]:
    async def requests() -> None:
        async with library.AsyncClient(verify=False) as client:
            for _ in range(REQUESTS):
                assert (await client.get(URL)).json() == BODY

    async def ours() -> None:
        with Upstream() as upstream:
            upstream.get(URL).reply(BODY)
            await requests()

    async def theirs() -> None:
        with respx.mock(using=using) as mock:
            mock.get(URL).respond(json=BODY)
            await requests()

    return {"respx": lambda: benches.run(theirs()), "upstream": lambda: benches.run(ours())}


def enter_and_exit(benches: Benches) -> dict[str, Callable[[], object]]:
    def ours() -> None:
        with Upstream(assert_all_called=False) as upstream:
            upstream.get(URL).reply(BODY)

    def theirs() -> None:
        with respx.mock(assert_all_called=False) as mock:
            mock.get(URL).respond(json=BODY)

    return {"respx": theirs, "upstream": ours}


def many_routes(benches: Benches) -> dict[str, Callable[[], object]]:
    client = httpx2.AsyncClient(verify=False)
    one, many = Upstream(assert_all_called=False), Upstream(assert_all_called=False)
    for number in range(199):
        many.get(f"https://api.example.com/things{number}/{{id}}").reply(BODY)
    for upstream in (one, many):
        upstream.get("https://api.example.com/users/{id}").reply(BODY)

    async def get() -> None:
        assert (await client.get(URL)).json() == BODY

    def run(upstream: Upstream) -> None:
        with upstream.open():
            benches.requests(get)

    return {"one route": lambda: run(one), "200 routes": lambda: run(many)}


def main() -> None:
    benches = Benches()
    print(table("aiohttp, 100 requests in a session", ratios(aiohttp_cases(benches), baseline="aiointercept")))
    print(table("httpx, 100 requests", ratios(httpx_cases(benches, httpx, "httpcore"))))
    print(table("httpx2, 100 requests", ratios(httpx_cases(benches, httpx2, "httpcore2"))))
    print(table("enter and exit with one route", ratios(enter_and_exit(benches), number=50)))
    print(table("httpx2, 100 requests, many routes", ratios(many_routes(benches))))


if __name__ == "__main__":
    main()
