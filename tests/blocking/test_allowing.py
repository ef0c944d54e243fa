"""Allow rules, the pragma and the baseline: which blocks are meant."""

import json
from typing import Any

import pytest

from pytest_asyncapi.blocking.allow import FORMS, parse
from pytest_asyncapi.blocking.model import Block, Frame
from pytest_asyncapi.errors import ConfigurationError


def block(**changes: Any) -> Block:
    site = Frame("/project/shop/reports.py", 41, "Report.load")
    values: dict[str, Any] = {
        "kind": "waiting",
        "site": site,
        "call": "time.sleep",
        "named": True,
        "remedy": "",
        "wall_ms": 1.0,
        "cpu_ms": 0.0,
        "charged_ms": 1.0,
        "limit_ms": 0.0,
        "region": "request",
        "request": "GET /reports/{id}",
        "stack": (Frame("/project/shop/api.py", 7, "get_report"), site),
    }
    return Block(**values | changes)


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("time.sleep", True),
        ("time.*", True),
        ("shop/reports.py", True),
        ("shop/*.py", True),
        ("shop/reports.py:41", True),
        ("shop/reports.py:40", False),
        ("shop/reports.py::Report.load", True),
        ("shop/reports.py::Report.*", True),
        ("shop/reports.py::other", False),
        ("shop/api.py::get_report", True),  # any frame of the way there
        ("GET /reports/*", True),
        ("POST /reports/*", False),
        ("jinja2.*", False),
        ("*", True),
    ],
)
def test_a_rule_matches_by_call_file_function_line_or_request(pattern, matches):
    assert parse(pattern, "here").matches(block(), "/project") is matches


def test_a_rule_matches_a_function_by_its_dotted_name():
    site = Frame(json.__file__, 200, "dumps")

    assert parse("json.dumps", "here").matches(block(site=site, call="", stack=()), "/")
    assert not parse("json.loads", "here").matches(block(site=site, call="", stack=()), "/")


@pytest.mark.parametrize("pattern", ["a b", "a..b", "shop/reports.py:x", "::f", "get /x", ""])
def test_what_is_no_pattern_is_an_error_that_lists_the_forms(pattern):
    with pytest.raises(ConfigurationError) as caught:
        parse(pattern, "asyncapi_blocking_allow")

    assert str(caught.value) == f"asyncapi_blocking_allow: {pattern!r} is no pattern of blocks. Write one of\n{FORMS}"


def test_the_fingerprint_survives_moved_lines_and_tells_functions_apart():
    moved = block(site=Frame("/project/shop/reports.py", 99, "Report.load"))
    other = block(site=Frame("/project/shop/reports.py", 41, "Report.save"))
    elsewhere = block(site=Frame("/elsewhere/shop/reports.py", 41, "Report.load"))

    assert block().fingerprint("/project") == moved.fingerprint("/project")
    assert block().fingerprint("/project") != other.fingerprint("/project")
    assert block().fingerprint("/project") == elsewhere.fingerprint("/elsewhere")


def test_the_fingerprint_of_work_does_not_hang_on_the_sample():
    """One run sees a function in one of its calls, the next in another."""
    one = block(kind="computing", named=False, call="json.dumps")
    other = block(kind="computing", named=False, call="sorted")

    assert one.fingerprint("/project") == other.fingerprint("/project") != block().fingerprint("/project")


def test_an_ini_rule_allows_and_an_unused_one_is_named(run, sleeping):
    rules = "asyncapi_blocking_allow =\n    app.sleep  # a demonstration\n    jinja2.*\n"

    result = run(sleeping, "--detect-blocking", ini=rules)

    result.assert_outcomes(passed=1)
    lines = result.stdout.lines
    assert "1 block allowed, by app.sleep" in lines
    at = lines.index("Allow rules that nothing used:")
    assert lines[at + 1] == "  asyncapi_blocking_allow: jinja2.*"
    assert "app.sleep" not in lines[at + 2]


def test_a_chosen_part_of_the_run_does_not_name_unused_rules(run, sleeping):
    result = run(sleeping, "--detect-blocking", "-k", "sleep", ini="asyncapi_blocking_allow = jinja2.*, app.sleep\n")

    result.stdout.no_fnmatch_line("Allow rules that nothing used:")


def test_the_marker_allows_and_an_unused_one_is_named(run):
    result = run(
        """
        import pytest

        @pytest.mark.allow_blocking("app.py::sleep", reason="measured, and short")
        async def test_allowed(client):
            await client.get("/sleep")

        @pytest.mark.allow_blocking("app.*", reason="was so once")
        async def test_mended(client):
            await client.get("/quick")

        async def test_other(client):
            await client.get("/sleep")
        """,
        "--detect-blocking",
    )

    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        ["Allow rules that nothing used:", "  test_it.py::test_mended: allow_blocking('app.[*]')"]
    )


