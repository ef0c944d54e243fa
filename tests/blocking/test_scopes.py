"""The hooks that tell which request runs: unseen by servers, and gone with the request."""

import asyncio
import functools
import inspect
import sys
import time

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.testclient import TestClient

from pytest_asyncapi.asgi import current_scope
from pytest_asyncapi.blocking import detect_blocking

app = FastAPI()
spawned = []


async def later():
    await asyncio.sleep(0)
    time.sleep(0.001)


@app.get("/items/{item}")
async def read(item: int):
    time.sleep(0.001)
    spawned.append(asyncio.ensure_future(later()))
    return item


async def plain(scope, receive, send):
    """An app of no framework."""
    if scope["type"] == "http":
        time.sleep(0.001)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def client(of):
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=of), base_url="http://test")


def requests(blocks):
    return [block.request for block in blocks]


def test_the_wrapped_app_is_a_coroutine_function_to_all_who_ask():
    original = Starlette.__call__
    with detect_blocking(threshold=10):
        assert Starlette.__call__ is not original
        for asked in (Starlette.__call__, Starlette().__call__, functools.partial(Starlette().__call__), app.__call__):
            assert inspect.iscoroutinefunction(asked)
            if sys.version_info < (3, 12):
                assert asyncio.iscoroutinefunction(asked)
        assert inspect.signature(Starlette.__call__) == inspect.signature(original)
        config = uvicorn.Config(Starlette())
        config.load()
        assert config.interface == "asgi3"
        assert TestClient(Starlette()).get("/none").status_code == 404
    assert Starlette.__call__ is original


async def test_a_request_of_httpx_is_told_by_its_route_and_in_its_tasks():
    spawned.clear()
    async with detect_blocking(threshold=10) as blocks, client(app) as http:
        assert (await http.get("/items/7")).json() == 7
        assert current_scope.get() is None
        await asyncio.gather(*spawned)

    assert requests(blocks) == ["GET /items/{item}"] * 2


async def test_an_app_of_no_framework_is_told_by_the_path_that_it_gets():
    async with detect_blocking(threshold=10) as blocks, client(plain) as http:
        await http.get("/a%20path")
        assert current_scope.get() is None

    assert requests(blocks) == ["GET /a path"]


async def test_an_app_that_calls_another_has_its_own_request_again_afterwards():
    outer = FastAPI()

    @outer.get("/outer/{item}")
    async def call(item: int):
        async with client(app) as http:
            await http.get(f"/items/{item}")
        time.sleep(0.001)

    async with detect_blocking(threshold=10) as blocks, client(outer) as http:
        await http.get("/outer/7")
        assert current_scope.get() is None

    assert requests(blocks)[0] == "GET /items/{item}"
    assert requests(blocks)[-1] == "GET /outer/{item}"


async def test_a_failing_app_leaves_nothing_behind():
    failing = Starlette()

    async def fail(scope, receive, send):
        raise RuntimeError("the app's own")

    async def ignore(message):
        pass

    failing.mount("/", fail)
    async with detect_blocking(threshold=10), client(failing) as http:
        with pytest.raises(RuntimeError, match="the app's own"):
            await http.get("/")
        assert current_scope.get() is None
        with pytest.raises(RuntimeError, match="the app's own"):
            await failing({"type": "http", "method": "GET", "path": "/", "headers": []}, None, ignore)
        assert current_scope.get() is None
