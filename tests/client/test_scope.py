"""The scope is that of uvicorn, key by key."""

import importlib.util
import json

import pytest

from pytest_asyncapi.client.recorder import Recorder
from pytest_asyncapi.errors import ConfigurationError


@pytest.fixture
def mirror(app_of, respond):
    """An app that answers with its scope, and the scopes that it saw."""
    scopes = []

    async def endpoint(scope, receive, send):
        scopes.append(scope)
        await respond(send)

    return app_of(endpoint), scopes


async def test_the_whole_scope(connect, mirror, way):
    """As uvicorn 0.54 builds it, but for the extensions, which uvicorn does not have."""
    app, scopes = mirror
    client = await connect(app)

    await client.get("/a%20b/c%2Fd?x=1&x=%C3%A9", headers=[("X-One", "1"), ("x-one", "2")])

    (scope,) = scopes
    headers = scope.pop("headers")
    assert scope.pop("extensions", {"http.response.debug": {}}) == {"http.response.debug": {}}
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("testserver", 80),
        "client": ("127.0.0.1", 50000),
        "scheme": "http",
        "method": "GET",
        "root_path": "",
        "path": "/a b/c/d",
        "raw_path": b"/a%20b/c%2Fd",
        "query_string": b"x=1&x=%C3%A9",
        "state": {},
    }
    assert headers[0] == (b"host", b"testserver")
    assert [value for name, value in headers if name == b"x-one"] == [b"1", b"2"]
    assert not [name for name, _ in headers if name != name.lower() or name.startswith(b"x-asyncapi")]


@pytest.mark.parametrize(
    ("base_url", "scheme", "server"),
    [
        ("http://testserver", "http", ("testserver", 80)),
        ("https://testserver", "https", ("testserver", 443)),
        ("https://shop.example:8443", "https", ("shop.example", 8443)),
        ("http://127.0.0.1:8000/prefix", "http", ("127.0.0.1", 8000)),
    ],
)
async def test_scheme_and_port(connect, mirror, base_url, scheme, server):
    """Default ports are filled in, as a server knows them."""
    app, scopes = mirror
    client = await connect(app, base_url=base_url)

    await client.get("/x")

    assert (scopes[0]["scheme"], scopes[0]["server"]) == (scheme, server)


async def test_root_path(connect, mirror):
    """Both paths begin with it, as in uvicorn since 0.26."""
    app, scopes = mirror
    client = await connect(app, root_path="/api/v1")

    await client.get("/users/7")

    assert scopes[0]["root_path"] == "/api/v1"
    assert scopes[0]["path"] == "/api/v1/users/7"
    assert scopes[0]["raw_path"] == b"/api/v1/users/7"


async def test_routing_under_a_root_path(connect):
    """FastAPI finds its routes and builds its URLs under a root path."""
    from fastapi import FastAPI, Request

    app = FastAPI()

    @app.get("/users/{number}")
    async def user(number: int, request: Request):
        return str(request.url_for("user", number=number))

    client = await connect(app, root_path="/api")

    assert (await client.get("/users/7")).json() == "http://testserver/api/users/7"


async def test_the_address_of_the_client(connect, mirror):
    """Is what the client was made with; None where the server does not know it."""
    app, scopes = mirror

    await (await connect(app, client=("10.1.2.3", 4567))).get("/")
    await (await connect(app, client=None)).get("/")

    assert [scope["client"] for scope in scopes] == [("10.1.2.3", 4567), None]


@pytest.mark.parametrize("way", ["process"], indirect=True)  # differs: `http_version`
async def test_the_http_version(connect, mirror):
    """Is what the client was made with, in the scope and in the response."""
    app, scopes = mirror
    client = await connect(app, http_version="2")

    response = await client.get("/")

    assert scopes[0]["http_version"] == "2"
    assert response.http_version == "HTTP/2"


async def test_the_state_of_the_lifespan(connect):
    """Each request gets a shallow copy of its own."""
    seen = []

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            scope["state"]["pool"] = pool
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        seen.append(dict(scope["state"]))
        scope["state"]["request"] = "mine"
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    pool = object()
    client = await connect(app)

    await client.get("/")
    await client.get("/")

    assert seen == [{"pool": pool}, {"pool": pool}]


async def test_debug(connect, app_of):
    """What an app says of its templates is in the response's extensions."""

    async def endpoint(scope, receive, send):
        await send({"type": "http.response.debug", "info": {"template": "index.html"}})
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    client = await connect(app_of(endpoint))

    response = await client.get("/")

    assert response.extensions["http.response.debug"] == {"template": "index.html"}


@pytest.mark.parametrize("way", ["process"], indirect=True)  # differs: trailers, early hints, pathsend
async def test_extensions_on_request(connect, app_of, tmp_path):
    """Trailers, early hints and pathsend, where the client offers them."""
    file = tmp_path / "page.html"
    file.write_bytes(b"<p>" * 50_000)

    async def endpoint(scope, receive, send):
        offered = sorted(scope["extensions"])
        await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]})
        if scope["path"] == "/file":
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.pathsend", "path": str(file)})
            return
        await send({"type": "http.response.start", "status": 200, "trailers": True})
        await send({"type": "http.response.body", "body": json.dumps(offered).encode()})
        await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"1")], "more_trailers": True})
        await send({"type": "http.response.trailers", "headers": [(b"x-end", b"2")]})

    names = ["http.response.trailers", "http.response.early_hint", "http.response.pathsend"]
    client = await connect(app_of(endpoint), asgi_extensions=names)

    response = await client.get("/")
    assert response.json() == sorted(names)
    assert response.extensions["http.response.trailers"] == [(b"x-sum", b"1"), (b"x-end", b"2")]
    assert response.extensions["http.response.early_hint"] == [b"</a.css>; rel=preload"]
    assert (await client.get("/file")).content == file.read_bytes()
    with pytest.raises(ConfigurationError) as raised:
        await connect(app_of(endpoint), asgi_extensions=["trailers"])
    assert str(raised.value) == (
        "unknown ASGI extension 'trailers': expected some of http.response.debug, http.response.trailers, "
        "http.response.early_hint, http.response.pathsend"
    )


async def test_a_request_that_the_server_refuses(connect, app_of, respond, way):
    """uvicorn's parser httptools knows its methods: the answer is the server's own, at once; the app is not asked."""
    refused = way == "live" and importlib.util.find_spec("httptools") is not None
    asked = []

    async def endpoint(scope, receive, send):
        asked.append(scope["method"])
        await respond(send)

    recorder = Recorder()
    client = await connect(app_of(endpoint), recorder=recorder)

    response = await client.request("BREW", "/")

    assert (response.status_code, asked) == ((400, []) if refused else (200, ["BREW"]))
    assert f"<- {response.status_code}" in recorder.render()
    assert (await client.get("/")).status_code == 200
