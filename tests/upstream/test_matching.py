"""Which request a route answers, and what is said when none does."""

# ruff: noqa: E501 - the cases are tables
from __future__ import annotations

import re
from unittest.mock import ANY

import pytest

from pytest_asyncapi.errors import UnmatchedRequest, UpstreamError
from pytest_asyncapi.upstream import Request, Upstream


def request(method="GET", url="https://api.example.com/users/7", content=b"", **headers):
    raw = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Request(method, url, raw, content, "httpx")


def answers(want, got):
    """Whether a route (method, url, **wanted) answers a request; else what differs."""
    method, url, wanted = want
    differs = Upstream().route(method, url, **wanted).differs(got)
    return True if differs is None else differs[1]


JSON = b'{"event": "paid", "amount": 5, "items": [{"id": 1, "n": 2}]}'
MULTIPART = (
    b'--B\r\nContent-Disposition: form-data; name="title"\r\n\r\nFace\r\n'
    b'--B\r\nContent-Disposition: form-data; name="avatar"; filename="face.png"\r\nContent-Type: image/png\r\n\r\n'
    b"\x89PNG\r\n--B--\r\n"
)
FORM_TYPE = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("url", "got", "expected"),
    [
        ("https://api.example.com/users/{id}", "https://api.example.com/users/7", True),
        ("https://API.example.com/users/{id}", "https://api.EXAMPLE.com:443/users/7", True),
        ("https://api.example.com/users/{id}", "https://api.example.com/users/", "path is '/users/', the route wants '/users/{id}'"),
        ("https://api.example.com/users/{id}", "https://api.example.com/users/7/x", "path is '/users/7/x', the route wants '/users/{id}'"),
        ("https://api.example.com/files/{rest:path}", "https://api.example.com/files/a/b/c", True),
        ("https://api.example.com/v{major}.{minor}/", "https://api.example.com/v1.2/", True),
        ("https://api.example.com", "https://api.example.com/", True),
        ("https://api.example.com/a%20b", "https://api.example.com/a%20b", True),
        ("https://api.example.com/a b", "https://api.example.com/a%20b", True),
        ("https://{tenant}.example.com/", "https://acme.example.com/", True),
        ("https://{tenant}.example.com/", "https://a.b.example.com/", "host is 'a.b.example.com', the route wants '{tenant}.example.com'"),
        ("https://*/health", "https://anything.test/health", True),
        ("https://*:8443/health", "https://anything.test:8443/health", True),
        ("https://*:8443/health", "https://anything.test/health", "port is 443, the route wants 8443"),
        ("http://api.example.com/", "https://api.example.com/", "scheme is 'https', the route wants 'http'"),
        ("https://api.example.com:8443/", "https://api.example.com/", "port is 443, the route wants 8443"),
        ("https://api.example.com/?q=1", "https://api.example.com/?q=1&more=2", True),
        ("https://api.example.com/?q=1", "https://api.example.com/?q=2", "query 'q' is '2', the route wants '1'"),
        (re.compile(r"/users/\d+$"), "https://api.example.com/users/7", True),
        (re.compile(r"/users/\d+$"), "https://api.example.com/users/x", r"the URL does not match '/users/\\d+$'"),
        (None, "https://api.example.com/whatever", True),
    ],
)  # fmt: skip
def test_urls(url, got, expected):
    assert expected == answers((None, url, {}), request(url=got))


@pytest.mark.parametrize(
    ("wanted", "got", "expected"),
    [
        ({"params": {"page": 2, "flag": True}}, request(url="https://x.test/?page=2&flag=true&x=1"), True),
        ({"params": {"page": 2}}, request(url="https://x.test/"), "query 'page' is missing, the route wants '2'"),
        ({"params": {"tag": ["a", "b"]}}, request(url="https://x.test/?tag=a&tag=b"), True),
        ({"params": {"tag": "a"}}, request(url="https://x.test/?tag=a&tag=b"), "query 'tag' is 'a', 'b', the route wants 'a'"),
        ({"params": {"q": re.compile("^a")}}, request(url="https://x.test/?q=b"), "query 'q' is 'b', the route wants a match of '^a'"),
        ({"params": {"q": ANY}}, request(url="https://x.test/?q="), True),
        ({"headers": {"X-Key": "k"}}, request(x_key="k"), True),
        ({"headers": {"X-Key": "k"}}, request(x_key="z"), "header 'X-Key' is 'z', the route wants 'k'"),
        ({"headers": {"X-Key": "k"}}, request(), "header 'X-Key' is missing, the route wants 'k'"),
        ({"headers": {"Authorization": re.compile("^Bearer ")}}, request(authorization="Bearer x"), True),
        ({"cookies": {"sid": "1"}}, request(cookie="a=b; sid=1"), True),
        ({"cookies": {"sid": "1"}}, request(cookie="a=b"), "cookie 'sid' is missing, the route wants '1'"),
        ({"json": {"a": 1}}, request(content=b'{"a": 1}'), True),
        ({"json": {"a": 1}}, request(content=b'{"a": 2}'), "json is {'a': 2}, the route wants {'a': 1}"),
        ({"json": {"a": 1}}, request(content=b"a=1"), "the body is no JSON: b'a=1', the route wants {'a': 1}"),
        ({"json_subset": {"event": "paid"}}, request(content=JSON), True),
        ({"json_subset": {"items": [{"id": 1}]}}, request(content=JSON), True),
        ({"json_subset": {"items": []}}, request(content=b'{"items": [1]}'), "json is {'items': [1]}, the route wants at least {'items': []}"),
        ({"json_subset": {"amount": ANY}}, request(content=JSON), True),
        ({"content": b"raw"}, request(content=b"raw"), True),
        ({"content": "raw"}, request(content=b"war"), "the body is b'war', the route wants b'raw'"),
        ({"content": re.compile(rb"a+")}, request(content=b"baab"), True),
        ({"content": re.compile("é")}, request(content="né".encode()), True),
        ({"form": {"a": 1}}, request(content=b"a=1&b=2", content_type=FORM_TYPE), True),
        ({"form": {"a": 1}}, request(content=b"b=2", content_type=FORM_TYPE), "form field 'a' is missing, the route wants '1'"),
        ({"form": {"title": "Face"}}, request(content=MULTIPART, content_type="multipart/form-data; boundary=B"), True),
        ({"files": {"avatar": "face.png"}}, request(content=MULTIPART, content_type="multipart/form-data; boundary=B"), True),
        ({"files": {"avatar": b"\x89PNG"}}, request(content=MULTIPART, content_type="multipart/form-data; boundary=B"), True),
        ({"files": {"avatar": ("face.png", "image/png", b"\x89PNG")}}, request(content=MULTIPART, content_type="multipart/form-data; boundary=B"), True),
        ({"files": {"avatar": "x"}}, request(content=MULTIPART, content_type="multipart/form-data; boundary=B"), "file 'avatar' is ('face.png', 'image/png', b'\\x89PNG'), the route wants 'x'"),
        ({"files": {"photo": "x"}}, request(content=b"", content_type=FORM_TYPE), "file 'photo' is missing"),
        ({"where": lambda r: r.method == "GET"}, request(), True),
        ({"where": lambda r: False}, request(), "where=<lambda> said no"),
    ],
)  # fmt: skip
def test_what_else_is_wanted(wanted, got, expected):
    assert expected == answers((None, None, wanted), got)


