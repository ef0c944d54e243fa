"""A network that fails: each client raises what it raises over a real network, and its own time-outs fire."""

from __future__ import annotations

import asyncio
import gc
import time

import aiohttp
import pytest

from pytest_asyncapi.errors import UpstreamError
from pytest_asyncapi.upstream import Reply, Upstream, faults
from tests.httpx_libraries import HTTPX, LIBRARIES, each, newest

URL = "https://api.example.com/thing"


def newer(name, before):
    """An exception of aiohttp that releases before 3.10 do not have."""
    return getattr(aiohttp, name, before)


SOCKET_TIMEOUT = newer("SocketTimeoutError", aiohttp.ServerTimeoutError)
EXPECTED = {
    "aiohttp": {
        "refused": aiohttp.ClientConnectorError,
        "dns": newer("ClientConnectorDNSError", aiohttp.ClientConnectorError),
        "tls": aiohttp.ClientConnectorCertificateError,
        "connect_timeout": newer("ConnectionTimeoutError", aiohttp.ServerTimeoutError),
        "read_timeout": SOCKET_TIMEOUT,
        "hang": SOCKET_TIMEOUT,
        "disconnect": aiohttp.ServerDisconnectedError,
        "reset": aiohttp.ClientOSError,
        "garbage": aiohttp.ClientResponseError,
        "truncate": aiohttp.ClientPayloadError,
    },
}
for library in HTTPX:
    EXPECTED[library.__name__] = {
        "refused": library.ConnectError,
        "dns": library.ConnectError,
        "tls": library.ConnectError,
        "connect_timeout": library.ConnectTimeout,
        "read_timeout": library.ReadTimeout,
        "hang": library.ReadTimeout,
        "disconnect": library.RemoteProtocolError,
        "reset": library.ReadError,
        "garbage": library.RemoteProtocolError,
        "truncate": library.RemoteProtocolError,
    }
ALL = [faults.truncate(5) if kind == "truncate" else getattr(faults, kind) for kind in EXPECTED["aiohttp"]]


@pytest.mark.parametrize("fault", ALL, ids=repr)
async def test_a_fault_is_the_clients_own_exception(http, fault):
    with Upstream() as upstream:
        route = upstream.post(URL).reply(fault)

        with pytest.raises(EXPECTED[http.name][fault.kind]):
            await http.request("POST", URL, content=b"x", timeout=0.02 if fault.kind == "hang" else 5)

    route.assert_called(1)
    assert (fault, repr(fault)) == (route.calls[0].error, route.calls[0].outcome)


@pytest.mark.parametrize("fault", ALL, ids=repr)
async def test_after_a_fault_the_next_request_is_answered(http, fault):
    with Upstream() as upstream:
        upstream.post(URL).reply(fault, {"ok": True})
        with pytest.raises(EXPECTED[http.name][fault.kind]):
            await http.request("POST", URL, json={}, timeout=0.02 if fault.kind == "hang" else 5)

        assert (await http.request("POST", URL, json={})).json() == {"ok": True}


@pytest.mark.parametrize("fault", [faults.refused, faults.reset, faults.read_timeout], ids=repr)
async def test_a_callable_may_fail_too(http, fault):
    with Upstream() as upstream:
        upstream.post(URL).reply(lambda request: fault)

        with pytest.raises(EXPECTED[http.name][fault.kind]):
            await http.request("POST", URL)


@pytest.mark.parametrize("fault", [faults.refused, faults.connect_timeout], ids=repr)
async def test_a_connect_fault_of_a_route_that_looks_at_the_body(http, fault):
    with Upstream() as upstream:
        upstream.post(URL, json={"a": 1}).reply(fault)

        with pytest.raises(EXPECTED[http.name][fault.kind]):
            await http.request("POST", URL, json={"a": 1})
        assert upstream.calls.last.request.json() == {"a": 1}


async def test_a_newer_route_that_looks_at_the_body_goes_before_a_connect_fault(http):
    with Upstream() as upstream:
        upstream.post(URL).reply(faults.refused)
        upstream.post(URL, json={"a": 1}).reply({"ok": True})

        assert (await http.request("POST", URL, json={"a": 1})).json() == {"ok": True}
        with pytest.raises(EXPECTED[http.name]["refused"]):
            await http.request("POST", URL, json={"a": 2})


