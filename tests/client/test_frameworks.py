"""One suite over six frameworks: FastAPI, Starlette, Litestar, Quart, Django and a plain ASGI callable.

Each app answers the same URLs:

    GET  /json?name=..      {"hello": name}
    POST /echo              the request's body
    GET  /stream            three parts, "part 0\\n" ..., one after another
    GET  /endless           "tick\\n" for ever; EVENTS gets "stopped" when it is closed
    GET  /missing           404
    GET  /error             raises Boom
    GET  /cookie            sets a cookie
    WS   /echo              sends back each text (not Django, which has no websockets)
"""

import asyncio
import contextlib
import json

import pytest

EVENTS = []
PACE = {"seconds": 0.001}  # between two ticks; None is no `await` at all


class Boom(Exception):
    pass


async def parts():
    for number in range(3):
        yield b"part %d\n" % number
        await asyncio.sleep(0.001)


async def ticks():
    try:
        while True:
            yield b"tick\n"
            if PACE["seconds"] is not None:
                await asyncio.sleep(PACE["seconds"])
    finally:
        EVENTS.append("stopped")


@contextlib.asynccontextmanager
async def lifespan(app):
    EVENTS.append("up")
    yield
    EVENTS.append("down")


def fastapi():
    from fastapi import FastAPI, Request, Response, WebSocket
    from fastapi.responses import StreamingResponse

    app = FastAPI(lifespan=lifespan)

    @app.get("/json")
    async def hello(name: str):
        return {"hello": name}

    @app.post("/echo")
    async def echo(request: Request):
        return Response(await request.body())

    @app.get("/stream")
    async def stream():
        return StreamingResponse(parts())

    @app.get("/endless")
    async def endless():
        return StreamingResponse(ticks())

    @app.get("/error")
    async def error():
        raise Boom("in the app")

    @app.get("/cookie")
    async def cookie(response: Response):
        response.set_cookie("flavour", "chocolate")

    @app.websocket("/echo")
    async def echo_socket(websocket: WebSocket):
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    return app


def starlette():
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse, Response, StreamingResponse
    from starlette.routing import Route, WebSocketRoute

    async def hello(request):
        return JSONResponse({"hello": request.query_params["name"]})

    async def echo(request):
        return Response(await request.body())

    async def stream(request):
        return StreamingResponse(parts())

    async def endless(request):
        return StreamingResponse(ticks())

    async def error(request):
        raise Boom("in the app")

    async def cookie(request):
        response = Response()
        response.set_cookie("flavour", "chocolate")
        return response

    async def echo_socket(websocket):
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    return Starlette(
        lifespan=lifespan,
        routes=[
            Route("/json", hello),
            Route("/echo", echo, methods=["POST"]),
            Route("/stream", stream),
            Route("/endless", endless),
            Route("/error", error),
            Route("/cookie", cookie),
            WebSocketRoute("/echo", echo_socket),
        ],
    )


def litestar():
    pytest.importorskip("litestar")
    from litestar import Litestar, Request, Response, WebSocket, get, post, websocket
    from litestar.response import Stream

    @get("/json")
    async def hello(name: str) -> dict[str, str]:
        return {"hello": name}

    @post("/echo", status_code=200)
    async def echo(request: Request) -> Response[bytes]:
        return Response(await request.body(), media_type="application/octet-stream")

    @get("/stream")
    async def stream() -> Stream:
        return Stream(parts())

    @get("/endless")
    async def endless() -> Stream:
        return Stream(ticks())

    @get("/error")
    async def error() -> None:
        raise Boom("in the app")

    @get("/cookie")
    async def cookie() -> Response[None]:
        response = Response(None)
        response.set_cookie("flavour", "chocolate")
        return response

    @websocket("/echo")
    async def echo_socket(socket: WebSocket) -> None:
        await socket.accept()
        async for text in socket.iter_data():
            await socket.send_text(text)

    handlers = [hello, echo, stream, endless, error, cookie, echo_socket]
    return Litestar(handlers, lifespan=[lifespan], logging_config=None)


