"""A shop that asks a database, a cache and an upstream, and runs of pytest on it that write a page."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

APP = """
import time

import httpx2
import redis.asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

engine = create_async_engine("sqlite+aiosqlite:///:memory:")
cache = redis.asyncio.Redis()
rates = httpx2.AsyncClient(base_url="https://ada:upstream-secret@rates.example.com")


SQL = "SELECT * FROM (SELECT 1 AS password) WHERE password = 'sql-secret' OR 1 = :one"


async def order(request):
    async with engine.connect() as connection:
        await connection.execute(text(SQL), {"one": 1})
    await cache.set("order:7", '{"token": "redis-secret"}')
    rate = await rates.get("/latest?api_key=query-secret")
    return JSONResponse(rate.json(), headers={"x-api-key": "header-secret"})


async def sleep(request):
    time.sleep(0.002)
    return JSONResponse({})


async def fail(request):
    raise KeyError("password='raised-secret'")


app = Starlette(routes=[Route("/orders/{id}", order, methods=["POST"]), Route("/sleep", sleep), Route("/fail", fail)])
"""

TESTS = """
    import pytest

    async def test_order(client, upstream):
        upstream.get("https://rates.example.com/latest").reply({"EUR": 2})
        response = await client.post("/orders/7?token=url-secret", json={"password": "body-secret"})
        assert response.json() == {"EUR": 2}

    async def test_sleep(client):
        await client.get("/sleep")

    async def test_fail(client, upstream):
        upstream.get("https://rates.example.com/latest").reply({"EUR": 2})
        headers = {"authorization": "Bearer bearer-secret"}
        await client.post("/orders/7", headers=headers, json={"password": "body-secret"})
        await client.get("/fail")

    @pytest.fixture
    def broken():
        raise RuntimeError("no printer")

    def test_error(broken):
        pass

    @pytest.mark.skip(reason="no printer here")
    def test_skipped():
        pass

    @pytest.mark.xfail(reason="bug 12")
    def test_known():
        assert 0

    def test_plain():
        pass
"""

INI = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
asyncapi_app = app:app
asyncapi_blocking_threshold = 20ms
"""

QUICK = ("-p", "no:randomly", "-p", "no:cacheprovider")
SHOP = (*QUICK, "--asyncapi-report=run.html")

Run = Callable[..., pytest.RunResult]


def data_of(page: Path) -> dict[str, Any]:
    """What the page's script reads, with each test by its name and the events' texts in their places."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    texts = data["texts"]
    for test in data["tests"]:
        events = [[*each, *[0] * (7 - len(each))] for each in test.get("e", [])]
        test["events"] = [
            {"kind": data["kinds"][kind], "at": at, "took": took, "label": texts[label], "outcome": texts[outcome],
             "detail": texts[detail], "bad": bool(bad)}
            for kind, at, took, label, outcome, detail, bad in events
        ]  # fmt: skip
    data["by_name"] = {test["n"].rpartition("::")[2]: test for test in data["tests"]}
    return data


@pytest.fixture
def shop(pytester: pytest.Pytester) -> Run:
    """`shop(*arguments)` runs the shop's tests."""
    pytester.makepyfile(app=APP, test_shop=TESTS)
    pytester.makeini(INI)
    pytester.syspathinsert()

    def run(*args: str, tests: str | None = None) -> pytest.RunResult:
        if tests is not None:
            pytester.makepyfile(test_shop=tests)
        return pytester.runpytest_inprocess(*SHOP, *args)

    return run
