"""The scope of a request in the process is the one that a real uvicorn makes of the same request."""

import asyncio
import contextlib
import socket

import pytest
import uvicorn
from uvicorn.config import WS_PROTOCOLS

from pytest_asyncapi.client.async_client import client_class
from pytest_asyncapi.client.transport import http_module
from tests.httpx_libraries import newest

PATHS = [
    *(
        "",
        "/",
        "/a b",
        "/a%20b",
        "/a%2Fb",
        "/a%252Fb",
        "/é",
        "/%C3%A9",
        "/ä?ö=ü",
        "/%e4%b8%ad/%2e%2e/x",
        "/%ff",
        "/%zz",
    ),
    *("/a/../b", "/./a/.", "/a//b", "/a;x=1", "/~a", "/%7Ea", "/%41", "/a|b", "/a\\b", "/[x]", "/{x}", "/a^`b", "/:/@"),
    *(
        "/a?",
        "/a?x",
        "/a?x=1&x=2",
        "/a?q=é",
        "/a?q=%zz",
        "/a?%ff",
        "/a?x=a+b%20c",
        "/a?x='\"<>",
        "/a?a[]=1",
        "/a?b?c=/d",
    ),
    *("/a#part", "/a?x#part", "/a%00b"),
]
HEADERS = [
    [],
    [("X-One", "1"), ("x-two", "2"), ("X-One", "3")],
    [("x-latin", "é".encode("latin-1")), ("x-empty", "")],
    [("Host", "other.example:99"), ("Cookie", "a=b; c=d")],
    [("Content-Type", "text/plain"), ("Accept", "a"), ("accept", "b")],
]
METHODS = ["HEAD", "OPTIONS", "PATCH", "DELETE", "get", "CUSTOM"]


@pytest.fixture
def scopes():
    """The scopes that the app has seen."""
    return []


@pytest.fixture
def app(scopes):
    """An app that keeps its scopes, and has a state."""

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            scope["state"]["pool"] = "a pool"
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        scopes.append(scope)
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await receive()
            return
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    return app


@contextlib.asynccontextmanager
async def served(app, host, root_path, http="h11", ws="auto"):
    """A uvicorn of the app, in this loop, with one of its parsers: its base URL."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # see LiveServer
        listener.bind((host, 0))
    except OSError:
        pytest.skip(f"this machine has no {host}")
    config = uvicorn.Config(
        app, log_config=None, access_log=False, proxy_headers=False, root_path=root_path, http=http, ws=ws
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    shown = f"[{host}]" if ":" in host else host
    try:
        yield f"http://{shown}:{listener.getsockname()[1]}"
    finally:
        await server.shutdown(sockets=[listener])


def comparable(scope):
    """Without what must differ: the client's port, and uvicorn's lack of extensions."""
    return {**scope, "client": scope["client"][0], "extensions": None}


@pytest.mark.parametrize("root_path", ["", "/api/v1"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("http", ["h11", "httptools"])
async def test_requests(app, scopes, library, host, root_path, http):
    """Paths, queries, headers, methods and bodies of many kinds."""
    pytest.importorskip(http)
    module = http_module(library)
    requests = [("GET", path, [], b"") for path in PATHS]
    requests += [("POST", "/", headers, b"body") for headers in HEADERS]
    # llhttp, of httptools, takes the methods that it knows, and no other
    requests += [(method, "/", [], b"") for method in METHODS if (http, method) != ("httptools", "CUSTOM")]
    async with (
        served(app, host, root_path, http) as base_url,
        module.AsyncClient(base_url=base_url, trust_env=False) as wire,
        client_class(module)(app, base_url=base_url, root_path=root_path, client=(host, 1)) as ours,
    ):
        for method, path, headers, body in requests:
            for client in (wire, ours):
                await client.request(method, path, headers=headers, content=body)
            expected, found = map(comparable, scopes[-2:])
            assert found == expected, (method, path, headers)
    assert len(scopes) == 2 * len(requests)


# uvicorn's older implementation on websockets
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The .websockets. implementation")
@pytest.mark.parametrize(
    ("http", "ws"),
    [("h11", "wsproto"), ("h11", "websockets"), ("h11", "websockets-sansio"), ("httptools", "wsproto")],
)
async def test_a_websocket(app, scopes, http, ws):
    """The scope of a websocket, with its subprotocols; the handshake's own headers have another order."""
    if ws not in WS_PROTOCOLS:
        pytest.skip(f"this uvicorn has no {ws}")
    pytest.importorskip(http)
    make = client_class(newest)
    protocols = ["chat", "superchat"]
    async with (
        served(app, "127.0.0.1", "/api", http, ws) as base_url,
        make(app, base_url=base_url, root_path="/api") as ours,
    ):
        async with ours.websocket_connect("/a%20b?x=1", subprotocols=protocols, headers={"x-one": "1"}):
            pass
        host, _, port = base_url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            f"GET /a%20b?x=1 HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
            "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "sec-websocket-protocol: chat, superchat\r\nx-one: 1\r\n\r\n".encode()
        )
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    found, expected = map(comparable, scopes)
    left_out = {b"accept", b"accept-encoding", b"user-agent"}
    if ws == "wsproto":  # keeps to itself what it has read
        left_out.add(b"sec-websocket-protocol")
    headers = [dict(pair for pair in scope.pop("headers") if pair[0] not in left_out) for scope in (found, expected)]
    assert found == expected
    assert headers[0] == headers[1]
    assert expected["subprotocols"] == protocols
