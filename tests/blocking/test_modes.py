"""`--detect-blocking`: what fails, warns and is reported, and how it reads."""

import re
import xml.etree.ElementTree as ElementTree

import pytest


def plain(result: pytest.RunResult) -> str:
    """The output without what differs from run to run."""
    return re.sub(r"\d+(\.\d+)? ms", "N ms", result.stdout.str())


def test_a_test_fails_at_the_line_of_its_app(run, sleeping, line_of):
    result = run(sleeping, "--detect-blocking", "-rf")

    result.assert_outcomes(failed=1)
    line = line_of("time.sleep(0.002)")
    expected = [
        "GET /sleep held the event loop for N ms: waiting in time.sleep (wall N ms, CPU N ms)",
        "",
        f"app.py:{line}: in sleep",
        f" {line - 1:5d}  async def sleep():",
        f">{line:5d}      time.sleep(0.002)",
        "  how it came there, outermost first: (task 'asgi GET /sleep')",
    ]
    assert "\n".join(expected) in plain(result)
    result.stdout.fnmatch_lines(
        [
            f"    app.py:{line} in async sleep  <-- holds the loop",
            "  instead: await asyncio.sleep(...)",
            "  (ruff's rule ASYNC251 finds this one without a run)",
            "  if it is meant: asyncapi_blocking_allow = app.py::sleep",
        ],
    )
    summary = f"FAILED test_it.py::test_sleep - app.py:{line}: GET /sleep blocked the event loop"
    assert summary[:60] in result.stdout.str()


def test_the_closing_section_names_the_site_the_request_and_the_remedy(run, sleeping, line_of):
    result = run(sleeping, "--detect-blocking=report")

    result.assert_outcomes(passed=1)
    line = line_of("time.sleep(0.002)")
    section = plain(result).partition(" event loop blocking ")[2]
    assert f"N ms  app.py:{line} in sleep  GET /sleep  waiting in time.sleep" in section
    assert "once, at most N ms (wall N ms, CPU N ms)  tests: test_it.py::test_sleep" in section
    assert "instead: await asyncio.sleep(...)" in section
    assert "The app held the event loop at 1 site, worst first:" in section


def test_computing_is_named_with_its_function_and_arguments(run):
    result = run(
        """
        async def test_compute(client):
            await client.get("/compute")
        """,
        "--detect-blocking",
    )

    result.assert_outcomes(failed=1)
    text = plain(result)
    assert "GET /compute held the event loop for N ms (limit N ms): computing" in text
    assert "in burn" in text
    assert "instead: await asyncio.to_thread(burn, 0.05), or a process pool where it is long and pure Python" in text


def test_a_quick_app_passes_and_nothing_is_said(run):
    result = run(
        """
        async def test_quick(client):
            await client.get("/quick")
        """,
        "--detect-blocking",
    )

    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*event loop block*")


def test_worst_first(run):
    result = run(
        """
        async def test_both(client):
            await client.get("/sleep")
            await client.get("/compute")
        """,
        "--detect-blocking=report",
    )

    section = result.stdout.str().partition(" event loop blocking ")[2]
    assert "at 2 sites" in section
    assert section.index("GET /compute") < section.index("GET /sleep")


def test_repeated_calls_are_counted(run):
    result = run(
        """
        async def test_thrice(client):
            for _ in range(3):
                await client.get("/sleep")
        """,
        "--detect-blocking=report",
    )

    assert "3 times, at most N ms" in plain(result)


def test_warn(run, sleeping, line_of):
    result = run(sleeping, "--detect-blocking=warn")

    result.assert_outcomes(passed=1, warnings=1)
    line = line_of("time.sleep(0.002)")
    result.stdout.fnmatch_lines(
        ["*BlockingWarning: GET /sleep held the event loop for *: waiting in time.sleep at app.py:" + str(line)]
    )


def test_warnings_can_be_errors(run, sleeping):
    run(sleeping, "--detect-blocking=warn", "-W", "error").assert_outcomes(failed=1)


def test_the_test_still_fails_for_its_own_reason_first(run):
    result = run(
        """
        async def test_wrong(client):
            await client.get("/sleep")
            assert 1 == 2
        """,
        "--detect-blocking",
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*assert 1 == 2", "*- event loop blocked -*", "GET /sleep held the event loop for*"])


def test_nothing_is_raised_into_the_app(run):
    """An app that swallows every exception is found all the same."""
    run('async def test_it(client):\n    await client.get("/swallow")', "--detect-blocking").assert_outcomes(failed=1)


def test_a_task_of_the_request_is_the_apps(run):
    result = run(
        """
        async def test_spawn(client):
            await client.get("/spawn")
        """,
        "--detect-blocking",
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["GET /spawn (a task that it started) held the event loop for*"])


OWN = """
import time
import pytest

@pytest.fixture
async def slow_fixture():
    time.sleep(0.002)

async def test_body(client):
    time.sleep(0.002)

async def test_fixture(slow_fixture, client):
    pass
"""


def test_the_tests_own_code_is_reported_and_does_not_fail(run):
    result = run(OWN, "--detect-blocking")

    result.assert_outcomes(passed=2)
    section = result.stdout.str().partition(" event loop blocking ")[2]
    assert "Outside of requests (no failures; asyncapi_blocking_scope = all makes them so):" in section
    assert "in test_body  the test's own code  waiting in time.sleep" in section
    assert "in slow_fixture  a fixture  waiting in time.sleep" in section


def test_scope_all_fails_for_the_tests_own_code(run):
    result = run(OWN, "--detect-blocking", ini="asyncapi_blocking_scope = all")

    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        ["the test's own code held the event loop for *", "a fixture held the event loop for *"]
    )