async def test_a_connect_fault_of_an_upload_that_streams(async_http):
    async def parts():
        yield b"abc"

    with Upstream() as upstream:
        upstream.post(URL).reply(faults.refused)
        with pytest.raises(EXPECTED[async_http.name]["refused"]):
            await async_http.request("POST", URL, content=parts())
        upstream.post(URL, content=b"abc").reply(faults.dns)
        with pytest.raises(EXPECTED[async_http.name]["dns"]):
            await async_http.request("POST", URL, content=parts())


async def test_a_truncated_body_of_ones_own(http):
    with Upstream() as upstream:
        upstream.post(URL).reply(Reply(json={"long": "text"}, fault=faults.truncate(3)))

        with pytest.raises(EXPECTED[http.name]["truncate"]):
            await http.request("POST", URL)

    assert upstream.calls.last.outcome == "200 OK, faults.truncate(3)"


async def test_a_body_that_breaks_in_the_middle(async_http):
    """httpx gets the exception itself; aiohttp knows of a body that breaks only as a payload error."""

    async def body():
        yield b"some"
        raise ConnectionError("the disk is gone")

    with Upstream() as upstream:
        route = upstream.post(URL).reply(body())

        with pytest.raises((ConnectionError, aiohttp.ClientPayloadError)):
            await async_http.request("POST", URL)

    assert str(route.calls[0].error) == "the disk is gone"


async def test_latency_below_the_clients_limit_only_takes_time(http):
    with Upstream() as upstream:
        upstream.get(URL).reply({"ok": True}, latency=0.001)

        assert (await http.request("GET", URL, timeout=5)).json() == {"ok": True}


async def test_latency_above_it_fires_the_clients_own_time_out(http):
    with Upstream() as upstream:
        upstream.get(URL).reply({"ok": True}, latency=60)

        with pytest.raises(EXPECTED[http.name]["read_timeout"]):
            await http.request("GET", URL, timeout=0.01)


async def test_latency_before_a_fault(http):
    with Upstream() as upstream:
        route = upstream.post(URL).reply(faults.reset, faults.refused, latency=0.01)
        start = time.monotonic()
        for kind in ("reset", "refused"):
            with pytest.raises(EXPECTED[http.name][kind]):
                await http.request("POST", URL)

    assert [call.outcome for call in route.calls] == ["faults.reset", "faults.refused"]
    assert time.monotonic() - start >= 0.015


async def test_the_latency_of_a_callable_and_of_a_reply(async_http):
    async def slow(request):
        await asyncio.sleep(60)

    with Upstream() as upstream:
        route = upstream.get(URL)
        for reply in (slow, Reply(latency=60)):
            route.reply(reply)
            with pytest.raises(EXPECTED[async_http.name]["read_timeout"]):
                await async_http.request("GET", URL, timeout=0.01)
        route.reply(lambda request: 200, latency=60)
        with pytest.raises(EXPECTED[async_http.name]["read_timeout"]):
            await async_http.request("GET", URL, timeout=0.01)


async def test_a_pause_in_the_body_fires_it_too(async_http):
    async def body():
        yield b"one"
        await asyncio.sleep(60)

    with Upstream() as upstream:
        upstream.get(URL).reply(body())

        with pytest.raises(EXPECTED[async_http.name]["read_timeout"]):
            await async_http.request("GET", URL, timeout=0.01)


async def test_what_the_client_gives_up_is_cancelled_here():
    """The callable and the body's generator end when the client goes."""
    ended = []

    async def body():
        try:
            yield b"one"
            await asyncio.sleep(60)
        finally:
            ended.append("body")

    async def callable_(request):
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("callable")

    with Upstream() as upstream:
        upstream.get(URL).reply(body(), callable_)
        async with aiohttp.ClientSession() as session:
            async with session.get(URL) as response:
                assert await response.content.readany() == b"one"
            with pytest.raises(TimeoutError):
                await session.get(URL, timeout=aiohttp.ClientTimeout(total=0.01))
        await asyncio.sleep(0.001)

    assert ended == ["body", "callable"]


LARGE = b"x" * 20_000_000  # more than the buffers of a real connection hold


def limit_of_writing(http):
    """A limit for writing; aiohttp has only one for the whole request."""
    if http.name == "aiohttp":
        http.options["timeout"] = aiohttp.ClientTimeout(total=0.1)
    else:
        http.options["timeout"] = http.library.Timeout(5, write=0.1)


async def test_a_body_that_is_not_read_fires_the_limit_of_writing(http):
    limit_of_writing(http)
    with Upstream() as upstream:
        route = upstream.post(URL).reply(faults.unread, {"ok": True})

        with pytest.raises((TimeoutError, *each("WriteTimeout"))):
            await http.request("POST", URL, content=LARGE)
        assert (await http.request("POST", URL, content=b"small")).json() == {"ok": True}

    assert [call.outcome for call in route.calls] == ["faults.unread", "200 OK"]


