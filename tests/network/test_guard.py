"""Nothing leaves: every way out that Python code has is refused, on both kinds of loops, and noted."""

from __future__ import annotations

import asyncio
import http.client
import select
import smtplib
import socket
import sys
import urllib.request

import aiohttp
import anyio
import asyncpg
import httpx
import httpx2
import pytest
import redis.asyncio
import trio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from pytest_asyncapi.errors import BlockedConnection
from pytest_asyncapi.network import Guard

NO_RETRY = Retry(NoBackoff(), 0)
LOOPS = {"asyncio": asyncio.new_event_loop}
if sys.platform != "win32":
    import uvloop

    LOOPS["uvloop"] = uvloop.new_event_loop


@pytest.fixture
def listener():
    """A server that must see no one: the guard of these tests refuses the loopback too."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def visited(listener):
    return bool(select.select([listener], [], [], 0.01)[0])


def refusal(error):
    """The refusal in what came out: itself, the cause of a library's own error, or in a group."""
    while error is not None:
        if isinstance(error, BlockedConnection):
            return error
        if isinstance(error, BaseExceptionGroup):
            return next(filter(None, map(refusal, error.exceptions)), None)
        error = error.__cause__ or error.__context__
    return None


# -- ways out


async def plain_connect(host, port):
    with socket.socket() as sock:
        sock.connect((host, port))


async def connect_ex(host, port):
    with socket.socket() as sock:
        sock.connect_ex((host, port))


async def create_connection(host, port):
    socket.create_connection((host, port)).close()


async def ipv6(host, port):
    with socket.socket(socket.AF_INET6) as sock:
        sock.connect(("::1", port))


async def datagram(host, port):
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", (host, port))


async def datagram_message(host, port):
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.sendmsg([b"x"], [], 0, (host, port))


async def getaddrinfo(host, port):
    socket.getaddrinfo("localhost", port)


async def gethostbyname(host, port):
    socket.gethostbyname("localhost")


async def gethostbyaddr(host, port):
    socket.gethostbyaddr(host)


async def getfqdn(host, port):
    socket.getfqdn("elsewhere.example.com")


async def getnameinfo(host, port):
    socket.getnameinfo((host, port), 0)


async def loop_getnameinfo(host, port):
    await asyncio.get_running_loop().getnameinfo((host, port))


async def mail(host, port):
    smtplib.SMTP(host, port)


async def connected_datagrams(host, port):
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.connect((host, port))


async def urllib_request(host, port):
    urllib.request.urlopen(f"http://{host}:{port}/")


async def http_client(host, port):
    http.client.HTTPConnection(host, port).request("GET", "/")


async def open_connection(host, port):
    await asyncio.open_connection(host, port)


async def open_connection_by_name(host, port):
    await asyncio.open_connection("localhost", port)


async def loop_sock_connect(host, port):
    with socket.socket() as sock:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (host, port))


async def loop_getaddrinfo(host, port):
    await asyncio.get_running_loop().getaddrinfo("localhost", port)


async def loop_datagram(host, port):
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=(host, port))


async def in_a_thread(host, port):
    await asyncio.to_thread(socket.create_connection, (host, port))


async def aiohttp_get(host, port):
    async with aiohttp.ClientSession() as session:
        await session.get(f"http://{host}:{port}/")


async def aiohttp_proxy(host, port):
    async with aiohttp.ClientSession() as session:
        await session.get("http://x.test/", proxy=f"http://{host}:{port}/")


async def httpx_get(host, port):
    async with httpx.AsyncClient(verify=False) as client:
        await client.get(f"http://{host}:{port}/")


async def httpx2_get(host, port):
    async with httpx2.AsyncClient(verify=False) as client:
        await client.get(f"http://{host}:{port}/")


async def httpx_sync(host, port):
    httpx.get(f"http://{host}:{port}/", verify=False)


async def httpx2_sync(host, port):
    httpx2.get(f"http://{host}:{port}/", verify=False)


async def anyio_connect(host, port):
    await anyio.connect_tcp(host, port)


async def anyio_connect_by_name(host, port):
    await anyio.connect_tcp("localhost", port)


async def redis_get(host, port):
    async with redis.asyncio.Redis(host=host, port=port, retry=NO_RETRY) as client:
        await client.get("x")


async def asyncpg_connect(host, port):
    await asyncpg.connect(f"postgresql://u@{host}:{port}/db", timeout=5)


