"""`--asyncapi-report`: what of a run comes into its page."""

import inspect

import pytest
from starlette.routing import Router

from pytest_asyncapi.report.collector import SECTIONS, Collector
from tests.report.conftest import data_of

SECRETS = ("upstream", "sql", "redis", "query", "header", "raised", "url", "body", "bearer")

TELLS_THE_ROUTE = 'scope["route"]' in inspect.getsource(Router)  # since Starlette 1.7


@pytest.fixture
def data(shop, pytester):
    result = shop("--detect-blocking=report")
    result.assert_outcomes(passed=3, failed=1, errors=1, skipped=1, xfailed=1)
    result.stdout.fnmatch_lines(["*page of the run*", f"{pytester.path / 'run.html'}: written"])
    return data_of(pytester.path / "run.html")


def test_a_run(data, pytester):
    """One run, for it is what costs the time here."""
    tests = data["by_name"]

    # failing tests first
    assert [test["o"] for test in data["tests"]] == [
        "failed",
        "error",
        "passed",
        "passed",
        "passed",
        "xfailed",
        "skipped",
    ]
    assert tests["test_skipped"]["m"] == "no printer here"
    assert tests["test_known"]["m"] == "bug 12"
    assert "RuntimeError: no printer" in tests["test_error"]["m"]
    assert "m" not in tests["test_plain"]
    assert tests["test_plain"]["events"] == []

    # the events of every room, dated inside of the test
    order = tests["test_order"]
    assert [name for name, _, _ in order["p"]] == ["setup", "call", "teardown"]
    (_, _, _), (_, begin, took), (_, end, _) = order["p"]
    found = {each["kind"]: each for each in order["events"]}
    assert [each["kind"] for each in order["events"]] == ["request", "sql", "redis", "upstream"]
    assert order["c"] == [1, 1, 1, 1, 0]
    assert all(begin <= each["at"] <= begin + took <= end for each in found.values())
    assert found["request"]["label"] == "POST /orders/7?token=***"
    route = "/orders/{id}" if TELLS_THE_ROUTE else "/orders/7"
    assert found["request"]["outcome"] == "200"
    assert found["request"]["detail"] == (f"route {route}" if TELLS_THE_ROUTE else "")
    assert found["request"]["took"] > found["sql"]["took"] > 0
    assert found["sql"]["label"] == "SELECT * FROM (SELECT 1 AS password) WHERE password = '***' OR 1 = ?"
    assert found["sql"]["detail"].splitlines()[1] == f"in POST {route}"
    assert found["redis"]["label"] == 'SET order:7 {"token": "***"}'
    assert found["redis"]["took"] is None
    assert found["upstream"]["label"] == "GET https://rates.example.com/latest?api_key=***"
    assert found["upstream"]["outcome"] == "200 OK"
    assert not any(each["bad"] for each in order["events"])

    # a block, between the others
    request, block = tests["test_sleep"]["events"]
    assert block["kind"] == "block"
    assert block["label"].startswith("waiting in time.sleep at app.py:")
    assert "in GET /sleep" in block["detail"]
    assert "instead: await asyncio.sleep(...)" in block["detail"]
    assert request["at"] - 1 <= block["at"] <= request["at"] + request["took"] + 1

    # a failing test shows what its report shows
    failed = tests["test_fail"]
    assert "KeyError" in failed["m"]
    assert {title for title, _ in failed["x"]} == {
        "requests of the client, as curl, and their responses", "database", "Redis commands (memory)", "upstream calls",
    }  # fmt: skip
    assert [each["bad"] for each in failed["events"] if each["kind"] == "request"] == [False, True]

    # nothing secret is in the file, whichever way it went
    written = (pytester.path / "run.html").read_text()
    assert [secret for secret in SECRETS if f"{secret}-secret" in written] == []


def test_what_no_harness_saw(shop, pytester):
    shop(tests="def test_plain(): pass")

    (test,) = data_of(pytester.path / "run.html")["tests"]

    assert (test["n"], test["o"], test["events"]) == ("test_shop.py::test_plain", "passed", [])
    assert "not looked for: --detect-blocking" in (pytester.path / "run.html").read_text()


def test_a_module_that_cannot_be_imported(shop, pytester):
    shop(tests="import nowhere")

    (test,) = data_of(pytester.path / "run.html")["tests"]

    assert (test["n"], test["o"]) == ("test_shop.py", "error")
    assert "No module named 'nowhere'" in test["m"]


