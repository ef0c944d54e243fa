"""The whole server at the other end of a client's connection, async and sync: whatever the client sends, it answers,
waits, hangs up or says that this is no HTTP; nothing else comes out of it."""

import asyncio
import warnings

import httpcore
from hypothesis import given
from hypothesis import strategies as st

from pytest_asyncapi.errors import UpstreamError
from pytest_asyncapi.upstream import Reply, Upstream, faults
from pytest_asyncapi.upstream.httpcore_streams import async_stream, sync_stream

LINES = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n",
        b"HEAD /head HTTP/1.1\r\n",
        b"POST /stream HTTP/1.1\r\n",
        b"POST /fault HTTP/1.0\r\n",
        b"GET /fails HTTP/1.1\r\n",
        b"GET http://x.test/late HTTP/1.1\r\n",
        b"GET http://x.test:port/ HTTP/1.1\r\n",
        b"GET http://[::1/ HTTP/1.1\r\n",
        b"GET https://x.test:99999999/ HTTP/1.1\r\n",
        b"CONNECT x.test:443 HTTP/1.1\r\n",
        b"CONNECT [::1]:80 HTTP/1.1\r\n",
        b"CONNECT x.test:port HTTP/1.1\r\n",
        b"CONNECT x.test HTTP/1.1\r\n",
        b"CONNECT : HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\n",
        b"Host: x.test\r\n",
        b"Expect: 100-continue\r\n",
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n",
        b"Content-Length: 3\r\n",
        b"Content-Length: 99999\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Type: multipart/form-data\r\n",
        b"Cookie: =; a\r\n",
        b": \r\n",
        b"\r\n",
        b"abc",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"ffffffffffffffffff\r\n",
        b"\x81\x83",
        b"\x88\x00",
    ]
)
SENT = st.lists(st.one_of(LINES, st.lists(LINES, max_size=6).map(b"".join), st.binary(max_size=60)), max_size=8)


def service():
    upstream = Upstream(strict=False, assert_all_called=False, wire=True)
    upstream.route(None, "http://*/{rest:path}").reply({"ok": True})
    upstream.route(None, "http://*/stream").reply(lambda request: iter([request.content, b"", b"more"]))
    upstream.route(None, "http://*/fault").reply(faults.reset, faults.truncate(3), faults.unread, faults.garbage, 200)
    upstream.route(None, "http://*/form", form={"a": "1"}, files={"f": "n"}).reply(200)
    upstream.route(None, "http://*/late").reply(Reply(text="late", latency=0.0001))
    upstream.route(None, "http://*/fails").reply(ZeroDivisionError)
    upstream.ws("ws://*/ws").reply("hello")
    return upstream


EXPECTED = (UpstreamError, httpcore.NetworkError, httpcore.TimeoutException, ZeroDivisionError, AssertionError)


@given(SENT)
def test_the_async_server(sent):
    raised = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: raised.append(context))
        with service().open():
            stream = async_stream(httpcore, "httpx")("x.test", 80)
            try:
                for piece in sent:
                    await stream.write(piece, timeout=1)
                    for _ in range(5):
                        await asyncio.sleep(0)
                while await stream.read(65536, timeout=0.0005):
                    pass
            except EXPECTED:
                pass
            await stream.aclose()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(main())
    assert raised == []


@given(SENT)
def test_the_sync_server(sent):
    with service().open():
        stream = sync_stream(httpcore, "httpx")("x.test", 80)
        try:
            for piece in sent:
                stream.write(piece, timeout=0)
            while stream.read(65536, timeout=0):
                pass
        except EXPECTED:
            pass
        stream.close()
