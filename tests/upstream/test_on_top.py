"""What sits on top of a client runs as it does over a network: tracing, middlewares, event hooks, auth flows."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from pytest_asyncapi.upstream import Reply
from tests.httpx_libraries import LIBRARIES

SIGNALS = (
    "request_start",
    "request_end",
    "request_exception",
    "request_redirect",
    "request_headers_sent",
    "request_chunk_sent",
    "response_chunk_received",
    "connection_queued_start",
    "connection_queued_end",
    "connection_create_start",
    "connection_create_end",
    "connection_reuseconn",
)


def tracing(events):
    trace = aiohttp.TraceConfig()

    def note(name):
        async def noted(session, context, params):
            events.append(name)

        return noted

    for name in SIGNALS:
        getattr(trace, f"on_{name}").append(note(name))
    return trace


async def test_aiohttp_traces_connections_and_requests(wired_service):
    wired_service.on("/", "answer")
    wired_service.on("/old", Reply(302, headers={"Location": "/"}))
    events, sent = [], ("request_chunk_sent",)
    async with aiohttp.ClientSession(trace_configs=[tracing(events)]) as session:
        await (await session.post(f"{wired_service.base}/", data=b"body")).read()
        await (await session.get(f"{wired_service.base}/old")).read()

    if not hasattr(aiohttp, "ClientMiddlewareType"):  # before 3.12 an empty body was a chunk too, or none was
        events = [name for name in events if name != "request_chunk_sent"]
        sent = ()
    assert events == [
        *("request_start", "connection_create_start", "connection_create_end"),
        *("request_headers_sent", *sent, "request_end", "response_chunk_received"),
        *("request_start", "connection_reuseconn", "request_headers_sent", "request_redirect"),
        *("connection_reuseconn", "request_headers_sent", "request_end", "response_chunk_received"),
    ]


async def test_aiohttp_traces_who_waits_for_a_connection(wired_service):
    wired_service.on("/", Reply(text="x", latency=0.01))
    events = []
    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(connector=connector, trace_configs=[tracing(events)]) as session:

        async def get():
            await (await session.get(f"{wired_service.base}/")).read()

        await asyncio.gather(get(), get())

    assert sorted(name for name in events if name.startswith("connection")) == [
        *("connection_create_end", "connection_create_start"),
        *("connection_queued_end", "connection_queued_start", "connection_reuseconn"),
    ]


EXCHANGE = [
    f"http11.{step}.{point}"
    for step in (
        "send_request_headers",
        "send_request_body",
        "receive_response_headers",
        "receive_response_body",
        "response_closed",
    )
    for point in ("started", "complete")
]


async def traced_by_httpx(client, service):
    service.on("/", {})
    events = []

    async def trace(name, info):
        events.append(name)

    async with client:
        for _ in range(2):
            await client.post(f"{service.base}/", content=b"x", extensions={"trace": trace})
    return events


@LIBRARIES
async def test_httpx_traces_connections_and_requests(library, service):
    events = await traced_by_httpx(library.AsyncClient(), service)

    assert events == ["connection.connect_tcp.started", "connection.connect_tcp.complete", *EXCHANGE, *EXCHANGE]


@LIBRARIES
async def test_httpx_traces_tls(library, secure_service, trusting):
    events = await traced_by_httpx(library.AsyncClient(verify=trusting), secure_service)

    assert events == [
        *("connection.connect_tcp.started", "connection.connect_tcp.complete"),
        *("connection.start_tls.started", "connection.start_tls.complete"),
        *EXCHANGE,
        *EXCHANGE,
    ]


@pytest.mark.skipif(not hasattr(aiohttp, "ClientMiddlewareType"), reason="aiohttp has middlewares since 3.12")
async def test_aiohttp_middlewares_run(service):
    answers = iter([503, {"ok": True}])
    service.on("/", lambda request: next(answers))

    async def sign_and_retry(request, handler):
        request.headers["X-Signed"] = "yes"
        response = await handler(request)
        response.release()
        return await handler(request) if response.status == 503 else response

    async with (
        aiohttp.ClientSession(middlewares=[sign_and_retry]) as session,
        session.get(f"{service.base}/") as response,
    ):
        assert await response.json() == {"ok": True}

    assert [each.headers["x-signed"] for each in service.seen] == ["yes", "yes"]


@LIBRARIES
async def test_httpx_event_hooks_and_auth_flows_run(library, service):
    challenge = {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth"'}
    answers = iter([Reply(401, headers=challenge), "welcome"])
    service.on("/", lambda request: next(answers))
    events = []

    async def on_request(request):
        events.append("request")

    async def on_response(response):
        events.append(response.status_code)

    hooks = {"request": [on_request], "response": [on_response]}
    async with library.AsyncClient(auth=library.DigestAuth("ada", "secret"), event_hooks=hooks) as client:
        assert (await client.get(f"{service.base}/")).text == "welcome"

    assert [each.headers.get("authorization", "")[:6] for each in service.seen] == ["", "Digest"]
    assert events == ["request", 401, "request", 200]


@LIBRARIES
async def test_httpx_tells_of_the_network_stream(library, wired_service):
    """What an instrumented app asks a response for."""
    wired_service.on("/", 200)

    async with library.AsyncClient() as client, client.stream("GET", f"{wired_service.base}/") as response:
        stream = response.extensions["network_stream"]
        assert len(stream.get_extra_info("server_addr")) >= 2
        assert response.http_version == "HTTP/1.1"


async def test_expect_100_continue(service):
    service.on("/", lambda request: request.content)
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{service.base}/", data=b"x" * 100, expect100=True) as response,
    ):
        assert await response.read() == b"x" * 100

    assert service.seen[0].headers["expect"] == "100-continue"


async def test_aiohttp_knows_the_connection_of_a_response(wired_service):
    wired_service.on("/", Reply(body=iter([b"x" * 100_000] * 50)))
    async with aiohttp.ClientSession() as session, session.get(f"{wired_service.base}/") as response:
        transport = response.connection.transport
        assert transport.get_extra_info("peername")[1] == response.url.port
        assert not transport.is_closing()
