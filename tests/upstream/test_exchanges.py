"""Odd exchanges, each with the router (by either way) and with a real server: both sides see the same."""

from __future__ import annotations

import pytest

from pytest_asyncapi.upstream import Reply
from tests.upstream.conftest import CLIENTS
from tests.upstream.servers import routed

pytestmark = [pytest.mark.live, pytest.mark.slow]

EXCHANGES = {
    "head": ("HEAD", lambda: Reply(200, json={"a": 1})),
    "head of a stream": ("HEAD", lambda: Reply(body=iter([b"x"]))),
    "no content": ("GET", lambda: Reply(204)),
    "not modified": ("GET", lambda: Reply(304, headers={"ETag": "x"})),
    "reset content": ("GET", lambda: Reply(205)),
    "partial content": ("GET", lambda: Reply(206, body=b"abc", headers={"Content-Range": "bytes 0-2/10"})),
    "options": ("OPTIONS", lambda: Reply(200, headers={"Allow": "GET"})),
    "a method of one's own": ("QUERY", lambda: Reply(200, text="q")),
    "delete with a body": ("DELETE", lambda: Reply(200, text="q")),
    "a stream of nothing": ("GET", lambda: Reply(body=iter([]))),
    "a whole body in chunks": ("GET", lambda: Reply(body=b"abc", chunked=True)),
    "a header in Latin-1": ("GET", lambda: Reply(200, headers={"X-A": "é"})),
    "a header of nothing": ("GET", lambda: Reply(200, headers={"X-Empty": ""})),
    "many headers": ("GET", lambda: Reply(200, headers=[(f"X-{n}", "v" * 100) for n in range(60)])),
    "gzip of nothing": ("GET", lambda: Reply(200, headers={"Content-Encoding": "gzip"})),
    "no gzip": ("GET", lambda: Reply(200, body=b"no gzip", headers={"Content-Encoding": "gzip"})),
    "a redirect to nowhere": ("GET", lambda: Reply(302)),
    "a redirect by a query": ("GET", lambda: Reply(302, headers={"Location": "?x=1"})),
    "unauthorized": ("GET", lambda: Reply(401, headers={"WWW-Authenticate": "Basic"})),
    "a cookie": ("GET", lambda: Reply(200, headers={"Set-Cookie": "a=b; Max-Age=10; SameSite=Lax; HttpOnly"})),
    "a charset": ("GET", lambda: Reply(200, body=b"\xe9", headers={"Content-Type": "text/plain; charset=latin-1"})),
    "a long URL": ("GET", lambda: Reply(200)),
}


async def told(name, service, exchange):
    """All that either side has seen of an exchange."""
    method, reply = EXCHANGES[exchange]
    service.on("/p", lambda request: reply() if len(service.seen) <= 3 else 200)
    url = f"{service.base}/p" + ("?q=" + "x" * 3000 if exchange == "a long URL" else "")
    content = {"content": b"body"} if exchange == "delete with a body" else {}
    client = CLIENTS[name]()
    try:
        answer = await client.request(method, url, **content)
    except Exception as error:
        return type(error), str(error).replace(service.base, ""), service.story
    finally:
        await client.close()
    sent = [(name.lower(), value) for name, value in service.seen[-1].raw_headers if name.lower() != "host"]
    got = [(name.lower(), value) for name, value in answer.headers.items() if name.lower() != "date"]
    address = answer.url.removeprefix(service.base)
    return answer.status, answer.reason, answer.content, sorted(got), address, service.story, sorted(sent)


@pytest.mark.parametrize("exchange", EXCHANGES)
@pytest.mark.parametrize("name", CLIENTS)
async def test_it_is_the_same(name, exchange, real_server, real_proxy):
    with real_server.serving(real_proxy) as service:
        real = await told(name, service, exchange)

    for wire in (True, False):
        with routed("http", wire=wire) as service:
            assert await told(name, service, exchange) == real
