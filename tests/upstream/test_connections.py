"""The client's connections are its own: kept, limited, encrypted, sent through a proxy, as over a network."""

from __future__ import annotations

import asyncio
import ssl

import aiohttp
import pytest

from pytest_asyncapi.upstream import Reply, Upstream, faults
from pytest_asyncapi.upstream.http1 import BadRequest, RequestParser
from tests.httpx_libraries import LIBRARIES, each, newest


async def test_a_connection_is_kept_and_used_again(http, wired_service):
    wired_service.on("/", {})
    wired_service.on("/close", Reply(200, close=True))

    for path in ("", "", "close", ""):
        await http.request("GET", f"{wired_service.base}/{path}")

    assert len(wired_service.seen) == 4
    assert wired_service.connections == 2


async def test_a_client_that_wants_the_connection_closed(http, wired_service):
    wired_service.on("/", {})

    for _ in range(2):
        answer = await http.request("GET", f"{wired_service.base}/", headers={"Connection": "close"})
        assert answer.headers["connection"] == "close"

    assert wired_service.connections == 2


async def test_as_many_connections_as_requests_at_once(async_http, wired_service):
    wired_service.on("/", Reply(text="x", latency=0.02))

    await asyncio.gather(*(async_http.request("GET", f"{wired_service.base}/") for _ in range(5)))
    await asyncio.gather(*(async_http.request("GET", f"{wired_service.base}/") for _ in range(5)))

    assert wired_service.connections == 5


async def test_many_requests_at_once(async_http, service):
    service.on("/", lambda request: request.params["n"])

    answers = await asyncio.gather(*(async_http.request("GET", f"{service.base}/?n={n}") for n in range(50)))

    assert [each.text for each in answers] == [str(n) for n in range(50)]


POOL_IS_FULL = (aiohttp.ServerTimeoutError, *each("PoolTimeout"))


async def test_the_limit_of_a_pool_is_real(http, service):
    service.on("/", lambda request: Reply(body=iter([b"x" * 100_000] * 50)))
    http.pool_of_one()
    await http.request("GET", f"{service.base}/")

    read = await http.hold(f"{service.base}/")
    with pytest.raises(POOL_IS_FULL):
        await http.request("GET", f"{service.base}/")
    assert len(await read()) == 5_000_000

    assert len((await http.request("GET", f"{service.base}/")).content) == 5_000_000
    assert len(service.seen) == 3


async def test_who_waits_for_a_place_gets_it(async_http, service):
    service.on("/", lambda request: Reply(body=iter([b"x" * 100_000] * 50)))
    async_http.pool_of_one(wait=10)
    await async_http.request("GET", f"{service.base}/")

    read = await async_http.hold(f"{service.base}/")
    waiting = asyncio.create_task(async_http.request("GET", f"{service.base}/"))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await read()

    assert len((await waiting).content) == 5_000_000


@LIBRARIES
async def test_a_whole_answer_takes_a_place_too_until_it_is_read(library):
    with Upstream() as upstream:
        upstream.get("https://x.test/").reply("x")
        async with library.AsyncClient(limits=library.Limits(max_connections=1), timeout=0.05) as client:
            async with client.stream("GET", "https://x.test/"):
                with pytest.raises(library.PoolTimeout):
                    await client.get("https://x.test/")
            assert (await client.get("https://x.test/")).text == "x"


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
        async with newest.AsyncClient() as client, client.stream("GET", "https://x.test/") as response:
            for _ in range(100):
                await asyncio.sleep(0)
            assert made < 20
            assert len(await response.aread()) == 6553600

    assert before < 20
    assert len(whole) == 6553600


# -- TLS


async def test_https(http, secure_service, trusting):
    secure_service.on("/", lambda request: request.content)
    http.trust(trusting)

    for body in (b"x", b"y" * 200_000):
        answer = await http.request("POST", f"{secure_service.base}/", content=body)
        assert (answer.status, answer.content, answer.url) == (200, body, f"{secure_service.base}/")


@pytest.mark.live
@pytest.mark.slow
async def test_a_certificate_that_is_not_trusted(http, secure_server, real_proxy):
    with Upstream() as upstream:
        upstream.get("https://x.test/").reply(faults.tls)
        with pytest.raises(Exception) as ours:
            await http.request("GET", "https://x.test/")

    with secure_server.serving(real_proxy) as service, pytest.raises(Exception) as real:
        await http.request("GET", f"{service.base}/")

    assert type(ours.value) is type(real.value)
    assert "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: " in str(ours.value)
    assert "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: " in str(real.value)
    if http.name == "aiohttp":
        assert isinstance(real.value.certificate_error, ssl.SSLCertVerificationError)
        assert isinstance(ours.value.certificate_error, ssl.SSLCertVerificationError)


