"""A mistake in a route or a reply is told where it is made, with what to write instead."""

from __future__ import annotations

import re

import pytest
import yarl

from pytest_asyncapi.errors import ConfigurationError, UnmatchedRequest, UpstreamError
from pytest_asyncapi.upstream import Reply, Upstream, faults
from pytest_asyncapi.wire.hosts import Hosts
from tests.httpx_libraries import each

URL = "https://x.test/"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (5, "upstream URL 5 is no str (nor a compiled regular expression)."),
        (b"https://x/", "upstream URL b'https://x/' is no str (nor a compiled regular expression)."),
        ("https://x/{a", "upstream URL 'https://x/{a': '{a' is no name; write {name} or {name:path}."),
        ("https://x/a}", "upstream URL 'https://x/a}': '}' is no name; write {name} or {name:path}."),
        ("https://x/{a:int}", "upstream URL 'https://x/{a:int}': '{a:int}' is no name; write {name} or {name:path}."),
        (
            "https://x/?a={b}",
            "upstream URL 'https://x/?a={b}': {b} stands in the query, where no names are taken; a query that is not"
            " named may be anything, and params= takes regular expressions.",
        ),
        (
            "https://u:p@x/",
            "upstream URL 'https://u:p@x/': credentials are no part of an address; want them by"
            " headers={'Authorization': ...}.",
        ),
    ],
)
def test_urls(url, message):
    with pytest.raises(UpstreamError) as caught:
        Upstream().get(url)

    assert str(caught.value) == message


@pytest.mark.parametrize("method", ["", "G ET", "get,post", 5, b"GET", [], ["GET", 5]])
def test_methods(method):
    with pytest.raises(UpstreamError, match="is no str such as 'GET'"):
        Upstream().route(method, URL)


MAPPING = "is no mapping of names (str) to values."


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"params": 5}, f"upstream route: params=5 {MAPPING}"),
        ({"params": "a=1"}, f"upstream route: params='a=1' {MAPPING}"),
        ({"form": "a=1"}, f"upstream route: form='a=1' {MAPPING}"),
        ({"headers": "x"}, f"upstream route: headers='x' {MAPPING}"),
        ({"headers": {b"a": b"b"}}, f"upstream route: headers={{b'a': b'b'}} {MAPPING}"),
        ({"cookies": 3}, f"upstream route: cookies=3 {MAPPING}"),
        ({"files": ["a"]}, f"upstream route: files=['a'] {MAPPING}"),
        (
            {"files": {"a": 5}},
            "upstream route: the file 'a' is wanted as 5; give its name (str), its bytes, or"
            " (filename, content type, bytes).",
        ),
        ({"content": 5}, "upstream route: content=5 is neither bytes nor a str or a regular expression."),
        ({"where": 5}, "upstream route: where=5 is no function of the request, and no respx pattern."),
        ({"name": 5}, "upstream route: name=5 is no str."),
        ({"required": "no"}, "upstream route: required='no' is neither True nor False."),
    ],
)
def test_what_a_route_wants(wanted, message):
    with pytest.raises(UpstreamError) as caught:
        Upstream().get(URL, **wanted)

    assert str(caught.value) == message


UNSENDABLE = "cannot be sent: it has a line break, or a character that is not in Latin-1."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"status": "200"}, "reply('200'): an HTTP status is between 100 and 599; for a JSON number write"),
        ({"status": 99}, "reply(99): an HTTP status is between 100 and 599; for a JSON number write"),
        ({"text": b"x"}, "Reply(text=b'x'): it is a str; for bytes write body=."),
        ({"body": "x"}, "Reply(body='x'): a body is bytes, or an iterator or async iterator of bytes (for a str"),
        ({"body": 5}, "Reply(body=5): a body is bytes"),
        ({"headers": "a"}, "reply headers 'a': give a mapping of names to values, or pairs of them."),
        ({"headers": {"a b": "c"}}, "reply headers: 'a b' is no name of a header."),
        ({"headers": {"a": "b\r\nX: y"}}, f"reply headers: the value 'b\\r\\nX: y' of 'a' {UNSENDABLE}"),
        ({"headers": {"a": "€"}}, f"reply headers: the value '€' of 'a' {UNSENDABLE}"),
        ({"latency": -1}, "latency=-1: it is a number of seconds, 0 or more."),
        ({"latency": "5"}, "latency='5': it is a number of seconds, 0 or more."),
        ({"reason": "\n"}, "reply reason '\\n': it is a str in one line, such as 'OK'."),
        ({"fault": "reset"}, "Reply(fault='reset'): give one of faults, such as faults.truncate(10)."),
        (
            {"body": iter([b"x"]), "fault": faults.truncate(1)},
            "Reply(fault=faults.truncate(...)): only a body of bytes can be cut, no iterator.",
        ),
    ],
)
def test_replies(arguments, message):
    with pytest.raises(UpstreamError) as caught:
        Reply(**arguments)

    assert str(caught.value).startswith(message)


