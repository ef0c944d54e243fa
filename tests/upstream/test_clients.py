"""What the real client does, happens: the same test for each client that has the feature, against the router and a
server."""

from __future__ import annotations

import asyncio
import gzip
import sys
import zlib

import aiohttp
import httpx
import httpx2
import pytest

from pytest_asyncapi.upstream import Reply, Upstream, faults


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_change_the_method_as_the_client_will(http, service, status):
    service.on("/old", Reply(status, headers={"Location": "/new"}))
    service.on("/new", lambda request: {"method": request.method})

    answer = await http.request("POST", f"{service.base}/old", content=b"body")

    kept = status in (307, 308)
    assert answer.json() == {"method": "POST" if kept else "GET"}
    assert service.story == [("POST", "/old", b"body"), ("POST", "/new", b"body") if kept else ("GET", "/new", b"")]
    assert answer.url == f"{service.base}/new"


async def test_a_redirect_to_another_host_leaves_the_credentials_behind(http):
    with Upstream() as upstream:
        upstream.get("https://a.example.com/").reply(302, headers={"Location": "https://b.example.com/x?y=1"})
        there = upstream.get("https://b.example.com/x").reply("there")

        answer = await http.request("GET", "https://a.example.com/", headers={"Authorization": "Bearer x"})

    assert answer.text == "there"
    assert "authorization" not in there.calls.last.request.headers
    assert [call.request.headers["host"] for call in upstream.calls] == ["a.example.com", "b.example.com"]


async def test_too_many_redirects_are_the_clients_error(http, service):
    service.on("/loop", Reply(302, headers={"Location": "/loop"}))

    with pytest.raises((aiohttp.TooManyRedirects, httpx.TooManyRedirects, httpx2.TooManyRedirects)):
        await http.request("GET", f"{service.base}/loop")

    assert len(service.seen) in (10, 21)


async def test_redirects_are_followed_only_when_the_client_follows_them(http, service):
    service.on("/old", Reply(302, headers={"Location": "/new"}))

    assert (await http.request("GET", f"{service.base}/old", follow=False)).status == 302


async def test_cookies_come_back(http, service):
    service.on("/login", Reply(200, headers=[("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2; Path=/other")]))
    service.on("/me", lambda request: request.cookies)

    await http.request("GET", f"{service.base}/login")

    assert (await http.request("GET", f"{service.base}/me")).json() == {"a": "1"}


ENCODERS = {"gzip": gzip.compress, "deflate": zlib.compress}
try:
    import brotli

    ENCODERS["br"] = brotli.compress
except ImportError:
    pass
if sys.version_info >= (3, 14):
    from compression import zstd

    ENCODERS["zstd"] = zstd.compress


@pytest.mark.parametrize("encoding", ENCODERS)
async def test_bodies_are_decompressed(http, service, encoding):
    service.on("/", Reply(body=ENCODERS[encoding](b"plain text" * 50), headers={"Content-Encoding": encoding}))

    answer = await http.request("GET", f"{service.base}/")

    if encoding in service.seen[0].headers["accept-encoding"]:
        assert answer.content == b"plain text" * 50
    else:
        assert answer.content == ENCODERS[encoding](b"plain text" * 50)


async def test_chunked_answers_arrive_whole(http, service):
    service.on("/", lambda request: Reply(body=iter([b"one ", b"two ", b"three"])))

    answer = await http.request("GET", f"{service.base}/")

    assert (answer.text, answer.headers["transfer-encoding"]) == ("one two three", "chunked")


async def test_chunked_uploads_arrive_whole(http, service):
    service.on("/", 200)

    async def parts():
        yield b"one "
        yield b"two"

    content = parts() if http.is_async else iter([b"one ", b"two"])
    await http.request("POST", f"{service.base}/", content=content)

    assert service.seen[0].content == b"one two"
    assert service.seen[0].headers["transfer-encoding"] == "chunked"


async def test_forms_and_files_arrive(http):
    with Upstream() as upstream:
        route = upstream.post("https://x.test/", form={"a": "1"}).reply(200)
        files = upstream.post("https://x.test/files", form={"a": "1"}, files={"f": "n.txt"}).reply(200)
        await http.request("POST", "https://x.test/", data={"a": "1", "b": "ü"})
        if http.name == "aiohttp":
            form = aiohttp.FormData({"a": "1"})
            form.add_field("f", b"data", filename="n.txt", content_type="text/plain")
            await http.request("POST", "https://x.test/files", data=form)
        else:
            await http.request("POST", "https://x.test/files", data={"a": "1"}, files={"f": ("n.txt", b"data")})

    assert route.calls[0].request.form == {"a": ["1"], "b": ["ü"]}
    assert files.calls[0].request.files == {"f": [("n.txt", "text/plain", b"data")]}


async def test_large_bodies_go_both_ways(http, service):
    service.on("/", lambda request: request.content[::-1])
    content = bytes(range(256)) * 8000

    answer = await http.request("POST", f"{service.base}/", content=content)

    assert answer.content == content[::-1]


