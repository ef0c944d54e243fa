"""What a client sends again by itself, it sends again here: as often, and only what it would over a network."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
import pytest

from pytest_asyncapi.upstream import Upstream, faults
from tests.httpx_libraries import LIBRARIES

RETRIES = hasattr(aiohttp, "SocketTimeoutError")  # aiohttp does since 3.10


class Forgetful:
    """Hangs up on the first requests, in order or not, and answers the next; `asked` is how many came."""

    def __init__(self) -> None:
        self.url = ""
        self.asked = 0


@contextmanager
def routed(hang_ups: int) -> Iterator[Forgetful]:
    service = Forgetful()
    service.url = "http://service.test/"

    def answer(request: object) -> object:
        service.asked += 1
        return faults.disconnect if service.asked <= hang_ups else {"ok": True}

    with Upstream() as upstream:
        upstream.route(None, service.url).reply(answer)
        yield service


@contextmanager
def real(hang_ups: int) -> Iterator[Forgetful]:
    service = Forgetful()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        service.url = f"http://127.0.0.1:{listening.getsockname()[1]}/"

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        received = b""
                        while b"\r\n\r\n" not in received or (b"POST" in received and not received.endswith(b"x")):
                            received += connection.recv(65536)
                        service.asked += 1
                        if service.asked > hang_ups:
                            head = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: close\r\n\r\n"
                            connection.sendall(head + b'{"ok": true}')

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield service
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture(params=[routed, pytest.param(real, marks=[pytest.mark.live, pytest.mark.slow])])
def forgetful(request):
    return request.param


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
async def test_what_is_sent_again_after_a_disconnect(http, forgetful, method):
    """aiohttp sends an idempotent request once more; httpx sends nothing again."""
    content = {} if method == "GET" else {"content": b"x"}
    again = http.name == "aiohttp" and RETRIES and method != "POST"
    with forgetful(1) as service:
        if again:
            assert (await http.request(method, service.url, **content)).json() == {"ok": True}
        else:
            with pytest.raises(Exception, match=r"(?i)disconnected"):
                await http.request(method, service.url, **content)
        assert service.asked == (2 if again else 1)


async def test_it_is_sent_again_once(http, forgetful):
    with forgetful(5) as service:
        with pytest.raises(Exception, match=r"(?i)disconnected"):
            await http.request("GET", service.url)
        assert service.asked == (2 if http.name == "aiohttp" and RETRIES else 1)


@LIBRARIES
async def test_httpx_connects_again_as_often_as_its_transport_is_told(library, monkeypatch):
    async def no_pause(self, seconds):
        pass

    core = __import__({"httpx": "httpcore", "httpx2": "httpcore2"}[library.__name__])
    monkeypatch.setattr(core._backends.auto.AutoBackend, "sleep", no_pause)
    with Upstream() as upstream:
        route = upstream.get("https://x.test/").reply(faults.refused, faults.connect_timeout, {"ok": True})
        transport = library.AsyncHTTPTransport(retries=2)
        async with library.AsyncClient(transport=transport) as client:
            assert (await client.get("https://x.test/")).json() == {"ok": True}

    assert [call.outcome for call in route.calls] == ["faults.refused", "faults.connect_timeout", "200 OK"]


@pytest.mark.live
@pytest.mark.slow
@LIBRARIES
async def test_it_pauses_in_between_as_over_a_network(library, monkeypatch):
    core = __import__({"httpx": "httpcore", "httpx2": "httpcore2"}[library.__name__])
    pauses = []

    async def note(self, seconds):
        pauses.append(seconds)

    monkeypatch.setattr(core._backends.auto.AutoBackend, "sleep", note)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"

    async def get(url):
        transport = library.AsyncHTTPTransport(retries=3)
        async with library.AsyncClient(transport=transport) as client:
            with pytest.raises(library.ConnectError):
                await client.get(url)
        taken, pauses[:] = list(pauses), []
        return taken

    over_the_network = await get(url)
    with Upstream() as upstream:
        route = upstream.get("http://x.test/").reply(faults.refused)
        assert await get("http://x.test/") == over_the_network == [0, 0.5, 1.0]

    route.assert_called(4)
