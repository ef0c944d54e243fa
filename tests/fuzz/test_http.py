"""The server's half of HTTP/1.1: whole requests out of bytes in any pieces, and BadRequest for what is none."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from pytest_asyncapi.upstream.http1 import BadRequest, RequestParser

TOKENS = st.text("abcdefghijklmnopqrstuvwxyzABCDEF-", min_size=1, max_size=12)
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)
RESERVED = {"content-length", "transfer-encoding", "expect", "host"}
PARTS = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n",
        b"POST /a HTTP/1.1\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"Content-Length: 3\r\n",
        b"abc",
        b"0\r\n\r\n",
        b"Content-Length: x\r\n",
        b"Content-Length: -1\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"5\r\n",
        b"zz\r\n",
        b":",
        b" ",
    ]
)


def parser():
    return RequestParser("httpx2", "http", "example.com", 80)


def pieces(data, cuts):
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(places)]


@st.composite
def requests(draw):
    method = draw(st.sampled_from(["GET", "POST", "PUT", "DELETE", "QUERY"]))
    path = "/" + draw(st.text("abc/%20", max_size=10).filter(lambda text: not text.startswith("/")))
    headers = draw(st.lists(st.tuples(TOKENS.filter(lambda name: name.lower() not in RESERVED), VALUES), max_size=4))
    body = draw(st.binary(max_size=200))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    if draw(st.booleans()):
        sizes = draw(st.lists(st.integers(1, 60), max_size=5))
        chunks, rest = [], body
        for size in [*sizes, len(body)]:
            if rest:
                chunks.append(rest[:size])
                rest = rest[size:]
        framed = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
        lines.append("Transfer-Encoding: chunked")
    else:
        framed = body
        lines.append(f"Content-Length: {len(body)}")
    return (method, path, body), "\r\n".join(lines).encode() + b"\r\n\r\n" + framed


@given(requests(), st.lists(st.integers(0, 2000), max_size=8))
def test_a_request_is_the_same_in_any_pieces(request, cuts):
    (method, path, body), data = request
    reader = parser()
    found = []
    for piece in pieces(data, cuts):
        reader.feed(piece)
        if (whole := reader.next_request()) is not None:
            found.append(whole)

    (got,) = found
    assert (got.method, got.url, got.content) == (method, f"http://example.com{path}", body)
    reader.feed(b"GET /next HTTP/1.1\r\n\r\n")  # nothing of the first is left before it
    assert reader.next_request().url == "http://example.com/next"


@given(
    st.one_of(st.binary(max_size=200), st.lists(PARTS, max_size=12).map(b"".join)),
    st.lists(st.integers(0, 200), max_size=5),
)
def test_what_is_no_request_is_refused_and_nothing_else_is_raised(data, cuts):
    reader = parser()
    try:
        for piece in pieces(data, cuts):
            reader.feed(piece)
            while reader.next_request() is not None:
                pass
    except BadRequest:
        pass