def test_methods():
    assert answers(("get", None, {}), request()) is True
    assert answers((["PUT", "PATCH"], None, {}), request("PATCH")) is True
    assert answers((["PUT", "PATCH"], None, {}), request()) == "method is GET, the route wants PATCH or PUT"


def test_the_newest_route_wins():
    upstream = Upstream()
    default = upstream.get("https://api.example.com/users/{id}")
    mine = upstream.get("https://api.example.com/users/7")
    every = upstream.route(None, re.compile("/users/8"))

    plans = [upstream.plan(request(url=f"https://api.example.com/users/{n}")) for n in (7, 8, 9)]

    assert [mine, every, default] == [plan.call.route for plan in plans]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("api.example.com/users", "upstream URL 'api.example.com/users' has no scheme: write 'https://api.example.com/users' (or a compiled regular expression)."),
        ("/users", "upstream URL '/users' has no scheme: write 'https://api.example.com/users' (or a compiled regular expression)."),
        ("ftp://x/y", "upstream URL 'ftp://x/y': the scheme 'ftp' is none of http, https, ws, wss."),
        ("https:///users", "upstream URL 'https:///users' has no host."),
        ("https://x.test/{id}/{id}", "upstream URL 'https://x.test/{id}/{id}' has the name {id} twice: each name stands once."),
        ("https://x.test/{1a}", "upstream URL 'https://x.test/{1a}': {1a} is not a name."),
        ("https://x.test/{}", "upstream URL 'https://x.test/{}': {} is not a name."),
        ("https://x.test/{rest:path}/x", "upstream URL 'https://x.test/{rest:path}/x': {name:path} must be the last part of the path."),
        ("https://x.test:port/", "upstream URL 'https://x.test:port/': Port could not be cast to integer value as 'port'."),
    ],
)  # fmt: skip
def test_wrong_urls_are_refused(url, message):
    with pytest.raises(UpstreamError) as caught:
        Upstream().get(url)

    assert message == str(caught.value)


def test_a_wrong_argument_is_refused_with_the_right_ones():
    with pytest.raises(UpstreamError) as caught:
        Upstream().get("https://x.test/", body={"a": 1})

    assert str(caught.value) == (
        "upstream route: there is no body=; the arguments are params, headers, cookies, json, json_subset, content, form,"
        " files, where, name, required."
    )


def test_an_unanswered_request_names_the_nearest_routes_and_why_each_did_not_match():
    upstream = Upstream()
    upstream.get("https://rates.example.com/usd")
    upstream.post("https://rates.example.com/eur", name="post a rate")
    upstream.get("https://rates.example.com/eur", params={"day": "today"})
    upstream.get("https://other.example.com/")

    plan = upstream.plan(request(url="https://rates.example.com/eur?day=1"))

    assert isinstance(plan.effect, UnmatchedRequest)
    assert str(plan.effect) == (
        "no upstream route answers GET https://rates.example.com/eur?day=1 (sent by httpx)\n"
        "  <Route GET https://rates.example.com/eur>: query 'day' is '1', the route wants 'today'\n"
        "  <Route 'post a rate' POST https://rates.example.com/eur>: method is GET, the route wants POST\n"
        "  <Route GET https://rates.example.com/usd>: path is '/eur', the route wants '/usd'\n"
        "  and 1 routes that are further off\n"
        "  If it is on purpose: upstream.get('https://rates.example.com/eur').reply(...)"
    )
    assert [str(plan.effect)] == upstream.problems


def test_many_routes_are_not_searched_one_by_one(monkeypatch):
    """Only what lies on the way of the URL is looked at."""
    upstream = Upstream()
    for n in range(200):
        upstream.get(f"https://api.example.com/things{n}/{{id}}")
    looked_at = list(upstream._index.candidates(request(url="https://api.example.com/things77/1")))

    assert [upstream.routes[77]] == looked_at
