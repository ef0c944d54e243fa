"""What the real client does, happens: the same test for each client that has the feature, against the router and a
server."""

from __future__ import annotations

import contextlib
import importlib

import aiohttp
import pytest

from pytest_asyncapi.upstream import Reply, Upstream
from tests.httpx_libraries import each


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

    with pytest.raises((aiohttp.TooManyRedirects, *each("TooManyRedirects"))):
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


COMPRESSORS = {
    "gzip": ["gzip"],
    "deflate": ["zlib"],
    "br": ["brotli"],
    "zstd": ["compression.zstd", "backports.zstd", "zstandard"],
}


def compressor(encoding):
    for name in COMPRESSORS[encoding]:
        with contextlib.suppress(ImportError):
            return importlib.import_module(name).compress
    return pytest.skip(f"nothing compresses to {encoding} here")


@pytest.mark.parametrize("encoding", COMPRESSORS)
async def test_bodies_are_decompressed(http, service, encoding):
    compressed = compressor(encoding)(b"plain text" * 50)
    service.on("/", Reply(body=compressed, headers={"Content-Encoding": encoding}))

    answer = await http.request("GET", f"{service.base}/")

    asked_for = encoding in service.seen[0].headers["accept-encoding"]
    assert answer.content == (b"plain text" * 50 if asked_for else compressed)


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