def test_a_text_that_no_encoding_has(shop, pytester):
    """Half of a surrogate pair, as a file name that is no UTF-8 is read with."""
    result = shop(tests="def test_it(): raise ValueError('caf\\udce9 au lait')")

    result.assert_outcomes(failed=1)
    (test,) = data_of(pytester.path / "run.html")["tests"]
    assert "caf\udce9 au lait" in test["m"]


def test_no_tests(shop, pytester):
    shop(tests="")

    assert data_of(pytester.path / "run.html")["tests"] == []
    assert "No test ran" in (pytester.path / "run.html").read_text()


@pytest.mark.slow
def test_one_page_from_all_workers(shop, pytester):
    tests = """
        import os, pytest

        @pytest.mark.parametrize("number", range(6))
        async def test_it(client, number):
            assert os.environ["PYTEST_XDIST_WORKER"]
            await client.get("/sleep")
    """
    pytester.makepyfile(test_shop=tests)

    result = pytester.runpytest_subprocess(
        "-p", "no:randomly", "--asyncapi-report=run.html", "-n2", "--detect-blocking=report"
    )

    result.assert_outcomes(passed=6)
    found = data_of(pytester.path / "run.html")["tests"]
    assert len(found) == 6
    assert {test["w"] for test in found} <= {"gw0", "gw1"}
    assert [sorted(each["kind"] for each in test["events"]) for test in found] == [["block", "request"]] * 6


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("run.txt", "--asyncapi-report=run.txt: the ending of the file tells its format: expected .html"),
        ("no/run.html", "--asyncapi-report=no/run.html: cannot be written: {path}/no is no directory"),
    ],
)
def test_a_file_that_cannot_be(shop, pytester, name, message):
    result = shop(f"--asyncapi-report={name}")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message.format(path=pytester.path)}"])


def test_a_plugin_of_the_user_adds_to_the_timeline(shop, pytester):
    pytester.makeconftest(
        """
        import pytest
        from pytest_asyncapi.timeline import Event, now

        @pytest.hookimpl(optionalhook=True)
        def pytest_asyncapi_timeline(item):
            return [Event("upstream", now(), 0.5, "PUBLISH orders", "delivered")]
        """
    )

    shop(tests="def test_plain(): pass")

    (event,) = data_of(pytester.path / "run.html")["by_name"]["test_plain"]["events"]
    assert (event["label"], event["outcome"], event["took"]) == ("PUBLISH orders", "delivered", 500)


@pytest.mark.slow
def test_absent_it_costs_nothing(shop, pytester):
    tests = """
        import sys

        async def test_plain(client, redis_cache):
            await redis_cache.get("a")
            ours = ("pytest_asyncapi.report", "pytest_asyncapi.page")
            assert [name for name in sys.modules if name.startswith(ours)] == []
            assert redis_cache.control.dates is None
    """
    pytester.makepyfile(test_shop=tests)

    pytester.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=1)


# ---- the collector alone


def test_a_test_that_is_run_again():
    collector = Collector("/project")
    for outcome in ("failed", "passed"):
        collector.add("test_it", "setup", "passed", 0.1)
        collector.add("test_it", "call", outcome, 0.1, message="no" if outcome == "failed" else "")
        collector.add("test_it", "teardown", "passed", 0.1)

    assert [(test.outcome, test.message, round(test.seconds, 3)) for test in collector.tests] == [
        ("rerun", "no", 0.3),
        ("passed", "", 0.3),
    ]


def test_a_failing_tear_down():
    collector = Collector("/project")
    collector.add("test_it", "setup", "passed", 0.1)
    collector.add("test_it", "call", "passed", 0.1)
    collector.add("test_it", "teardown", "error", 0.1, message="left open", sections=[("Captured log", "token=abc")])

    (test,) = collector.tests
    assert (test.outcome, test.message, test.sections) == ("error", "left open", [("Captured log", "token=***")])


def test_a_failure_with_very_many_sections():
    """Each is shown once, and no more of them than somebody would read."""
    collector = Collector("/project")
    sections = [(f"Captured {number}", "text") for number in range(SECTIONS + 3)]
    collector.add("test_it", "setup", "passed", 0.1)
    collector.add("test_it", "call", "failed", 0.1, message="no", sections=sections[:2])
    collector.add("test_it", "teardown", "passed", 0.1, sections=sections)

    (test,) = collector.tests
    assert test.sections == sections[:SECTIONS]


def test_a_worker_that_died():
    collector = Collector("/project")
    collector.add("test_it", "???", "failed", 0.0, worker="gw0", message="worker 'gw0' crashed while running 'test_it'")

    (test,) = collector.tests
    assert (test.outcome, test.phases) == ("failed", [])