def quart():
    pytest.importorskip("quart")
    from quart import Quart, jsonify, make_response, request, websocket

    app = Quart(__name__)
    app.config["PROPAGATE_EXCEPTIONS"] = True

    @app.before_serving
    async def up():
        EVENTS.append("up")

    @app.after_serving
    async def down():
        EVENTS.append("down")

    @app.get("/json")
    async def hello():
        return jsonify(hello=request.args["name"])

    @app.post("/echo")
    async def echo():
        return await request.get_data()

    @app.get("/stream")
    async def stream():
        return parts()

    @app.get("/endless")
    async def endless():
        response = await make_response(ticks())
        response.timeout = None
        return response

    @app.get("/error")
    async def error():
        raise Boom("in the app")

    @app.get("/cookie")
    async def cookie():
        response = await make_response("")
        response.set_cookie("flavour", "chocolate")
        return response

    @app.websocket("/echo")
    async def echo_socket():
        while True:
            await websocket.send(await websocket.receive())

    return app


def django():
    pytest.importorskip("django")
    import types

    from django.conf import settings
    from django.core.asgi import get_asgi_application
    from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
    from django.urls import path, set_urlconf

    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], SECRET_KEY="none", ROOT_URLCONF="", DEBUG_PROPAGATE_EXCEPTIONS=True)

    async def hello(request):
        return JsonResponse({"hello": request.GET["name"]})

    async def echo(request):
        return HttpResponse(request.body)

    async def stream(request):
        return StreamingHttpResponse(parts())

    async def endless(request):
        return StreamingHttpResponse(ticks())

    async def error(request):
        raise Boom("in the app")

    async def cookie(request):
        response = HttpResponse()
        response.set_cookie("flavour", "chocolate")
        return response

    views = {"json": hello, "echo": echo, "stream": stream, "endless": endless, "error": error, "cookie": cookie}
    urls = types.ModuleType("urls")
    urls.urlpatterns = [path(name, view) for name, view in views.items()]
    settings.ROOT_URLCONF = urls
    set_urlconf(urls)
    return get_asgi_application()


def raw():
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            EVENTS.append("up")
            await send({"type": "lifespan.startup.complete"})
            await receive()
            EVENTS.append("down")
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": message["text"]})
        else:
            await http(scope, receive, send)

    async def http(scope, receive, send):
        async def start(status=200, *headers):
            await send({"type": "http.response.start", "status": status, "headers": headers})

        async def body(data=b"", more=False):
            await send({"type": "http.response.body", "body": data, "more_body": more})

        if scope["path"] == "/json":
            name = scope["query_string"].partition(b"=")[2].decode()
            await start(200, (b"content-type", b"application/json"))
            await body(json.dumps({"hello": name}).encode())
        elif scope["path"] == "/echo":
            await start()
            more = True
            while more:
                message = await receive()
                more = message.get("more_body", False)
                await body(message.get("body", b""), more)
        elif scope["path"] in ("/stream", "/endless"):
            await start()
            async with contextlib.aclosing(parts() if scope["path"] == "/stream" else ticks()) as generator:
                async for part in generator:
                    await body(part, True)
                await body()
        elif scope["path"] == "/error":
            raise Boom("in the app")
        elif scope["path"] == "/cookie":
            await start(200, (b"set-cookie", b"flavour=chocolate"))
            await body()
        else:
            await start(404)
            await body(b"not found")

    return app


pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated inferred style")  # Litestar 2, of query parameters

FRAMEWORKS = {each.__name__: each for each in (fastapi, starlette, litestar, quart, django, raw)}


@pytest.fixture(params=FRAMEWORKS)
def framework(request):
    """The name of a framework."""
    return request.param


@pytest.fixture(scope="session")
def apps():
    """Each framework's app, made once: Django can be configured once only."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = FRAMEWORKS[name]()
        return made[name]

    return get


@pytest.fixture
async def client(connect, apps, framework):
    """A client of the framework's app."""
    EVENTS.clear()
    return await connect(apps(framework))


