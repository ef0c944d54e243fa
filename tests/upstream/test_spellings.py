"""respx's and aioresponses' spellings, and their mocks in the same test as ours."""

from __future__ import annotations

import re

import aiohttp
import httpx
import pytest
import respx
from aioresponses import aioresponses
from respx.patterns import M

from pytest_asyncapi.errors import UnmatchedRequest, UpstreamError
from pytest_asyncapi.upstream import Upstream
from tests.httpx_libraries import newest

URL = "https://api.example.com/thing"


@pytest.fixture
def upstream():
    with Upstream() as upstream:
        yield upstream


# -- respx


async def test_respond(http, upstream):
    upstream.get(URL).respond(201, json={"a": 1}, headers={"X-A": "b"}, content_type="application/x")

    answer = await http.request("GET", URL)

    assert (answer.status, answer.json()) == (201, {"a": 1})
    assert (answer.headers["x-a"], answer.headers["content-type"]) == ("b", "application/x")


@pytest.mark.parametrize("content", ["text", b"text"])
async def test_respond_with_content(http, upstream, content):
    upstream.get(URL).respond(content=content)

    assert (await http.request("GET", URL)).text == "text"


async def test_mock(http, upstream):
    upstream.get(URL).mock(return_value=httpx.Response(202, json={"a": 1}))
    assert (await http.request("GET", URL)).status == 202

    upstream.get(URL).mock(side_effect=[newest.Response(500), httpx.Response(200)])
    assert [(await http.request("GET", URL)).status for _ in range(3)] == [500, 200, 200]

    upstream.get(URL).mock(side_effect=lambda request: httpx.Response(203))
    assert (await http.request("GET", URL)).status == 203

    for error in (ValueError, ValueError("mine")):
        upstream.get(URL).mock(side_effect=error)
        with pytest.raises(ValueError):
            await http.request("GET", URL)


async def test_attributes_and_percent(http, upstream):
    route = upstream.get(URL, name="thing")
    upstream["thing"].return_value = httpx.Response(204)
    assert (await http.request("GET", URL)).status == 204
    route.side_effect = [500, 200]
    assert (await http.request("GET", URL)).status == 500
    route % 404
    assert (await http.request("GET", URL)).status == 404
    route % {"status_code": 201, "json": {}}
    assert (await http.request("GET", URL)).json() == {}

    assert (route.called, route.call_count, upstream.calls.call_count) == (True, 4, 4)
    assert route.calls.last.request.url == URL
    assert route.calls.last.response.status == 201
    with pytest.raises(UpstreamError, match=r"upstream\['other'\]: there is no such route; there are thing\."):
        upstream["other"]


@pytest.mark.parametrize(
    ("pattern", "answered"),
    [
        (M(host="api.example.com"), True),
        (M(host="api.example.com", path="/other"), False),
        (M(path__regex=r"^/th"), True),
        (M(method="POST") & M(json={"a": 1}), True),
        (M(method="POST") & M(json={"a": 2}), False),
        (M(params={"q": "1"}) | M(headers={"X-A": "b"}), True),
    ],
)
async def test_patterns_are_accepted(http, pattern, answered):
    upstream = Upstream()
    upstream.route(where=pattern).reply("yes")
    with upstream.open():
        if answered:
            assert (await http.request("POST", URL, json={"a": 1}, headers={"X-A": "b"})).text == "yes"
        else:
            with pytest.raises(UnmatchedRequest, match=r"where=.* said no"):
                await http.request("POST", URL, json={"a": 1})


async def test_counts_are_asserted(upstream):
    route = upstream.get(URL)
    route.assert_not_called()
    upstream.assert_not_called()
    async with newest.AsyncClient() as client:
        await client.get(URL)
    route.assert_called_once()
    upstream.assert_called_once()
    upstream.assert_all_called()
    with pytest.raises(AssertionError) as caught:
        route.assert_called(2)
    assert str(caught.value) == (
        f"<Route GET {URL}>: 1 calls, expected 2 calls\n  upstream was asked: GET {URL} -> 200 OK"
    )


# -- aioresponses