async def test_status_texts_and_header_case(http, service):
    service.on("/", Reply(418, headers=[("X-Two", "1"), ("X-Two", "2")]))

    answer = await http.request("GET", f"{service.base}/", headers={"X-Mine": "yes"})

    assert (answer.status, answer.reason) == (418, "I'm a Teapot")
    assert service.seen[0].headers["x-mine"] == "yes"
    values = answer.headers.getall("x-two") if http.name == "aiohttp" else answer.headers.get_list("x-two")
    assert values == ["1", "2"]


async def test_raise_for_status(http, service):
    service.on("/", 503)
    if http.name == "aiohttp":
        http.options["raise_for_status"] = True
        with pytest.raises(aiohttp.ClientResponseError, match="503"):
            await http.request("GET", f"{service.base}/")
    else:
        await http.request("GET", f"{service.base}/")
        response = await http.send("GET", f"{service.base}/")
        with pytest.raises(http.library.HTTPStatusError, match="503"):
            response.raise_for_status()


# -- connections


async def test_a_connection_is_kept_and_used_again(http):
    with Upstream(wire=True) as upstream:
        upstream.get("https://x.test/").reply({})
        upstream.get("https://x.test/close").reply(200, close=True)
        for path in ("", "", "close", ""):
            await http.request("GET", f"https://x.test/{path}")

        assert len(upstream.connections) == 2


@pytest.mark.parametrize("wire", [False, True])
@pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda each: each.__name__)
async def test_the_limit_of_an_httpx_pool_is_real(library, wire):
    with Upstream(wire=wire) as upstream:
        upstream.get("https://x.test/").reply("x")
        async with library.AsyncClient(limits=library.Limits(max_connections=1), timeout=0.05) as client:
            async with client.stream("GET", "https://x.test/"):
                with pytest.raises(library.PoolTimeout):
                    await client.get("https://x.test/")
            assert (await client.get("https://x.test/")).text == "x"

            async def slow_then_next():
                async with client.stream("GET", "https://x.test/"):
                    waiting = asyncio.create_task(client.get("https://x.test/"))
                    await asyncio.sleep(0.001)
                    assert not waiting.done()
                return await waiting

            assert (await slow_then_next()).text == "x"


async def test_the_limit_of_an_aiohttp_connector_is_real():
    with Upstream() as upstream:
        upstream.get("https://x.test/").reply("x" * 1_000_000)
        connector = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(connect=0.02)) as session:
            async with session.get("https://x.test/"):
                with pytest.raises(aiohttp.ServerTimeoutError):
                    await session.get("https://x.test/")
            async with session.get("https://x.test/") as response:
                assert response.status == 200


async def test_many_requests_at_once(async_http, service):
    service.on("/", lambda request: request.params["n"])

    answers = await asyncio.gather(*(async_http.request("GET", f"{service.base}/?n={n}") for n in range(50)))

    assert [each.text for each in answers] == [str(n) for n in range(50)]


async def test_a_slow_reader_holds_the_service_back():
    """Back-pressure: the service's generator waits while the client does not read."""
    made = 0

    async def body():
        nonlocal made
        for _ in range(100):
            made += 1
            yield b"x" * 65536

    with Upstream() as upstream:
        upstream.get("https://x.test/").reply(body)
        async with aiohttp.ClientSession() as session, session.get("https://x.test/") as response:
            for _ in range(100):
                await asyncio.sleep(0)
            before = made
            whole = await response.read()
        made = 0
        async with httpx2.AsyncClient() as client, client.stream("GET", "https://x.test/") as response:
            for _ in range(100):
                await asyncio.sleep(0)
            assert made < 20
            assert len(await response.aread()) == 6553600

    assert before < 20
    assert len(whole) == 6553600


# -- what sits on top of a client


async def test_aiohttp_traces_connections_and_requests():
    events = []
    trace = aiohttp.TraceConfig()
    for name in (
        "request_start",
        "connection_create_start",
        "connection_create_end",
        "connection_reuseconn",
        "request_end",
    ):
        getattr(trace, f"on_{name}").append(lambda *args, name=name: _note(events, name))

    with Upstream() as upstream:
        upstream.get("https://x.test/").reply({})
        async with aiohttp.ClientSession(trace_configs=[trace]) as session:
            for _ in range(2):
                async with session.get("https://x.test/"):
                    pass

    assert events == [
        *("request_start", "connection_create_start", "connection_create_end", "request_end"),
        *("request_start", "connection_reuseconn", "request_end"),
    ]


async def _note(events, name):
    events.append(name)


@pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda each: each.__name__)
async def test_httpx_traces_connections_and_requests(library):
    events = []

    async def trace(name, info):
        events.append(name)

    with Upstream() as upstream:
        upstream.get("https://x.test/").reply({})
        async with library.AsyncClient() as client:
            await client.get("https://x.test/", extensions={"trace": trace})

    assert [name for name in events if name.endswith("complete")] == [
        "connection.connect_tcp.complete",
        "connection.start_tls.complete",
        "http11.send_request_headers.complete",
        "http11.send_request_body.complete",
        "http11.receive_response_headers.complete",
        "http11.receive_response_body.complete",
        "http11.response_closed.complete",
    ]


