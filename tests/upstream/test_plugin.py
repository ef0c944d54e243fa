"""The fixture and the marker: what fails a test, in which phase, with which words."""

from __future__ import annotations

import http.server
import json
import threading

import fastapi.testclient  # noqa: F401 - pytester forgets what its runs import, and these cannot be imported twice
import pytest

import pytest_asyncapi.upstream.aiohttp_hooks
import pytest_asyncapi.upstream.httpcore_hooks
import pytest_asyncapi.upstream.router  # noqa: F401
from tests.httpx_libraries import HTTPX_NAMES, newest

APP = """
import aiohttp, LIBRARY
from fastapi import FastAPI

at_import = LIBRARY.AsyncClient(base_url="https://rates.example.com")
app = FastAPI()

@app.get("/rate/{currency}")
async def rate(currency: str, library: str = "LIBRARY"):
    url = f"https://rates.example.com/{currency}"
    try:
        if library == "aiohttp":
            async with aiohttp.ClientSession() as session, session.get(url) as response:
                return await response.json()
        return (await at_import.get(f"/{currency}")).json()
    except Exception:
        return {"rate": "unknown"}
""".replace("LIBRARY", newest.__name__)


@pytest.fixture
def project(pytester):
    pytester.makepyfile(app=APP)
    pytester.makeini(
        "[pytest]\nasyncapi_app = app:app\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
        "asyncapi_database = none\n"
    )
    pytester.syspathinsert()

    def run(test, *args):
        pytester.makepyfile(test_it=test)
        return pytester.runpytest_inprocess("-p", "no:randomly", "-p", "no:cacheprovider", *args)

    return run


@pytest.mark.parametrize("library", ["aiohttp", newest.__name__])
def test_an_unanswered_request_fails_the_test_in_its_call_phase_though_the_app_swallows_it(project, library):
    result = project(f"""
        async def test_it(client, upstream):
            upstream.get("https://rates.example.com/usd", required=False).reply({{"rate": 1}})
            response = await client.get("/rate/eur?library={library}")
            assert response.json() == {{"rate": "unknown"}}
    """)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            f"no upstream route answers GET https://rates.example.com/eur (sent by {library})",
            "  <Route GET https://rates.example.com/usd>: path is '/eur', the route wants '/usd'",
            "  If it is on purpose: upstream.get('https://rates.example.com/eur').reply(...)",
            "*upstream calls*",
            f"GET https://rates.example.com/eur ({library}) -> UnmatchedRequest by no route",
        ]
    )


def test_an_unused_route_fails_too_unless_it_is_not_required(project):
    result = project("""
        async def test_unused(client, upstream):
            upstream.get("https://rates.example.com/usd").reply({"rate": 1})
            upstream.get("https://rates.example.com/eur").reply({"rate": 2})
            assert (await client.get("/rate/usd")).json() == {"rate": 1}

        async def test_not_required(client, upstream):
            upstream.get("https://rates.example.com/usd", required=False)
    """)

    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "upstream route never called: <Route GET https://rates.example.com/eur>",
            "  upstream was asked: GET https://rates.example.com/usd -> 200 OK",
            "  If it is on purpose: required=False on the route.",
        ]
    )


def test_what_an_app_sends_while_it_shuts_down_fails_the_tear_down(project, pytester):
    pytester.makepyfile(
        leaves="""
        import contextlib, LIBRARY

        async def app(scope, receive, send):
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            with contextlib.suppress(Exception):
                async with LIBRARY.AsyncClient() as client:
                    await client.post("https://rates.example.com/goodbye")
            await send({"type": "lifespan.shutdown.complete"})
        """.replace("LIBRARY", newest.__name__)
    )
    test = """
        async def test_it(asyncapi_upstream, asyncapi_client):
            asyncapi_upstream.post("https://rates.example.com/goodbye", required=False){}
    """
    result = project(test.replace("{}", "").replace("/goodbye", "/hello"), "-o", "asyncapi_app=leaves:app")

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        [f"no upstream route answers POST https://rates.example.com/goodbye (sent by {newest.__name__})"]
    )
    project(test.replace("{}", ".reply(204)"), "-o", "asyncapi_app=leaves:app").assert_outcomes(passed=1)


RECORD = """
    import pytest

    @pytest.mark.parametrize("currency", ["eur", "usd"])
    async def test_it(client, upstream, currency):
        upstream.cassette("rates.yaml")
        assert (await client.get(f"/rate/{currency}")).json() == {"rate": 7}
"""


class Rates(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "11")
        self.end_headers()
        self.wfile.write(b'{"rate": 7}')

    def log_message(self, *args):
        pass


LEADS_HERE = """
import socket

def pytest_configure(config):
    look_up = socket.getaddrinfo
    here = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", {port}))]
    names = ("rates.example.com", b"rates.example.com")
    socket.getaddrinfo = lambda host, *a, **k: here if host in names else look_up(host, *a, **k)
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one", "xdist"])
def test_recording_by_the_flag_and_replaying_without_the_service(project, pytester, workers):
    """The name of the service leads to a server on the loopback, as it would to one far away."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Rates) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://rates.example.com:{server.server_port}"
        pytester.makepyfile(app=APP.replace("https://rates.example.com", base))
        pytester.makeconftest(LEADS_HERE.format(port=server.server_port))
        pytester.makepyfile(test_it=RECORD)

        def run(*args):
            return pytester.runpytest_subprocess("-p", "no:randomly", "-p", "no:cacheprovider", *workers, *args)

        before = run()
        recorded = run("--upstream-record=new")
        text = pytester.path.joinpath("rates.yaml").read_text()
        server.shutdown()

    before.assert_outcomes(failed=2)
    words = "*cassette rates.yaml: there is no such file. Record it: pytest --upstream-record=new*"
    before.stdout.fnmatch_lines([words])
    recorded.assert_outcomes(passed=2)
    urls = [line.strip() for line in text.splitlines() if "url:" in line]
    assert sorted(urls) == [f"url: {base}/eur", f"url: {base}/usd"]
    run().assert_outcomes(passed=2)


