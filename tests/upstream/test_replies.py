"""What a route may be given to answer with, for every client."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import httpx
import pytest
from aiohttp import web
from starlette.responses import FileResponse, JSONResponse, StreamingResponse

from pytest_asyncapi.errors import UpstreamError
from pytest_asyncapi.upstream import Reply, Upstream
from tests.httpx_libraries import LIBRARIES, newest

URL = "https://api.example.com/thing"
OWN_TEXT = Path(__file__).read_bytes()


async def get(http, *values, **reply):
    with Upstream() as upstream:
        upstream.get(URL).reply(*values, **reply)
        return await http.request("GET", URL)


@pytest.mark.parametrize(
    ("value", "status", "content", "content_type"),
    [
        ({"a": 1}, 200, b'{"a": 1}', "application/json"),
        ([1, 2], 200, b"[1, 2]", "application/json"),
        (None, 200, b"null", "application/json"),
        (True, 200, b"true", "application/json"),
        (204, 204, b"", None),
        (404, 404, b"", None),
        ("hé", 200, "hé".encode(), "text/plain; charset=utf-8"),
        (b"\x00\xff", 200, b"\x00\xff", None),
        ((503, {"error": "busy"}), 503, b'{"error": "busy"}', "application/json"),
        ((201, "made", {"Content-Type": "text/x"}), 201, b"made", "text/x"),
        (Reply(418, json={}), 418, b"{}", "application/json"),
        (Reply(html="<p>"), 200, b"<p>", "text/html; charset=utf-8"),
        (httpx.Response(202, json=[1]), 202, b"[1]", "application/json"),
        (newest.Response(202, text="x"), 202, b"x", "text/plain; charset=utf-8"),
        (web.json_response({"a": 1}, status=203), 203, b'{"a": 1}', "application/json; charset=utf-8"),
        (web.HTTPNotFound(text="none"), 404, b"none", "text/plain; charset=utf-8"),
        (JSONResponse({"a": 1}, 207), 207, b'{"a":1}', "application/json"),
        (FileResponse(__file__, 200, media_type="text/x-python"), 200, OWN_TEXT, "text/x-python; charset=utf-8"),
    ],
    ids=lambda value: f"{type(value).__module__}.{type(value).__name__}",
)
async def test_a_value_becomes_a_response(http, value, status, content, content_type):
    response = await get(http, value)

    assert (status, content) == (response.status, response.content)
    assert content_type == response.headers.get("content-type")


async def test_the_arguments_of_reply_may_be_given_directly(http):
    response = await get(http, 201, json={"id": 1}, headers={"X-A": "b"}, reason="Made")

    assert (response.status, response.json(), response.headers["x-a"], response.reason) == (201, {"id": 1}, "b", "Made")


async def test_a_sequence_is_given_in_turn_and_its_last_repeats(http):
    with Upstream() as upstream:
        upstream.get(URL).reply(503, 429, {"state": "done"})

        assert [(await http.request("GET", URL)).status for _ in range(4)] == [503, 429, 200, 200]


async def test_a_callable_is_given_the_request_and_the_path_parameters(http):
    with Upstream() as upstream:

        @upstream.post("https://api.example.com/users/{uid}/posts/{post}")
        def answer(request, uid, post):
            return 201, {"uid": uid, "post": post, "q": request.params["q"], "body": request.json()}

        response = await http.request("POST", "https://api.example.com/users/7/posts/a%2Fb?q=1", json={"x": 1})

    assert response.status == 201
    assert response.json() == {"uid": "7", "post": "a/b", "q": "1", "body": {"x": 1}}


@pytest.mark.parametrize(
    "function", [lambda: {"n": 1}, lambda **names: {"n": 1}, lambda request: {"n": 1}, lambda uid: {"n": 1}]
)
async def test_a_callable_takes_as_much_as_it_wants(http, function):
    with Upstream() as upstream:
        upstream.get("https://api.example.com/{uid}").reply(function)

        assert (await http.request("GET", "https://api.example.com/1")).json() == {"n": 1}


async def test_an_async_callable_is_awaited(async_http):
    with Upstream() as upstream:

        @upstream.get("https://api.example.com/users/{uid}")
        async def answer(request, uid):
            return {"uid": uid}

        assert (await async_http.request("GET", "https://api.example.com/users/7")).json() == {"uid": "7"}


async def test_an_exception_is_raised_into_the_app(http):
    class Odd(Exception):
        pass

    for value in (Odd("as it is"), Odd):
        with pytest.raises(Odd):
            await get(http, value)

    def fails(request):
        raise Odd("in a callable")

    with pytest.raises(Odd, match="in a callable"):
        await get(http, fails)


async def test_iterators_are_sent_in_chunks(http):
    response = await get(http, Reply(body=iter([b"one ", b"", b"two"])))

    assert response.content == b"one two"
    assert response.headers["transfer-encoding"] == "chunked"


async def test_async_iterators_are_sent_in_chunks(async_http):
    async def ticks():
        yield b"tick "
        yield b"tock"

    for value in (ticks(), Reply(body=ticks()), StreamingResponse(ticks())):
        assert (await get(async_http, value)).content == b"tick tock"


async def test_an_iterator_is_sent_once_and_a_function_may_make_several(http):
    with Upstream() as upstream:
        upstream.get(URL).reply(lambda request: iter([b"one"]))
        assert [(await http.request("GET", URL)).text for _ in range(2)] == ["one", "one"]

    upstream = Upstream()
    route = upstream.get(URL).reply(iter([b"one"]))
    with upstream.open():
        assert (await http.request("GET", URL)).text == "one"
        with pytest.raises(UpstreamError) as caught:
            await http.request("GET", URL)

    assert str(caught.value) == (
        f"{route!r} has sent the iterator that is its answer, and it is used up: answer with a function that makes a"
        " new one."
    )
    assert upstream.failures() == [f"upstream: {caught.value}"]
    assert len(upstream.calls) == len(route.calls) == 2


async def test_a_callable_may_raise_a_response_as_in_a_handler_of_aiohttp(http):
    def answer(request):
        raise web.HTTPConflict(text="there is one")

    response = await get(http, answer)

    assert (response.status, response.text) == (409, "there is one")


@LIBRARIES
async def test_a_callable_may_call_other_services_by_any_client(library):
    """Also a client of another library than the one that is waiting."""
    with Upstream() as upstream:
        upstream.get("https://inner.example.com/").reply({"inner": 1})

        @upstream.get(URL)
        async def by_aiohttp(request):
            async with aiohttp.ClientSession() as session, session.get("https://inner.example.com/") as response:
                return await response.json()

        @upstream.get("https://api.example.com/other")
        async def by_httpx(request):
            async with httpx.AsyncClient() as inner, newest.AsyncClient() as other:
                return [(await each.get("https://inner.example.com/")).json() for each in (inner, other)]

        async with library.AsyncClient(timeout=5) as client:
            assert (await client.get(URL)).json() == {"inner": 1}
            assert (await client.get("https://api.example.com/other")).json() == [{"inner": 1}] * 2

    assert [call.request.url for call in upstream.calls][:2] == [URL, "https://inner.example.com/"]


async def test_a_measured_stream_keeps_its_length(http):
    response = await get(http, Reply(body=iter([b"12", b"345"]), headers={"Content-Length": "5"}))

    assert (response.content, response.headers["content-length"]) == (b"12345", "5")


async def test_head_has_the_head_and_no_body(http):
    with Upstream() as upstream:
        upstream.head(URL).reply({"a": 1})
        response = await http.request("HEAD", URL)

    assert (response.status, response.headers["content-length"], response.content) == (200, "8", b"")


async def test_head_of_a_stream_asks_for_none_of_it(http):
    """Else its chunks would be read as the answer to the next request of the connection."""
    with Upstream(wire=True) as upstream:
        upstream.head(URL).reply(lambda request: iter([b"x"]))
        upstream.get(URL).reply("next")
        head = await http.request("HEAD", URL)
        following = await http.request("GET", URL)

    assert (head.status, head.content, following.status, following.text) == (200, b"", 200, "next")


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_a_body_has_no_length(http, status):
    for wire in (False, True):
        with Upstream(wire=wire) as upstream:
            upstream.get(URL).reply(status)
            assert "content-length" not in (await http.request("GET", URL)).headers


async def test_a_route_without_reply_answers_200_and_nothing(http):
    with Upstream() as upstream:
        upstream.get(URL)

        response = await http.request("GET", URL)

    assert (response.status, response.content) == (200, b"")


# -- what cannot be an answer


class Thing:
    def __repr__(self):
        return "<Thing>"


def message(call, *args, **kwargs):
    with pytest.raises(UpstreamError) as caught:
        call(*args, **kwargs)
    return str(caught.value)


def test_an_unknown_type_is_refused_with_the_list_of_what_may_be_given():
    route = Upstream().get(URL)

    assert message(route.reply, Thing()) == (
        f"reply(<Thing>): cannot answer with a {__name__}.Thing. Give a dict, list or None (JSON), a str, bytes,"
        " a status, (status, value), a Reply, a response of httpx, httpx2, aiohttp.web or Starlette, a fault,"
        " an exception, an iterator of bytes, or a callable."
    )


def test_other_mistakes_are_refused_with_the_cure():
    route = Upstream().get(URL)

    assert message(route.reply, 7) == (
        "reply(7): an HTTP status is between 100 and 599; for a JSON number write Reply(json=7)."
    )
    assert message(route.reply, {"a": Thing()}) == (
        "reply({'a': <Thing>}): the value is no JSON (Object of type Thing is not JSON serializable)."
    )
    assert message(route.reply, {"a": 1}, json=2) == (
        "reply({'a': 1}, json=...): give values, or the arguments of one Reply, not both."
    )
    circle = []
    circle.append(circle)
    assert message(route.reply, circle) == ("reply([[...]]): the value is no JSON (Circular reference detected).")
    assert message(route.reply, UnicodeDecodeError) == (
        "reply(UnicodeDecodeError): the exception cannot be made without arguments; give UnicodeDecodeError(...)."
    )
    assert message(Reply, json=1, text="x") == "Reply(): give one of json=, text=, html= and body=, not several."


async def test_an_async_callable_under_a_sync_client_is_refused_with_the_cure():
    async def later(request):
        return {}

    with Upstream() as upstream, newest.Client() as client:
        upstream.get(URL).reply(later)

        with pytest.raises(UpstreamError) as caught:
            client.get(URL)

    assert str(caught.value) == (
        f"<Route GET {URL}> is answered by the async callable"
        " test_an_async_callable_under_a_sync_client_is_refused_with_the_cure.<locals>.later, but"
        f" {newest.__name__}'s sync client"
        f" sent GET {URL} and has no event loop to run it in. Make it a plain function, or send with the async client."
    )