WAYS = [
    plain_connect,
    connect_ex,
    create_connection,
    ipv6,
    datagram,
    datagram_message,
    getaddrinfo,
    gethostbyname,
    gethostbyaddr,
    getfqdn,
    getnameinfo,
    loop_getnameinfo,
    mail,
    connected_datagrams,
    urllib_request,
    http_client,
    open_connection,
    open_connection_by_name,
    loop_sock_connect,
    loop_getaddrinfo,
    loop_datagram,
    in_a_thread,
    aiohttp_get,
    aiohttp_proxy,
    httpx_get,
    httpx2_get,
    httpx_sync,
    httpx2_sync,
    anyio_connect,
    anyio_connect_by_name,
    redis_get,
    asyncpg_connect,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("loop", LOOPS)
def test_a_way_out_is_refused_and_noted(way, loop, listener):
    with Guard(loopback=False) as guard, asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        with pytest.raises(Exception) as caught:
            runner.run(way("127.0.0.1", listener.getsockname()[1]))

        assert refusal(caught.value), caught.value
        assert not visited(listener)

    assert guard.blocked
    assert __file__.rpartition("/")[2] in guard.blocked[0].line or way is in_a_thread


@pytest.mark.parametrize("loop", LOOPS)
def test_the_loopback_unix_sockets_and_allowed_hosts_pass(loop, listener, tmp_path):
    async def main():
        host, port = listener.getsockname()[:2]
        for name in (host, "localhost"):
            _, writer = await asyncio.open_connection(name, port)
            writer.close()
            await writer.wait_closed()
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(tmp_path / f"s{len(list(tmp_path.iterdir()))}"))
            server.listen()
            _, writer = await asyncio.open_unix_connection(server.getsockname())
            writer.close()
            await writer.wait_closed()
        assert await asyncio.get_running_loop().getaddrinfo(None, 80)
        assert socket.getfqdn()
        assert socket.getnameinfo(("192.0.2.1", 80), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
        assert await asyncio.get_running_loop().getnameinfo(("192.0.2.1", 80), socket.NI_NUMERICHOST)
        left, right = socket.socketpair()
        left.close()
        right.close()

    with Guard() as guard, asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(main())
    with (
        Guard(["localhost", "127.0.0.0/8"], loopback=False) as strict,
        asyncio.Runner(loop_factory=LOOPS[loop]) as runner,
    ):
        runner.run(main())

    assert guard.blocked == strict.blocked == []


def test_the_addresses_of_an_allowed_name_are_allowed(listener):
    with Guard(["localhost"], loopback=False) as guard:
        socket.create_connection(("localhost", listener.getsockname()[1])).close()

    assert guard.blocked == []


@pytest.mark.parametrize("loop", LOOPS)
def test_a_host_is_allowed_on_one_port(loop, listener):
    port = listener.getsockname()[1]

    async def connect(host, port):
        _, writer = await asyncio.open_connection(host, port)
        writer.close()
        await writer.wait_closed()

    for host in ("localhost", "127.0.0.1"):
        allowed = f"{host}:{port}"
        with Guard([allowed], loopback=False) as guard, asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(connect(host, port))
            socket.create_connection((host, str(port))).close()
            socket.gethostbyname(host)
            for way in (connect, create_connection, aiohttp_get, httpx2_get):
                with pytest.raises(Exception) as caught:
                    runner.run(way(host, port + 1))
                assert refusal(caught.value), caught.value

        assert {(each.host, each.port) for each in guard.blocked} == {(host, port + 1)}


@pytest.mark.parametrize("host", ["example.com", "192.0.2.1"])
def test_trio_is_refused_too(host):
    with Guard() as guard, pytest.raises(BaseException) as caught:
        trio.run(trio.open_tcp_stream, host, 80)

    assert refusal(caught.value)
    assert guard.blocked[0].host == host


def test_the_innermost_guard_decides_and_all_is_restored():
    before = socket.socket.connect, socket.getaddrinfo, asyncio.BaseEventLoop.getaddrinfo
    with Guard(), Guard(loopback=False) as inner:
        with pytest.raises(BlockedConnection):
            socket.getaddrinfo("localhost", 80)
        assert len(inner.blocked) == 1

    assert before == (socket.socket.connect, socket.getaddrinfo, asyncio.BaseEventLoop.getaddrinfo)
    assert "connect" not in vars(socket.socket)


def test_a_host_can_be_let_out_for_a_while():
    with Guard(loopback=False) as guard:
        with guard.allowing("localhost"):
            assert socket.getaddrinfo("localhost", 80)
        with pytest.raises(BlockedConnection):
            socket.getaddrinfo("localhost", 80)
