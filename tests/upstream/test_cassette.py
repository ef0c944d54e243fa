"""Recorded once through the real client, replayed byte for byte, with the secrets out of sight."""

# ruff: noqa: E501 - the cases are tables
from __future__ import annotations

import asyncio
import gzip
import json
import socket
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import aiohttp
import httpcore
import httpx
import pytest

from pytest_asyncapi.errors import CassetteError, UnmatchedRequest
from pytest_asyncapi.upstream import Upstream, faults, real
from tests.httpx_libraries import each, newest

GZIPPED = gzip.compress(b'{"hello": "world"}')


class Service(BaseHTTPRequestHandler):
    """A real service on the loopback."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.server.seen.append((self.command, self.path, dict(self.headers), body))
        number = len(self.server.seen)
        answers = {
            "/gzip": (200, GZIPPED, {"Content-Type": "application/json", "Content-Encoding": "gzip"}),
            "/binary": (200, bytes(range(256)), {"Content-Type": "application/octet-stream"}),
            "/login": (
                200,
                gzip.compress(b'{"access_token": "s3cret", "n": 1}'),
                {"Content-Type": "application/json", "Content-Encoding": "gzip", "Set-Cookie": "sid=s3cret; Path=/"},
            ),
        }
        path = self.path.partition("?")[0]
        status, content, headers = answers.get(path, (201, f"answer {number}".encode(), {"X-Number": str(number)}))
        self.send_response(status, "Well Done" if status == 201 else None)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST

    def log_message(self, *args):
        pass


@pytest.fixture
def service():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    server.seen = []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def recording(service):
    """A router that treats the service as one far away."""

    def open_upstream(*, host=None, **options):
        upstream = Upstream(**options)
        upstream._addresses.add(host or ("127.0.0.1", service.server_port))
        return upstream

    return open_upstream


@pytest.mark.parametrize("suffix", ["json", "yaml"])
async def test_what_was_recorded_is_replayed_byte_for_byte(http, service, recording, tmp_path, suffix):
    file = tmp_path / "deep" / f"github.{suffix}"

    async def session(**options):
        with recording(**options) as upstream:
            upstream.cassette(file)
            answers = [
                await http.request("POST", f"{service.url}/{path}", json={"a": 1}) for path in ("x", "gzip", "binary")
            ]
        return [(each.status, each.reason, sorted(each.headers.items()), each.content) for each in answers]

    recorded = await session(record="new")
    replayed = await session()

    assert recorded == replayed
    assert len(service.seen) == 3
    (tmp_path / "other").touch()
    assert file.stat().st_mode == (tmp_path / "other").stat().st_mode
    assert list(file.parent.iterdir()) == [file]
    assert recorded[0][:2] == (201, "Well Done")
    assert recorded[1][3] == b'{"hello": "world"}'
    assert recorded[2][3] == bytes(range(256))


async def test_the_apps_own_headers_reach_the_service(http, service, recording, tmp_path):
    with recording(record="new") as upstream:
        upstream.cassette(tmp_path / "c.json")
        await http.request("POST", f"{service.url}/x", content=b"abc", headers={"X-Mine": "1", "User-Agent": "app/1"})

    _, _, headers, body = service.seen[0]
    assert (headers["X-Mine"], headers["User-Agent"], body) == ("1", "app/1", b"abc")


async def test_the_file_is_for_people_to_read_and_has_no_secrets(service, recording, tmp_path):
    file = tmp_path / "c.json"
    with recording(record="new") as upstream:
        upstream.cassette(file)
        async with newest.AsyncClient() as client:
            await client.post(
                f"{service.url}/login?api_key=s3cret&page=2",
                json={"user": "ada", "password": "s3cret"},
                headers={"Authorization": "Bearer s3cret", "Accept": "*/*", "User-Agent": "app"},
            )
            await client.post(f"{service.url}/x", data={"token": "s3cret", "a": "1"})

    assert "s3cret" not in file.read_text()
    first, second = json.loads(file.read_text())["calls"]
    host = service.url.removeprefix("http://")
    assert first == {
        "request": {
            "method": "POST",
            "url": f"{service.url}/login?api_key=***&page=2",
            "headers": [
                ["Host", host],
                ["Accept-Encoding", first["request"]["headers"][1][1]],
                ["Authorization", "Bearer ***"],
                ["Accept", "*/*"],
                ["User-Agent", "app"],
                ["Content-Length", "34"],
                ["Content-Type", "application/json"],
            ],
            "text": '{"user":"ada","password":"***"}',
        },
        "response": {
            "status": 200,
            "reason": "OK",
            "headers": [
                ["Server", first["response"]["headers"][0][1]],
                ["Date", first["response"]["headers"][1][1]],
                ["Content-Type", "application/json"],
                ["Set-Cookie", "sid=***; Path=/"],
            ],
            "text": '{"access_token": "***", "n": 1}',
        },
    }
    assert second["request"]["text"] == "token=***&a=1"


async def test_a_masked_request_is_found_again_whatever_its_secret(service, recording, tmp_path):
    for record, secret in (("new", "one"), ("none", "two")):
        with recording(record=record) as upstream:
            upstream.cassette(tmp_path / "c.json")
            async with newest.AsyncClient() as client:
                answer = await client.post(f"{service.url}/x?token={secret}", json={"password": secret})
        assert answer.text == "answer 1"


async def test_new_adds_what_is_missing_and_all_begins_anew(service, recording, tmp_path, monkeypatch):
    file = tmp_path / "c.json"

    async def session(record, *paths):
        with recording(record=record) as upstream:
            upstream.cassette(file)
            async with newest.AsyncClient() as client:
                return [(await client.get(f"{service.url}/{path}")).text for path in paths]

    assert await session("new", "a") == ["answer 1"]
    assert await session("new", "a", "b") == ["answer 1", "answer 2"]
    assert await session("none", "b", "a", "a") == ["answer 2", "answer 1", "answer 1"]
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    assert await session("all", "c") == ["answer 3"]
    assert [each["request"]["url"] for each in json.loads(file.read_text())["calls"]] == [f"{service.url}/c"]
    assert await session("all", "d") == ["answer 4"]  # a second test of the same run adds to the file
    assert len(json.loads(file.read_text())["calls"]) == 2


async def test_two_recordings_at_once_do_not_lose_calls(service, recording, tmp_path):
    file = tmp_path / "c.json"
    first, second = recording(record="new"), recording(record="new")
    for upstream in (first, second):
        upstream.cassette(file)
    async with newest.AsyncClient() as client:
        with first:
            await client.get(f"{service.url}/a")
            with second:
                await client.get(f"{service.url}/b")

    assert len(json.loads(file.read_text())["calls"]) == 2


def cassette(*calls):
    return json.dumps({"version": 1, "calls": list(calls)})


def call(url, text, method="GET"):
    return {
        "request": {"method": method, "url": url},
        "response": {"status": 200, "headers": [["Content-Type", "text/plain"]], "text": text},
    }


async def test_several_answers_to_one_request_are_given_in_turn(http, tmp_path):
    file = tmp_path / "job.json"
    file.write_text(cassette(call("https://x.test/job", "running"), call("https://x.test/job", "done")))
    with Upstream() as upstream:
        upstream.cassette(file)

        answers = [(await http.request("GET", "https://x.test/job")).text for _ in range(3)]

    assert answers == ["running", "done", "done"]


async def test_what_has_to_be_equal_can_be_chosen(tmp_path):
    file = tmp_path / "c.json"
    file.write_text(cassette(call("https://x.test/a?b=1&c=2", "hello", "POST")))
    with Upstream() as upstream:
        upstream.cassette(file, match=("method", "path", "query"))
        async with newest.AsyncClient() as client:
            answer = await client.post("https://other.test/a?c=2&b=1", json={"any": "body"})

    assert answer.text == "hello"


async def test_a_call_that_is_not_recorded_is_unmatched_and_names_what_is_near(tmp_path):
    file = tmp_path / "c.json"
    file.write_text(cassette(call("https://x.test/a", "hello"), call("https://x.test/b", "hello")))
    upstream = Upstream(strict=False)
    with upstream:
        upstream.cassette(file)
        async with newest.AsyncClient() as client:
            with pytest.raises(UnmatchedRequest) as caught:
                await client.post("https://x.test/a")

    assert str(caught.value) == (
        f"no upstream route answers POST https://x.test/a (sent by {newest.__name__})\n"
        "  <Route 'cassette c.json' ANY *>: the cassette has no such call (it has GET https://x.test/a);"
        " --upstream-record=new records it\n"
        "  If it is on purpose: upstream.post('https://x.test/a').reply(...)"
    )


async def test_stale_calls_are_named(tmp_path):
    file = tmp_path / "c.json"
    file.write_text(cassette(call("https://x.test/a", "hello"), call("https://x.test/b", "hello")))
    upstream = Upstream()
    tape = upstream.cassette(file, all_used=True)
    with upstream.open():
        async with newest.AsyncClient() as client:
            await client.get("https://x.test/a")

    assert tape.stale == ["GET https://x.test/b"]
    assert upstream.failures() == [
        f"cassette {file}: 1 recorded calls were not made:\n"
        "  GET https://x.test/b\n"
        "  Delete them, or record anew: pytest --upstream-record=all"
    ]


AGAIN = "Repair it, or record it anew: pytest --upstream-record=all"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "it is no JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("[]", "it is no cassette of version 1 ('list')"),
        ('{"version": 2}', "it is no cassette of version 1 (2)"),
        ('{"version": 1, "calls": [{}]}', "call 1 has no request"),
        (cassette({"request": {"method": "GET"}}), "call 1 has a request without url"),
        (cassette({"request": {"method": "GET", "url": "x"}, "response": {"status": 1}}), "call 1 has a response without headers"),
        (
            cassette({"request": {"method": "GET", "url": "x"}, "response": {"status": 1, "headers": [], "base64": "?"}}),
            "call 1 has a body that is no base64 (Only base64 data is allowed)",
        ),
        (cassette(call("https://x.test/", "x"), {**call("x", "x"), "response": {"status": "200", "headers": []}}), "call 2 cannot be given (reply('200'): an HTTP status is between 100 and 599; for a JSON number write Reply(json='200').)"),
        (cassette({**call("x", "x"), "response": {"status": 200, "headers": ["a"]}}), "call 1 cannot be given (not enough values to unpack (expected 2, got 1))"),
        (cassette(call(5, "x")), "call 1 cannot be given ('int' object has no attribute 'decode')"),
    ],
)  # fmt: skip
def test_a_broken_cassette_is_refused_with_the_place(tmp_path, text, message):
    file = tmp_path / "c.json"
    file.write_text(text)

    with pytest.raises(CassetteError) as caught:
        Upstream().cassette(file)

    assert str(caught.value) == f"cassette {file} is broken: {message}. {AGAIN}"


def test_a_missing_cassette_is_refused_with_the_way_to_record_it(tmp_path):
    with pytest.raises(CassetteError) as caught:
        Upstream().cassette(tmp_path / "c.json")

    assert str(caught.value) == (
        f"cassette {tmp_path / 'c.json'}: there is no such file. Record it: pytest --upstream-record=new"
    )


def test_wrong_arguments_are_refused(tmp_path):
    with pytest.raises(CassetteError, match="match='verb' is none of method, url, scheme, host, path, query, body"):
        Upstream().cassette(tmp_path / "c.json", match=("verb",), record="new")
    with pytest.raises(CassetteError, match="record='some' is none of none, new, all"):
        Upstream().cassette(tmp_path / "c.json", record="some")


async def test_a_service_that_fails_is_the_clients_own_failure_and_is_not_recorded(http, recording, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    file = tmp_path / "c.json"
    with recording(record="new", host=("127.0.0.1", port)) as upstream:
        upstream.cassette(file)
        with pytest.raises((aiohttp.ClientConnectorError, *each("ConnectError"))) as caught:
            await http.request("GET", f"http://127.0.0.1:{port}/")

    assert type(caught.value).__module__.partition(".")[0] == http.name
    assert upstream.calls.last.outcome == "faults.refused"
    assert json.loads(file.read_text())["calls"] == []


@pytest.mark.parametrize(
    ("cause", "fault"),
    [
        (socket.gaierror(-2, "Name or service not known"), faults.dns),
        (ssl.SSLCertVerificationError(1, "certificate verify failed"), faults.tls),
        (OSError(111, "refused"), faults.refused),
    ],
    ids=repr,
)
def test_why_there_was_no_connection(cause, fault):
    error = httpx.ConnectError("no")
    error.__cause__ = httpcore.ConnectError("no")
    error.__cause__.__context__ = cause

    assert real._fault(httpx, error) is fault


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (httpx.ConnectTimeout, faults.connect_timeout),
        (httpx.ReadTimeout, faults.read_timeout),
        (httpx.WriteTimeout, faults.write_timeout),
        (httpx.ReadError, faults.reset),
        (httpx.WriteError, faults.reset),
        (httpx.RemoteProtocolError, faults.disconnect),
    ],
)
def test_what_else_may_fail(error, fault):
    assert real._fault(httpx, error("it failed")) is fault
    with pytest.raises(httpx.UnsupportedProtocol):
        real._fault(httpx, httpx.UnsupportedProtocol("gopher"))


async def test_a_route_passes_through(http, service):
    with Upstream() as upstream:
        route = upstream.post(f"{service.url}/x").pass_through()

        answer = await http.request("POST", f"{service.url}/x", content=b"abc")

    assert answer.text == "answer 1"
    assert route.calls.last.reply.status == 201
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_to_begin_anew_is_for_one_process(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")

    with pytest.raises(CassetteError, match="one worker would do so to another's calls: pytest -n 0"):
        Upstream().cassette(tmp_path / "c.json", record="all")
