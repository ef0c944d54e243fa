"""Culprits in web apps: endpoints, dependencies, middlewares, streams, websockets, background tasks, serialisation."""

from __future__ import annotations

import asyncio
import contextlib
import time

from fastapi import BackgroundTasks, Depends, FastAPI, WebSocket
from fastapi.encoders import jsonable_encoder
from fastapi.testclient import TestClient
from pydantic import BaseModel, field_validator
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

from . import Tools, culprit


def spend(seconds: float) -> None:
    time.sleep(seconds)  # BLOCKS


async def get(app, path: str = "/"):
    import httpx

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://corpus") as client:
        return await client.get(path)


@culprit("wait", spend)
async def web_endpoint(t: Tools):
    app = FastAPI()

    @app.get("/")
    async def endpoint():
        spend(t.seconds)

    await get(app)


@culprit("wait", spend)
async def web_async_dependency(t: Tools):
    app = FastAPI()

    async def dependency():
        spend(t.seconds)

    @app.get("/", dependencies=[Depends(dependency)])
    async def endpoint():
        pass

    await get(app)


@culprit("wait", spend)
async def web_dependency_exit(t: Tools):
    app = FastAPI()

    async def dependency():
        yield 1
        spend(t.seconds)

    @app.get("/")
    async def endpoint(value: int = Depends(dependency)):
        pass

    await get(app)


@culprit("wait", spend)
async def web_asgi_middleware(t: Tools):
    app = FastAPI()

    class Middleware:
        def __init__(self, app):
            self.app = app

        async def __call__(self, scope, receive, send):
            if scope["type"] == "http":
                spend(t.seconds)
            await self.app(scope, receive, send)

    app.add_middleware(Middleware)
    await get(app)


@culprit("wait", spend)
async def web_function_middleware(t: Tools):
    app = FastAPI()

    @app.middleware("http")
    async def middleware(request, call_next):
        response = await call_next(request)
        spend(t.seconds)
        return response

    await get(app)


@culprit("wait", spend)
async def web_background_task(t: Tools):
    app = FastAPI()

    async def work():
        spend(t.seconds)

    @app.get("/")
    async def endpoint(tasks: BackgroundTasks):
        tasks.add_task(work)

    await get(app)


@culprit("wait", spend)
async def web_spawned_task(t: Tools):
    app = FastAPI()

    async def work():
        await asyncio.sleep(0.001)
        spend(t.seconds)

    @app.get("/")
    async def endpoint():
        app.state.task = asyncio.create_task(work())

    await get(app)
    await app.state.task


@culprit("wait", spend)
async def web_stream(t: Tools):
    app = FastAPI()

    async def lines():
        yield "one\n"
        spend(t.seconds)
        yield "two\n"

    @app.get("/")
    async def endpoint():
        return StreamingResponse(lines())

    await get(app)


@culprit("wait", spend)
async def web_exception_handler(t: Tools):
    app = FastAPI()

    @app.exception_handler(KeyError)
    async def handler(request, error):
        spend(t.seconds)
        return JSONResponse({}, 500)

    @app.get("/")
    async def endpoint():
        raise KeyError("x")

    await get(app)


@culprit("wait", spend)
async def web_websocket(t: Tools):
    app = FastAPI()

    @app.websocket("/")
    async def endpoint(websocket: WebSocket):
        await websocket.accept()
        spend(t.seconds)
        await websocket.close()

    incoming = iter([{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1000}])

    async def receive():
        return next(incoming)

    async def send(message):
        pass

    scope = {"type": "websocket", "path": "/", "headers": [], "query_string": b"", "subprotocols": [], "scheme": "ws",
             "raw_path": b"/", "root_path": "", "client": ("c", 1), "server": ("s", 1), "asgi": {}}  # fmt: skip
    await app(scope, receive, send)


@culprit("wait", spend)
async def web_lifespan(t: Tools):
    @contextlib.asynccontextmanager
    async def lifespan(app):
        spend(t.seconds)
        yield

    app = FastAPI(lifespan=lifespan)
    async with app.router.lifespan_context(app):
        pass


@culprit("wait", spend)
async def web_starlette_endpoint(t: Tools):
    async def endpoint(request):
        spend(t.seconds)
        return PlainTextResponse("ok")

    await get(Starlette(routes=[Route("/", endpoint)]))


@culprit("wait", spend)
async def web_raw_asgi(t: Tools):
    async def app(scope, receive, send):
        spend(t.seconds)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    await get(app)


@culprit("wait", spend)
async def web_test_client(t: Tools):
    app = FastAPI()

    @app.get("/")
    async def endpoint():
        spend(t.seconds)

    def use():
        with TestClient(app) as client:
            client.get("/")

    await asyncio.to_thread(use)


@culprit("cpu")
async def web_compute(t: Tools):
    app = FastAPI()

    @app.get("/")
    async def endpoint():
        done = t.spun()
        while not done():  # BLOCKS
            sum(range(1000))  # BLOCKS

    await get(app)


@culprit("cpu")
async def web_compute_test_client(t: Tools):
    app = FastAPI()

    @app.get("/")
    async def endpoint():
        done = t.spun()
        while not done():  # BLOCKS
            sum(range(1000))  # BLOCKS

    def use():
        with TestClient(app) as client:
            client.get("/")

    await asyncio.to_thread(use)


@culprit("cpu")
async def web_validator(t: Tools):
    class Item(BaseModel):
        name: str

        @field_validator("name")
        @classmethod
        def check(cls, value):
            done = t.spun()
            while not done():  # BLOCKS
                sum(range(1000))  # BLOCKS
            return value

    app = FastAPI()

    @app.get("/")
    async def endpoint():
        Item(name="x")  # BLOCKS

    await get(app)


def _rows(n):
    return [{"id": i, "name": f"row {i}", "tags": ["a", "b"], "nested": {"x": i}} for i in range(n)]


def _response(t: Tools):
    return t.grow(_rows, jsonable_encoder, 200)


@culprit("cpu", prepare=_response)
async def web_serialisation(t: Tools, rows):
    app = FastAPI()

    @app.get("/")  # BLOCKS
    async def endpoint():  # BLOCKS
        return rows

    await get(app)