def test_the_marker_loosens_both(project):
    result = project("""
        import pytest

        @pytest.mark.upstream(strict=False)
        async def test_strict(client, upstream):
            assert (await client.get("/rate/eur")).json() == {"rate": "unknown"}

        @pytest.mark.upstream(assert_all_called=False)
        async def test_unused(client, upstream):
            upstream.get("https://rates.example.com/usd")
    """)

    result.assert_outcomes(passed=2)


def test_a_failing_test_shows_the_calls_that_it_made(project):
    result = project("""
        async def test_it(client, upstream):
            upstream.get("https://rates.example.com/eur").reply({"rate": 1})
            await client.get("/rate/eur")
            assert False
    """)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*- upstream calls -*",
            f"GET https://rates.example.com/eur ({newest.__name__}) -> 200 OK by <Route GET https://rates.example.com/eur>",
        ]
    )


def test_what_the_traceback_says_is_not_said_again(project):
    result = project(f"""
        import contextlib, {newest.__name__} as httpx

        async def test_it(upstream):
            async with httpx.AsyncClient() as client:
                with contextlib.suppress(AssertionError):
                    await client.get("https://rates.example.com/usd")
                await client.get("https://rates.example.com/eur")
    """)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *no upstream route answers GET https://rates.example.com/eur (sent by *)"])
    section = result.stdout.str().partition("- upstream: unanswered requests -")[2]
    assert "no upstream route answers GET https://rates.example.com/usd" in section
    assert "no upstream route answers GET https://rates.example.com/eur" not in section


def test_the_apps_own_clients_are_never_intercepted(project):
    result = project(f"""
        import {", ".join(HTTPX_NAMES)}
        from starlette.testclient import TestClient
        from app import app

        async def test_client(client, upstream):
            upstream.get("https://rates.example.com/eur").reply({{"rate": 1}})
            assert (await client.get("/rate/eur")).json() == {{"rate": 1}}

        def test_starlette(asyncapi_upstream):
            asyncapi_upstream.get("https://rates.example.com/eur").reply({{"rate": 2}})
            with TestClient(app) as client:
                assert client.get("/rate/eur").json() == {{"rate": 2}}

        async def test_asgi_transport(upstream):
            upstream.get("https://rates.example.com/eur").reply({{"rate": 3}})
            for library in ({", ".join(HTTPX_NAMES)},):
                async with library.AsyncClient(transport=library.ASGITransport(app=app), base_url="http://x") as client:
                    assert (await client.get("/rate/eur")).json() == {{"rate": 3}}
    """)

    result.assert_outcomes(passed=3)


@pytest.mark.slow
def test_two_tests_never_share_a_route(project):
    result = project("""
        import pytest

        @pytest.mark.parametrize("n", range(4))
        async def test_own_route(client, upstream, n):
            upstream.get("https://rates.example.com/eur").reply({"rate": n})
            assert (await client.get("/rate/eur")).json() == {"rate": n}
            assert len(upstream.routes) == len(upstream.calls) == 1
    """, "-n", "2")  # fmt: skip

    result.assert_outcomes(passed=4)


@pytest.fixture
def bare(pytester, monkeypatch):
    """A run with our plugin and pytest-asyncio alone, in a process of its own."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    return lambda: pytester.runpytest_subprocess("-p", "pytest_asyncapi.plugin", "-p", "pytest_asyncio.plugin")


def test_clients_are_imported_by_the_app_alone_and_served_also_when_that_is_during_the_test(pytester, bare):
    pytester.makepyfile(f"""
        import sys

        def test_unused():
            rooms = ("pytest_asyncapi.upstream.", "pytest_asyncapi.network.")
            ours = {{name for name in sys.modules if name.startswith(rooms)}}
            assert {{name.rpartition(".")[2] for name in ours}} == {{"fixtures", "hooks"}}

        async def test_used(asyncapi_upstream):
            heavy = {{"aiohttp", "httpx", "httpx2", "httpcore", "httpcore2", "wsproto", "jsonschema"}}
            assert not heavy & set(sys.modules)
            asyncapi_upstream.get("https://api.example.com/").reply({{"a": 1}})
            import aiohttp, {", ".join(HTTPX_NAMES)}
            async with aiohttp.ClientSession() as session, session.get("https://api.example.com/") as response:
                assert await response.json() == {{"a": 1}}
            for library in ({", ".join(HTTPX_NAMES)},):
                assert library.get("https://api.example.com/").json() == {{"a": 1}}
    """)

    bare().assert_outcomes(passed=2)


def test_the_end_of_a_run_names_recordings_that_no_test_asked_for(project, pytester):
    call = {"response": {"status": 200, "headers": [], "text": "{}"}}
    calls = [
        {"request": {"method": "GET", "url": f"https://rates.example.com/{each}"}, **call}
        for each in ("eur", "usd", "old")
    ]
    pytester.path.joinpath("rates.json").write_text(json.dumps({"version": 1, "calls": calls}))
    result = project("""
        import pytest

        @pytest.mark.parametrize("currency", ["eur", "usd"])
        async def test_it(client, upstream, currency):
            upstream.cassette("rates.json")
            assert (await client.get(f"/rate/{currency}")).json() == {}
    """)

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        ["*- stale recordings -*", "rates.json: no test of this run asked for", "  GET https://rates.example.com/old"]
    )
    result.stdout.no_fnmatch_line("  GET https://rates.example.com/eur")