def test_the_marker_without_patterns_allows_all(run):
    run(
        """
        import pytest

        @pytest.mark.allow_blocking(reason="a legacy endpoint")
        async def test_allowed(client):
            await client.get("/sleep")
            await client.get("/compute")
        """,
        "--detect-blocking",
    ).assert_outcomes(passed=1)


def test_the_marker_wants_a_reason(run):
    result = run(
        """
        import pytest

        @pytest.mark.allow_blocking("app.*")
        async def test_it(client):
            pass
        """,
        "--detect-blocking",
    )

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "@pytest.mark.allow_blocking missing 1 required keyword-only argument: 'reason'",
            "Write it as @pytest.mark.allow_blocking([*]patterns, reason=str)",
        ]
    )


def test_the_pragma_on_the_line(run, sleeping, pytester):
    app = pytester.path / "app.py"
    app.write_text(
        app.read_text().replace("    time.sleep(0.002)\n", "    time.sleep(0.002)  # blocking: ok - a demo\n", 1)
    )

    result = run(sleeping, "--detect-blocking")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["1 block allowed, by # blocking: ok a demo"])


def test_the_baseline_passes_what_is_known_fails_what_is_new_and_names_what_is_gone(run, sleeping, pytester):
    baseline = "--blocking-baseline=known.json"

    written = run(sleeping, "--detect-blocking", baseline, "--blocking-update-baseline")
    known = run(sleeping, "--detect-blocking", baseline)
    (pytester.path / "test_it.py").unlink()
    new = run("async def test_compute(client):\n    await client.get('/compute')", "--detect-blocking", baseline)

    written.assert_outcomes(passed=1)
    written.stdout.fnmatch_lines(["*known.json: 1 known site written"])
    known.assert_outcomes(passed=1)
    known.stdout.fnmatch_lines(["1 site known from the baseline"])
    new.assert_outcomes(failed=1)
    new.stdout.fnmatch_lines(["Gone from the code, but still in known.json:", "  app.py in sleep: time.sleep"])


def test_the_baseline_holds_after_lines_moved_and_keeps_what_was_written_by_hand(run, sleeping, pytester):
    arguments = ("--detect-blocking", "--blocking-baseline=known.json")
    run(sleeping, *arguments, "--blocking-update-baseline")
    file = pytester.path / "known.json"
    data = json.loads(file.read_text())
    assert data == {
        "version": 1,
        "blocks": [
            {
                "fingerprint": data["blocks"][0]["fingerprint"],
                "file": "app.py",
                "function": "sleep",
                "call": "time.sleep",
                "kind": "waiting",
            }
        ],
    }
    data["blocks"][0]["reason"] = "issue 12"
    file.write_text(json.dumps(data))
    app = pytester.path / "app.py"
    app.write_text("# a new line\n" + app.read_text())

    moved = run("", *arguments)
    run("", *arguments, "--blocking-update-baseline")

    moved.assert_outcomes(passed=1)
    assert json.loads(file.read_text())["blocks"][0]["reason"] == "issue 12"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--blocking-baseline=none.json"], "*there is no baseline. Write one with*--blocking-update-baseline"),
        (
            ["--blocking-baseline=old.json"],
            "*a baseline of version 99; this release reads version 1. Write it anew with*",
        ),
        (["--blocking-baseline=broken.json"], "*broken.json: no baseline of blocks: *"),
        (
            ["--blocking-update-baseline"],
            "*--blocking-update-baseline: where to? Name the file: --blocking-baseline=FILE*",
        ),
        (["--blocking-report=x.txt"], "*the ending of the file tells its format: expected one of .json, .sarif, .html"),
        (["--blocking-report=no/x.json"], "*--blocking-report=no/x.json: cannot be written: *is no directory"),
        (["--blocking-threshold=soon"], "*soon*50ms*"),
        (
            ["-o", "asyncapi_blocking_allow=a b c"],
            "*asyncapi_blocking_allow: 'a b c' is no pattern of blocks. Write one of",
        ),
        (["-o", "asyncapi_blocking_scope=most"], "*most*app*all*"),
    ],
)
def test_wrong_input_is_told_before_the_first_test(run, sleeping, pytester, arguments, message):
    (pytester.path / "old.json").write_text(json.dumps({"version": 99, "blocks": []}))
    (pytester.path / "broken.json").write_text("{")

    result = run(sleeping, "--detect-blocking", *arguments)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])
    result.stdout.no_fnmatch_line("*test_it.py*")


def test_a_wrong_pattern_of_a_marker_fails_that_test(run):
    result = run(
        """
        import pytest

        @pytest.mark.allow_blocking("a b", reason="it")
        async def test_it(client):
            pass
        """,
        "--detect-blocking",
    )

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*test_it.py::test_it: allow_blocking: 'a b' is no pattern of blocks. Write one of"])


def test_a_wrong_mode(run, sleeping):
    result = run(sleeping, "--detect-blocking=loud")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*loud*off*fail*warn*report*"])
