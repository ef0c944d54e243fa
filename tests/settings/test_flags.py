"""The flags that take no value have common names: another plugin, or a conftest file, may have them too."""

from collections.abc import Callable

import pytest

Run = Callable[..., pytest.RunResult]

# As pytest-django and pytest-recording declare them.
NEIGHBOUR = """
def pytest_addoption(parser):
    group = parser.getgroup("neighbour")
    for flag in ("reuse-db", "create-db", "block-network"):
        group.addoption(f"--{flag}", action="store_true", default=False, help=f"The neighbour's {flag}.")


def pytest_report_header(config):
    return f"neighbour: {config.getoption('reuse_db')}"
"""

CONFTEST = """
def pytest_addoption(parser):
    parser.addoption("--live", choices=["staging", "production"], help="Where the tests of the user run.")


def pytest_report_header(config):
    return f"user: {config.getoption('live')}"
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a test beside both; the lines of the header."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    pytester.makepyfile(neighbour=NEIGHBOUR, test_it="def test_it(): pass")
    pytester.makeconftest(CONFTEST)
    pytester.syspathinsert()

    def run(*arguments: str) -> pytest.RunResult:
        quiet = ("-p", "no:asyncio", "-p", "no:randomly", "-p", "no:xdist", "-p", "no:cacheprovider")
        return pytester.runpytest_inprocess("-p", "neighbour", *quiet, *arguments)

    return run


def header(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if line.startswith(("asyncapi:", "neighbour:", "user:"))]


def test_a_project_that_uses_nothing_of_ours_keeps_its_flags(run: Run) -> None:
    result = run("--reuse-db", "--create-db", "--block-network", "--live=staging")

    result.assert_outcomes(passed=1)
    assert sorted(header(result)) == ["neighbour: True", "user: staging"]


def test_a_flag_that_means_the_same_counts_for_us_too(run: Run) -> None:
    result = run("-o", "asyncapi_names=true", "--reuse-db", "--block-network")

    result.assert_outcomes(passed=1)
    assert sorted(header(result)) == [
        "asyncapi: names=True (-o), reuse_db=True (command line), block_network=True (command line)",
        "neighbour: True",
        "user: None",
    ]


def test_another_flag_is_theirs_alone_and_ours_is_written_as_its_key(run: Run) -> None:
    result = run("-o", "asyncapi_live=true", "--live=staging")

    result.assert_outcomes(passed=1)
    assert sorted(header(result)) == ["asyncapi: live=True (-o)", "neighbour: False", "user: staging"]


def test_the_help_shows_the_flags_that_are_ours(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess("--help", "-p", "no:asyncio", "-p", "no:randomly")

    result.stdout.fnmatch_lines(
        ["async APIs (pytest-asyncapi):", "  --live *", "  --reuse-db *", "  --create-db *", "  --block-network *"]
    )