async def test_a_body_that_is_small_is_sent_and_not_answered(http):
    with Upstream() as upstream:
        upstream.post(URL).reply(faults.unread)

        with pytest.raises(EXPECTED[http.name]["hang"]):
            await http.request("POST", URL, content=b"small", timeout=0.02)


async def test_an_upload_waits_for_a_service_that_reads_slowly_and_no_longer(async_http):
    with Upstream(wire=True) as upstream:
        route = upstream.post(URL).reply({"ok": True})

        await async_http.request("POST", URL, content=LARGE)

    assert len(route.calls[0].request.content) == len(LARGE)


# -- a real network fails in the same way


def with_limits(http, kind):
    """Short limits of the client's own."""
    limits = {"hang": {"sock_read": 0.1}, "connect_timeout": {"sock_connect": 0.1}}
    if kind == "unread":
        limit_of_writing(http)
    elif kind in limits and http.name == "aiohttp":
        http.options["timeout"] = aiohttp.ClientTimeout(**limits[kind])
    elif kind in limits:
        name = "read" if kind == "hang" else "connect"
        http.options["timeout"] = http.library.Timeout(5, **{name: 0.1})


LIVE = ["refused", "dns", "connect_timeout", "unread", "hang", "disconnect", "reset", "garbage", "truncate"]


@pytest.mark.live
@pytest.mark.slow
@pytest.mark.parametrize("kind", LIVE)
async def test_a_real_network_fails_as_the_router_does(http, kind, broken_network):
    fault = faults.truncate(5) if kind == "truncate" else getattr(faults, kind)
    content = LARGE if kind == "unread" else b"x"
    with_limits(http, kind)
    with Upstream() as upstream:
        upstream.post("https://x.test/").reply(fault)
        with pytest.raises(Exception) as ours:
            await http.request("POST", "https://x.test/", content=content)

    with pytest.raises(Exception) as real:
        await http.request("POST", broken_network.url(kind), content=content)

    assert type(ours.value) is type(real.value)
    assert getattr(ours.value, "errno", None) == getattr(real.value, "errno", None)


async def test_the_clients_own_limits_fire(http, service):
    service.on("/", Reply(text="late", latency=30))
    if http.name == "aiohttp":
        http.options["timeout"] = aiohttp.ClientTimeout(sock_read=0.05)
    else:
        http.options["timeout"] = http.library.Timeout(5, read=0.05)

    with pytest.raises(EXPECTED[http.name]["read_timeout"]):
        await http.request("GET", f"{service.base}/")


async def test_a_pause_within_the_body_fires_them_too(async_http, service):
    async def body():
        yield b"some"
        await asyncio.sleep(30)

    service.on("/", lambda request: Reply(body=body()))
    if async_http.name == "aiohttp":
        async_http.options["timeout"] = aiohttp.ClientTimeout(sock_read=0.05)
    else:
        async_http.options["timeout"] = async_http.library.Timeout(5, read=0.05)

    with pytest.raises(EXPECTED[async_http.name]["read_timeout"]):
        await async_http.request("GET", f"{service.base}/")


@LIBRARIES
async def test_a_write_time_out_at_once(library):
    with Upstream() as upstream, library.Client() as client:
        upstream.post(URL).reply(faults.write_timeout)
        with pytest.raises(library.WriteTimeout):
            client.post(URL)


def test_a_hang_under_a_sync_client_without_time_out_is_refused():
    with Upstream() as upstream, newest.Client(timeout=None) as client:
        upstream.get(URL).reply(faults.hang)

        with pytest.raises(UpstreamError, match="has no read time-out would hang for ever"):
            client.get(URL)


async def test_nothing_is_left_behind(recwarn):
    """No warning of a resource, a task or a coroutine, whatever was broken off."""
    gc.collect()  # what earlier tests have left is theirs
    recwarn.clear()
    for fault in ALL:
        with Upstream() as upstream:
            upstream.post(URL).reply(fault)
            for library in HTTPX:
                async with library.AsyncClient(timeout=0.01) as client:
                    with pytest.raises(library.TransportError):
                        await client.post(URL)
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.01)) as session:
                with pytest.raises((aiohttp.ClientError, TimeoutError)):
                    await (await session.post(URL)).read()
    await asyncio.sleep(0.001)
    gc.collect()

    assert [str(each.message) for each in recwarn] == []
    assert len(asyncio.all_tasks()) == 1
