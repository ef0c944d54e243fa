"""The life of a router: nesting, loops, threads, what it leaves alone, what it forgets."""

from __future__ import annotations

import asyncio
import socket
import threading

import aiohttp
import pytest

from pytest_asyncapi.errors import UnmatchedRequest, UnusedRoute, UpstreamError
from pytest_asyncapi.upstream import Upstream, active
from tests.httpx_libraries import HTTPX, LIBRARIES, newest

URL = "https://x.test/"


async def test_nested_routers_share_no_route(http):
    with Upstream() as outer:
        outer.get(URL).reply("outer")
        inner = Upstream(strict=False)
        with inner:
            with pytest.raises(UnmatchedRequest):
                await http.request("GET", URL)
            inner.get(URL).reply("inner")
            assert (await http.request("GET", URL)).text == "inner"
        assert (await http.request("GET", URL)).text == "outer"

    assert (len(outer.calls), len(inner.calls)) == (1, 2)
    assert active.STACK == []


@pytest.mark.parametrize("wire", [False, True])
@LIBRARIES
def test_a_client_of_a_module_works_in_every_loop(library, wire):
    client = library.AsyncClient()

    async def get():
        return (await client.get(URL)).text

    for number in range(3):
        with Upstream(wire=wire) as upstream:
            upstream.get(URL).reply(str(number))
            with asyncio.Runner() as runner:
                assert runner.run(get()) == str(number)


async def test_a_router_answers_the_loops_of_other_threads():
    answers = []

    async def get():
        async with aiohttp.ClientSession() as session, session.get(URL) as response:
            answers.append(await response.text())
        async with newest.AsyncClient() as client:
            answers.append((await client.get(URL)).text)

    with Upstream(wire=True) as upstream:
        upstream.get(URL).reply("x")
        thread = threading.Thread(target=asyncio.run, args=(get(),))
        thread.start()
        await asyncio.to_thread(thread.join)

    assert answers == ["x", "x"]


@pytest.mark.parametrize("wire", [False, True])
@LIBRARIES
async def test_sync_clients_in_threads(library, wire):
    """One client for all threads, beside a running loop."""
    with Upstream(wire=wire) as upstream, library.Client() as client:
        upstream.get("https://x.test/{n}").reply(lambda request, n: {"n": n})
        numbers = [str(n) for n in range(40)]
        answers = await asyncio.gather(*(asyncio.to_thread(client.get, URL + number) for number in numbers))

    assert [each.json()["n"] for each in answers] == numbers
    assert len(upstream.calls) == 40


async def test_a_response_that_was_never_closed_gives_its_place_back_when_the_router_goes():
    async with newest.AsyncClient(limits=newest.Limits(max_connections=1), timeout=0.05) as client:
        for _ in range(2):
            with Upstream() as upstream:
                upstream.get(URL).reply("x")
                await client.send(client.build_request("GET", URL), stream=True)


async def test_an_open_connection_to_the_real_service_is_not_used(http):
    """A client that was connected before the router came asks the router."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nreal")
                connection.recv(65536)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        assert (await http.request("GET", url)).text == "real"
        with Upstream(wire=True) as upstream:
            upstream.get(url).reply("fake")
            assert (await http.request("GET", url)).text == "fake"
        await asyncio.to_thread(thread.join)


async def test_unix_sockets_are_left_alone(tmp_path):
    path = str(tmp_path / "socket")

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nreal")
        await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(answer, path):
        with Upstream() as upstream:
            upstream.get("http://docker/x", required=False).reply("fake")
            for library in HTTPX:
                async with library.AsyncClient(transport=library.AsyncHTTPTransport(uds=path)) as client:
                    assert (await client.get("http://docker/x")).text == "real"
            connector = aiohttp.UnixConnector(path)
            async with (
                aiohttp.ClientSession(connector=connector) as session,
                session.get("http://docker/x") as response,
            ):
                assert await response.text() == "real"

    assert upstream.calls == []


async def test_the_loopback_and_allowed_hosts_are_left_alone():
    upstream = Upstream(allow=["*.minio.local", "10.0.0.0/8"])
    hosts = ["localhost", "127.0.0.1", "::1", "a.minio.local", "10.1.2.3", "example.com"]
    assert [host for host in hosts if upstream.intercepts(host, 80)] == ["example.com"]

    upstream.get("http://127.0.0.1:9000/x")
    upstream.get("https://a.minio.local/")
    assert upstream.intercepts("127.0.0.1", 9000)
    assert not upstream.intercepts("127.0.0.1", 9001)
    assert upstream.intercepts("a.minio.local", 443)


async def test_reset_forgets_the_calls_and_clear_the_routes():
    upstream = Upstream(strict=True)
    with upstream.open(), newest.Client() as client:
        route = upstream.get(URL).reply(503, 200)
        client.get(URL)
        with pytest.raises(UnmatchedRequest):
            client.get("https://other.test/")

        upstream.reset()
        assert (route.calls, upstream.calls, upstream.problems) == ([], [], [])
        assert client.get(URL).status_code == 503

        upstream.checks.append(lambda: "the check of a cassette")
        assert upstream.failures() == ["the check of a cassette"]
        upstream.clear()
        assert (upstream.routes, upstream.failures()) == ([], [])
        with pytest.raises(UnmatchedRequest, match="no routes are set up"):
            client.get(URL)


def test_the_end_of_the_block_raises_what_is_wrong():
    with pytest.raises(UnusedRoute, match="upstream route never called"), Upstream() as upstream:
        upstream.get(URL)
    with pytest.raises(UnmatchedRequest), Upstream() as upstream, newest.Client() as client:  # noqa: SIM117
        with pytest.raises(UnmatchedRequest):
            client.get(URL)
    with pytest.raises(ZeroDivisionError), Upstream() as upstream:
        upstream.get(URL).reply(1 / 0)


def test_calls_say_when_there_are_too_few():
    route = Upstream().get(URL)
    with pytest.raises(UpstreamError, match=r"calls\.last: there was no call"):
        _ = route.calls.last
    with pytest.raises(IndexError, match=r"calls\[0\]: there were 0 calls: \[\]"):
        route.calls[0]