async def test_add(http, upstream):
    upstream.add(URL, payload={"a": 1}, status=201, headers={"X-A": "b"})
    upstream.add(URL, "POST", body="text")
    upstream.add(re.compile("/failing$"), exception=ValueError("mine"))
    upstream.add("https://api.example.com/called", callback=lambda request: 204)

    answer = await http.request("GET", URL)
    assert (answer.status, answer.json(), answer.headers["x-a"]) == (201, {"a": 1}, "b")
    assert (await http.request("POST", URL)).text == "text"
    assert (await http.request("GET", "https://api.example.com/called")).status == 204
    with pytest.raises(ValueError, match="mine"):
        await http.request("GET", "https://api.example.com/failing")


def test_add_always_repeats():
    with pytest.raises(UpstreamError, match=r"answers any number of calls; assert_called\(1\) counts"):
        Upstream().add(URL, repeat=False)


# -- together


@pytest.mark.parametrize("inner", ["respx", "upstream"])
async def test_respx_beside_us(inner):
    """Whoever was started last is asked first; what respx passes through comes to us."""
    theirs = respx.mock(assert_all_called=False)
    ours = Upstream(assert_all_called=False)
    ours.route(None, re.compile("")).reply("upstream")
    theirs.get("https://respx.example.com/").respond(text="respx")
    theirs.route(host="api.example.com").pass_through()
    first, second = (ours, theirs) if inner == "respx" else (theirs, ours)
    with first, second:
        async with httpx.AsyncClient() as client:
            assert (await client.get(URL)).text == "upstream"
            expected = "respx" if inner == "respx" else "upstream"
            assert (await client.get("https://respx.example.com/")).text == expected
        with httpx.Client() as client:
            assert client.get(URL).text == "upstream"
        async with aiohttp.ClientSession() as session, session.get(URL) as response:
            assert await response.text() == "upstream"
        async with newest.AsyncClient() as client:
            assert (await client.get(URL)).text == "upstream"


async def test_respx_that_outlives_us_leaves_no_trace():
    """Patches that are taken out in another order than they were put in."""
    import httpcore

    before = httpcore.AsyncConnectionPool.handle_async_request
    ours, theirs = Upstream(assert_all_called=False), respx.mock(assert_all_called=False)
    for first, second in ((ours, theirs), (theirs, ours)):
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        second.__exit__(None, None, None)
    with ours, httpx.Client() as client:
        ours.get(URL).reply("once")
        assert client.get(URL).text == "once"
    assert len(ours.calls) == 1

    assert httpcore.AsyncConnectionPool.handle_async_request is before


@pytest.mark.parametrize("inner", ["aioresponses", "upstream"])
async def test_aioresponses_beside_us(inner):
    ours, theirs = Upstream(), aioresponses(passthrough=["https://api.example.com"])
    first, second = (ours, theirs) if inner == "aioresponses" else (theirs, ours)
    with first, second:
        ours.get(URL).reply("upstream")
        theirs.get("https://aioresponses.example.com/", body="aioresponses")
        async with aiohttp.ClientSession() as session:
            async with session.get("https://aioresponses.example.com/") as response:
                assert await response.text() == "aioresponses"
            async with session.get(URL) as response:
                assert await response.text() == "upstream"


@pytest.mark.httpx_mock(should_mock=lambda request: request.url.host == "httpx.example.com")
async def test_pytest_httpx_beside_us(httpx_mock, asyncapi_upstream):
    httpx_mock.add_response(url="https://httpx.example.com/", text="pytest_httpx")
    asyncapi_upstream.get(URL).reply("upstream")
    async with httpx.AsyncClient() as client:
        assert (await client.get("https://httpx.example.com/")).text == "pytest_httpx"
        assert (await client.get(URL)).text == "upstream"


@pytest.mark.httpx_mock(should_mock=lambda request: request.url.host == "httpx.example.com")
async def test_pytest_httpx_inside_us(asyncapi_upstream, httpx_mock):
    asyncapi_upstream.get(URL).reply("upstream")
    httpx_mock.add_response(url="https://httpx.example.com/", text="pytest_httpx")
    async with httpx.AsyncClient() as client:
        assert (await client.get("https://httpx.example.com/")).text == "pytest_httpx"
        assert (await client.get(URL)).text == "upstream"


async def test_the_respx_fixture_beside_us(respx_mock, asyncapi_upstream):
    respx_mock.get("https://respx.example.com/").pass_through()
    asyncapi_upstream.get("https://respx.example.com/").reply("upstream")
    async with httpx.AsyncClient() as client:
        assert (await client.get("https://respx.example.com/")).text == "upstream"
    respx_mock.calls.reset()
    respx_mock.routes.clear()