# -- proxies


async def get_through(http, proxy, url):
    if http.name == "aiohttp":
        return await http.request("GET", url, proxy=proxy)
    http.options["proxy"] = proxy
    return await http.request("GET", url)


async def test_a_proxy_is_asked_for_the_whole_url(http, service):
    service.on("/a", lambda request: request.path)

    answer = await get_through(http, service.proxy, f"{service.base}/a")

    assert answer.text == "/a"
    assert service.asked == [f"{service.base}/a"]


async def test_a_proxy_is_asked_for_a_tunnel_to_https(http, secure_service, trusting):
    secure_service.on("/a", lambda request: request.path)
    http.trust(trusting)

    answer = await get_through(http, secure_service.proxy, f"{secure_service.base}/a")

    assert answer.text == "/a"
    address = secure_service.base.removeprefix("https://")
    assert secure_service.asked == [address if ":" in address else f"{address}:443"]


async def test_the_credentials_of_a_proxy_reach_it(http, service):
    service.on("/", 200)

    await get_through(http, service.proxy.replace("://", "://ada:secret@"), f"{service.base}/")

    assert service.seen[0].headers["proxy-authorization"] == "Basic YWRhOnNlY3JldA=="


@pytest.mark.parametrize("proxy", ["http://proxy.example.com:3128", "http://127.0.0.1:3128"])
@pytest.mark.parametrize("url", ["http://x.test/a", "https://x.test/a", "https://x.test:8443/a"])
async def test_proxies_are_seen_and_not_needed(http, url, proxy):
    for wire in (False, True):
        with Upstream(wire=wire) as upstream:
            route = upstream.get(url).reply("answer")
            answer = await get_through(http, proxy, url)

        assert answer.text == "answer"
        assert route.calls[0].request.proxy == proxy


# -- addresses


async def test_basic_credentials_in_the_url(http, service):
    service.on("/", 200)

    await http.request("GET", f"{service.base.replace('://', '://ada:secret@')}/")

    assert service.seen[0].headers["authorization"] == "Basic YWRhOnNlY3JldA=="


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


@LIBRARIES
async def test_http2_clients_get_http1(library):
    pytest.importorskip("h2")
    for wire in (False, True):
        with Upstream(wire=wire) as upstream:
            upstream.get("https://x.test/").reply("x")
            async with library.AsyncClient(http2=True) as client:
                assert (await client.get("https://x.test/")).http_version == "HTTP/1.1"


@LIBRARIES
async def test_a_target_of_ones_own(library, service):
    """What httpx sends as it is: a path that it would write otherwise, a whole URL (as aiobotocore does), or ``*``."""
    service.on("/a//b", "path")
    service.on("/*", "all")

    async def get(method, target):
        return (await client.request(method, service.base, extensions={"target": target})).text

    async with library.AsyncClient() as client:
        assert await get("GET", b"/a//b?x=[1]") == "path"
        assert await get("OPTIONS", b"*") == "all"
    assert service.seen[0].query == {"x": ["[1]"]}


@LIBRARIES
@pytest.mark.parametrize("wire", [False, True])
async def test_a_target_that_is_a_whole_url(library, wire):
    with Upstream(wire=wire) as upstream:
        route = upstream.get("https://x.test/bucket/{key}").reply("data")
        async with library.AsyncClient() as client:
            target = {"target": b"https://x.test/bucket/a%20b"}
            assert (await client.get("https://x.test/bucket/a b", extensions=target)).text == "data"

    assert (route.calls.last.request.path_params, route.calls.last.request.proxy) == ({"key": "a b"}, None)


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        ("GET / HTTP/2.0", "GET / HTTP/2.0"),
        ("GET / FTP/1.1", "GET / FTP/1.1"),
        ("GET /", "GET /"),
        ("CONNECT x.test HTTP/1.1", "CONNECT to 'x.test'"),
        ("CONNECT x.test:https HTTP/1.1", "CONNECT to 'x.test:https'"),
        ("POST / HTTP/1.1\r\nContent-Length: +1", "the length '+1'"),
        ("POST / HTTP/1.1\r\nContent-Length: 1_0", "the length '1_0'"),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nx", "the length '-1'"),
    ],
)
def test_what_is_no_http1_is_refused(sent, named):
    parser = RequestParser("httpx", "http", "example.com", 80)
    parser.feed(f"{sent}\r\n\r\n".encode())

    with pytest.raises(BadRequest) as refused:
        parser.next_request()
    assert str(refused.value) == named