async def test_json(client):
    """A query and a JSON answer."""
    response = await client.get("/json", params={"name": "ada"})

    assert response.status_code == 200
    assert response.json() == {"hello": "ada"}
    assert response.headers["content-type"].startswith("application/json")


@pytest.mark.parametrize("size", [0, 10, 300_000])
async def test_a_body(client, size):
    """The request's body arrives whole, and comes back."""
    body = b"0123456789" * (size // 10)

    response = await client.post("/echo", content=body, headers={"content-type": "application/octet-stream"})

    assert response.content == body


async def test_an_upload(client):
    """So does one that is streamed."""

    async def upload():
        for word in ("to ", "and ", "fro"):
            yield word.encode()

    response = await client.post("/echo", content=upload(), headers={"content-type": "application/octet-stream"})

    assert response.text == "to and fro"


async def test_a_stream(client):
    """Parts arrive in their order."""
    async with client.stream("GET", "/stream") as response:
        assert [line async for line in response.aiter_lines()] == ["part 0", "part 1", "part 2"]

    assert (await client.get("/stream")).text == "part 0\npart 1\npart 2\n"


@pytest.mark.parametrize("pace", [0.001, None])
async def test_an_endless_stream(client, no_tasks_left, monkeypatch, pace):
    """It is read, left early, and stops, whether it waits then or stands at its `yield`."""
    monkeypatch.setitem(PACE, "seconds", pace)
    async with client.stream("GET", "/endless") as response:
        lines = response.aiter_lines()
        assert [await anext(lines) for _ in range(3)] == ["tick", "tick", "tick"]
        assert "stopped" not in EVENTS

    assert "stopped" in EVENTS
    no_tasks_left()


async def test_a_stream_that_hangs(client, monkeypatch):
    """The time-out names the line of the generator, through whatever the framework puts around it."""
    monkeypatch.setitem(PACE, "seconds", 3600)

    with pytest.raises(client.module.ReadTimeout) as raised:
        await client.get("/endless", timeout=0.2)

    assert str(raised.value).endswith('in ticks: await asyncio.sleep(PACE["seconds"])')


async def test_not_found(client):
    """The framework's own 404."""
    assert (await client.get("/missing")).status_code == 404


async def test_cookies(client):
    """The client keeps them."""
    await client.get("/cookie")

    assert client.cookies["flavour"] == "chocolate"


async def test_an_exception(client, framework):
    """It is raised in the test, where the framework lets it out; Litestar answers it with 500."""
    if framework == "litestar":
        response = await client.get("/error")
        assert response.status_code == 500
    else:
        with pytest.RaisesGroup(pytest.RaisesExc(Boom, match="in the app"), allow_unwrapped=True):  # Quart has a group
            await client.get("/error")


async def test_gathered(client):
    """Ten requests at once."""
    responses = await asyncio.gather(*(client.get("/json", params={"name": str(n)}) for n in range(10)))

    assert [response.json() for response in responses] == [{"hello": str(n)} for n in range(10)]


async def test_a_websocket(client, framework, no_tasks_left):
    """Text goes to and fro; Django has no websockets, and says so."""
    if framework == "django":
        with pytest.raises(ValueError, match="Django can only handle ASGI/HTTP connections, not websocket"):
            async with client.websocket_connect("/echo"):
                pass
        return
    async with client.websocket_connect("/echo") as ws:
        await ws.send_text("hello")
        assert await ws.receive_text() == "hello"
        await ws.send_text("again")
        assert await ws.receive_text() == "again"
    no_tasks_left()


async def test_the_lifespan(client, framework):
    """Up before the first request, down with the client; Django has none, and does not need one."""
    expected = [] if framework == "django" else ["up", "down"]
    assert expected[:1] == EVENTS

    await client.aclose()

    assert expected == EVENTS
