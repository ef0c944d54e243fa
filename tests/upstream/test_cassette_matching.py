"""A recording is found again though a client writes the same request in other bytes, and hides what it should."""

from __future__ import annotations

import json
import zlib

import aiohttp
import httpx
import pytest

from pytest_asyncapi.errors import UnmatchedRequest
from pytest_asyncapi.upstream import Reply, Upstream, real
from pytest_asyncapi.upstream import recorded as recorded_calls

URL = "https://x.test/things"


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """Records what is sent; the real service is a function. `asked` is what reached it."""
    asked = []

    def answer(upstream, request):
        asked.append(request)
        return Reply(200, text="answer")

    async def answer_later(upstream, request):
        return answer(upstream, request)

    monkeypatch.setattr(real, "fetch_now", answer)
    monkeypatch.setattr(real, "fetch", answer_later)

    def open_upstream(record):
        upstream = Upstream(record=record)
        upstream.cassette(tmp_path / "c.json")
        return upstream

    open_upstream.asked = asked
    open_upstream.file = tmp_path / "c.json"
    return open_upstream


async def send_file(http):
    if http.name == "aiohttp":
        form = aiohttp.FormData({"a": "1"})
        form.add_field("f", b"data", filename="n.txt", content_type="text/plain")
        return await http.request("POST", URL, data=form)
    return await http.request("POST", URL, data={"a": "1"}, files={"f": ("n.txt", b"data")})


async def test_an_upload_is_found_again_whatever_its_boundary(http, recorded):
    for record in ("new", "none"):
        with recorded(record):
            assert (await send_file(http)).text == "answer"

    (sent,) = recorded.asked
    assert sent.files["f"][0][0] == "n.txt"
    assert json.loads(recorded.file.read_text())["calls"][0]["request"]["text"].startswith("--boundary\r\n")


def test_json_is_found_again_whatever_its_blanks(recorded):
    with recorded("new"):
        httpx.post(URL, content=b'{"a": 1, "b": [true]}')
    with recorded("none"):
        assert httpx.post(URL, content=b'{"b":[true],"a":1}').text == "answer"
    upstream = recorded("none")
    with upstream.open(), pytest.raises(UnmatchedRequest):
        httpx.post(URL, content=b'{"b":[true],"a":2}')


async def test_only_what_can_be_looked_into_is_asked_for(http, recorded):
    with recorded("new"):
        await http.request("GET", URL, headers={"Accept-Encoding": "br, gzip,zstd;q=0.5, deflate;q=0.1"})
        await http.request("GET", f"{URL}/2", headers={"Accept-Encoding": "br"})

    encodings = [request.headers["accept-encoding"] for request in recorded.asked]
    assert encodings == ["gzip, deflate;q=0.1", "identity"]


@pytest.mark.parametrize("wbits", [zlib.MAX_WBITS, -zlib.MAX_WBITS, zlib.MAX_WBITS | 16])
def test_a_compressed_body_is_looked_into(wbits):
    compressor = zlib.compressobj(wbits=wbits)
    body = compressor.compress(b"plain") + compressor.flush()

    assert recorded_calls.plain(body, "gzip" if wbits > 16 else "deflate") == b"plain"
    assert recorded_calls.plain(b"no such thing", "gzip") is None


async def test_a_websocket_is_not_recorded(recorded):
    upstream = recorded("new")
    with upstream.open(), pytest.raises(UnmatchedRequest, match=r"which is not recorded: answer it by upstream\.ws"):
        async with aiohttp.ClientSession() as session, session.ws_connect("wss://x.test/"):
            pass