def test_an_expected_failure_is_one(run):
    run(
        """
        import pytest

        @pytest.mark.xfail
        async def test_known(client):
            await client.get("/sleep")
            assert False
        """,
        "--detect-blocking",
    ).assert_outcomes(xfailed=1)


def test_junit(run, sleeping, pytester):
    run(sleeping, "--detect-blocking", "--junitxml=junit.xml")

    case = ElementTree.parse(pytester.path / "junit.xml").getroot().find(".//testcase")
    assert case is not None
    (failure,) = case.findall("failure")
    assert "GET /sleep blocked the event loop for" in failure.attrib["message"]
    (found,) = [each.attrib["value"] for each in case.iter("property") if each.attrib["name"] == "blocking"]
    assert re.fullmatch(r"GET /sleep held the event loop for .* ms: waiting in time.sleep at app.py:\d+", found)


def test_annotations_of_github(run, sleeping, monkeypatch, line_of):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")

    result = run(sleeping, "--detect-blocking")

    line = line_of("time.sleep(0.002)")
    result.stdout.fnmatch_lines([f"::error file=app.py,line={line},title=Event loop blocked::GET /sleep blocked*"])


def test_an_app_in_another_thread_is_seen(run):
    """Starlette's TestClient runs the app in a loop of its own, in a thread."""
    pytest.importorskip("starlette")
    result = run(
        """
        from starlette.testclient import TestClient
        from app import app

        def test_sleep():
            TestClient(app).get("/sleep")

        def test_compute():
            TestClient(app).get("/compute")
        """,
        "--detect-blocking",
        "-W",
        "ignore",
    )

    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["GET /sleep held the event loop*", "GET /compute held the event loop*"])


def test_the_template_of_the_route_and_the_endpoint_are_told(run, pytester):
    """FastAPI's and Starlette's routers know the request by its template."""
    pytest.importorskip("fastapi")
    pytester.makepyfile(
        web="""
        import time
        from fastapi import FastAPI

        app = FastAPI()

        @app.get("/users/{number}")
        async def user(number: int):
            time.sleep(0.002)
            return number
        """
    )
    result = run(
        """
        async def test_user(client):
            assert (await client.get("/users/7")).json() == 7
            assert (await client.get("/users/8")).json() == 8
        """,
        "--detect-blocking=report",
        "-o",
        "asyncapi_app=web:app",
    )

    result.stdout.fnmatch_lines(["*web.py:8 in user  GET /users/{number}  waiting in time.sleep", "*2 times, at most*"])


def test_the_markers_threshold(run):
    result = run(
        """
        import pytest

        @pytest.mark.detect_blocking(threshold="60s")
        async def test_patient(client):
            await client.get("/compute")

        async def test_usual(client):
            await client.get("/compute")
        """,
        "--detect-blocking",
    )

    result.assert_outcomes(passed=1, failed=1)


def test_the_threshold_of_the_command_line(run):
    test = 'async def test_it(client):\n    await client.get("/compute")'

    run(test, "--detect-blocking", "--blocking-threshold=60s").assert_outcomes(passed=1)


def test_off_nothing_is_patched_nor_imported(run):
    """No patch, no thread, no module of the detector."""
    result = run(
        """
        import asyncio, builtins, gc, socket, sys, threading, time

        async def test_off(client):
            await client.get("/sleep")
            assert asyncio.events.Handle._run.__module__ == "asyncio.events"
            assert type(time.sleep) is type(len)
            assert not hasattr(socket.socket.connect, "__wrapped__")
            assert not any("watchdog" in thread.name for thread in threading.enumerate())
            loaded = {name for name in sys.modules if name.startswith("pytest_asyncapi.blocking.")}
            assert loaded <= {"pytest_asyncapi.blocking.fixtures"}
            assert not any("asyncapi" in getattr(each, "__module__", "") for each in gc.callbacks)
        """,
        separate=True,
    )

    result.assert_outcomes(passed=1)


def test_two_workers_make_one_report(run, pytester):
    result = run(
        """
        import pytest

        @pytest.mark.parametrize("number", range(4))
        async def test_sleep(client, number):
            await client.get("/sleep")
        """,
        "--detect-blocking",
        "-n2",
        "--dist=load",
        "--blocking-report=report.json",
        separate=True,
    )

    result.assert_outcomes(failed=4)
    assert "4 times, at most" in result.stdout.str()
    assert (pytester.path / "report.json").read_text().count('"call": "time.sleep"') == 4