def test_more_of_replies():
    route = Upstream().get(URL)
    with pytest.raises(UpstreamError, match=re.escape("reply(jsn=...): there is no such argument; they are status,")):
        route.reply(200, jsn={})
    with pytest.raises(UpstreamError, match=re.escape("reply(faults.truncate): say after how many bytes")):
        route.reply(faults.truncate)
    with pytest.raises(UpstreamError, match=re.escape("faults.truncate(-1): give a number of bytes, 0 or more.")):
        faults.truncate(-1)


def test_websockets_and_mounts():
    upstream = Upstream()
    with pytest.raises(UpstreamError, match="a handler of a websocket is an async function"):
        upstream.ws("wss://x.test/").reply(lambda ws: None)
    with pytest.raises(UpstreamError, match=r"ws\.reply\('a', 403\): give messages, or what answers a handshake"):
        upstream.ws("wss://x.test/").reply("a", 403)
    with pytest.raises(UpstreamError, match="the app is not callable, as an ASGI app is"):
        upstream.mount("https://x.test", None)
    with pytest.raises(UpstreamError, match="the base is an address and perhaps a path"):
        upstream.mount("https://x.test/?a=1", lambda scope, receive, send: None)


@pytest.mark.parametrize(
    ("allowed", "message"),
    [
        ("example.com", "allowed hosts 'example.com': give a list of them."),
        ([None], "the allowed host None is no name, address, network or pattern."),
        *(
            ([host], f"the allowed host {host!r} is no name, address, network or pattern; is 'example.com' meant?")
            for host in ("https://example.com/x", "example.com:80/x", "example.com/x")
        ),
    ],
)
def test_allowed_hosts(allowed, message):
    with pytest.raises(ConfigurationError) as caught:
        Hosts(allowed)

    assert str(caught.value) == message


@pytest.mark.parametrize("body", [[b"a", 5], ["text"]], ids=repr)
async def test_a_body_of_other_things_than_bytes(http, body):
    upstream = Upstream()
    upstream.get(URL).reply(Reply(body=iter(body)))
    with upstream.open(), pytest.raises(Exception) as caught:
        await http.request("GET", URL, timeout=5)

    error = upstream.calls.last.error if http.is_async else caught.value
    assert str(error) == f"the iterator of a reply's body gave {body[-1]!r}: its chunks are bytes."


async def test_a_predicate_that_fails_is_raised_into_the_app_and_fails_the_test(http):
    def broken(request):
        return request.nothing

    upstream = Upstream()
    upstream.get(URL, where=broken)
    with upstream.open(), pytest.raises(UpstreamError, match="where=broken failed: AttributeError"):
        await http.request("GET", URL, timeout=5)

    assert upstream.failures()[0].startswith("upstream: where=broken failed: AttributeError(")


# -- what is no mistake


async def test_urls_of_libraries_other_cases_and_hosts(http):
    with Upstream() as upstream:
        for url in (yarl.URL("https://a.test/"), *(make(f"https://b{n}.test/") for n, make in enumerate(each("URL")))):
            upstream.get(url)
        upstream.get("HTTPS://D.test/")
        upstream.get("https://*.e.test/")
        upstream.get("https://bücher.test/")
        for host in (
            "a.test",
            *(f"b{n}.test" for n, _ in enumerate(each("URL"))),
            "d.test",
            "any.e.test",
            "bücher.test",
        ):
            assert (await http.request("GET", f"https://{host}/")).status == 200
        with pytest.raises(UnmatchedRequest):
            await http.request("GET", "https://e.test/")
        upstream.problems.clear()


async def test_pairs_repeated_names_and_numbers_are_wanted_too(http):
    with Upstream() as upstream:
        upstream.get(URL, params=[("a", 1), ("a", 2)], headers={"X-Page": 3})

        answer = await http.request("GET", f"{URL}?a=1&a=2&b=3", headers={"X-Page": "3"})

    assert answer.status == 200