@pytest.mark.skipif(not hasattr(aiohttp, "ClientMiddlewareType"), reason="aiohttp has middlewares since 3.12")
async def test_aiohttp_middlewares_run():
    async def add_header(request, handler):
        request.headers["X-Signed"] = "yes"
        response = await handler(request)
        response.release()
        return await handler(request) if response.status == 503 else response

    with Upstream() as upstream:
        route = upstream.get("https://x.test/").reply(503, {"ok": True})
        async with (
            aiohttp.ClientSession(middlewares=[add_header]) as session,
            session.get("https://x.test/") as response,
        ):
            assert await response.json() == {"ok": True}

    assert [call.request.headers["x-signed"] for call in route.calls] == ["yes", "yes"]


@pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda each: each.__name__)
async def test_httpx_event_hooks_and_auth_flows_run(library):
    seen = []

    async def on_request(request):
        seen.append(request.headers.get("authorization", "")[:6])

    with Upstream() as upstream:
        challenge = {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth"'}
        upstream.get("https://x.test/").reply(Reply(401, headers=challenge), "welcome")
        auth = library.DigestAuth("ada", "secret")
        async with library.AsyncClient(auth=auth, event_hooks={"request": [on_request]}) as client:
            assert (await client.get("https://x.test/")).text == "welcome"

    assert [call.request.headers.get("authorization", "")[:6] for call in upstream.calls] == ["", "Digest"]


async def test_expect_100_continue(service):
    service.on("/", lambda request: request.content)
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{service.base}/", data=b"x" * 100, expect100=True) as response,
    ):
        assert await response.read() == b"x" * 100

    assert service.seen[0].headers["expect"] == "100-continue"


@pytest.mark.parametrize("proxy", ["http://proxy.example.com:3128", "http://127.0.0.1:3128"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_proxies_are_seen_and_not_needed(http, scheme, proxy):
    with Upstream(wire=True) as upstream:
        route = upstream.get(f"{scheme}://x.test/a").reply("answer")
        if http.name == "aiohttp":
            answer = await http.request("GET", f"{scheme}://x.test/a", proxy=proxy)
        else:
            http.options["proxy"] = proxy
            answer = await http.request("GET", f"{scheme}://x.test/a")

    assert answer.text == "answer"
    assert route.calls[0].request.proxy.rstrip("/") == proxy


async def test_basic_credentials_in_the_url(http):
    with Upstream() as upstream:
        route = upstream.get("https://x.test/").reply(200)

        await http.request("GET", "https://ada:secret@x.test/")

    assert route.calls[0].request.headers["authorization"] == "Basic YWRhOnNlY3JldA=="


async def test_ports_and_addresses(http):
    with Upstream() as upstream:
        upstream.get("http://x.test:8080/").reply("port")
        upstream.get("http://[2001:db8::1]:81/").reply("v6")
        upstream.get("https://192.0.2.7/").reply("v4")

        assert (await http.request("GET", "http://x.test:8080/")).text == "port"
        assert (await http.request("GET", "http://[2001:db8::1]:81/")).text == "v6"
        assert (await http.request("GET", "https://192.0.2.7/")).text == "v4"


async def test_international_hosts(http):
    with Upstream() as upstream:
        upstream.get("https://xn--bcher-kva.example/").reply("books")

        assert (await http.request("GET", "https://bücher.example/")).text == "books"


@pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda each: each.__name__)
async def test_http2_clients_get_http1(library):
    pytest.importorskip("h2")
    for wire in (False, True):
        with Upstream(wire=wire) as upstream:
            upstream.get("https://x.test/").reply("x")
            async with library.AsyncClient(http2=True) as client:
                assert (await client.get("https://x.test/")).http_version == "HTTP/1.1"


# -- faults of a real network are the faults of the router


@pytest.mark.live
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["refused", "dns", "disconnect", "reset", "garbage", "truncate"])
async def test_a_real_network_fails_as_the_router_does(http, kind, broken_server):
    fault = faults.truncate(5) if kind == "truncate" else getattr(faults, kind)
    with Upstream() as upstream:
        upstream.post("https://x.test/").reply(fault)
        with pytest.raises(Exception) as ours:
            await http.request("POST", "https://x.test/", content=b"x")

    with pytest.raises(Exception) as real:
        await http.request("POST", broken_server(kind), content=b"x")

    assert type(ours.value) is type(real.value)


@pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda each: each.__name__)
async def test_a_write_time_out(library):
    with Upstream() as upstream, library.Client() as client:
        upstream.post("https://x.test/").reply(faults.write_timeout)
        with pytest.raises(library.WriteTimeout):
            client.post("https://x.test/")
