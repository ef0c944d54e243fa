"""The markers: what they change, which of several wins, and what a wrong one is answered with."""

from collections.abc import Callable
from typing import Any

import pytest

from pytest_asyncapi import markers
from pytest_asyncapi.settings import settings_of

SettingsOf = Callable[[str], dict[str, Any]]


@pytest.fixture
def settings_in(pytester: pytest.Pytester) -> SettingsOf:
    """The settings of each test of a module, by name; the run itself says `isolation = commit`."""
    (pytester.path / "pytest.ini").write_text(
        "[pytest]\nasyncapi_isolation = commit\nasyncapi_allow_hosts = ini.example\n"
    )

    def read(module: str) -> dict[str, Any]:
        items, _ = pytester.inline_genitems(pytester.makepyfile(module), "-p", "no:asyncio", "-p", "no:randomly")
        return {item.name: settings_of(item) for item in items}

    return read


def test_a_marker_wins_over_the_run(settings_in: SettingsOf) -> None:
    found = settings_in(
        """
        import pytest

        @pytest.mark.db(isolation="database", max_queries=3)
        @pytest.mark.client(read_timeout="5s", raise_app_exceptions=False, strict=True, background="defer")
        @pytest.mark.redis_cache(engine="server")
        @pytest.mark.upstream(strict=False, assert_all_called=False)
        @pytest.mark.detect_blocking(threshold=0.25)
        def test_marked(): pass

        def test_plain(): pass
        """
    )

    marked, plain = found["test_marked"], found["test_plain"]
    assert (marked.isolation, marked.max_queries) == ("database", 3)
    assert (marked.read_timeout, marked.raise_app_exceptions, marked.strict_protocol) == (5.0, False, True)
    assert (marked.background, marked.redis_engine) == ("defer", "server")
    assert (marked.upstream_strict, marked.upstream_assert_all_called) == (False, False)
    assert marked.blocking_threshold == 0.25
    assert plain.isolation == "commit"


def test_the_nearest_marker_wins_argument_by_argument(settings_in: SettingsOf) -> None:
    found = settings_in(
        """
        import pytest

        pytestmark = pytest.mark.db(isolation="rollback", max_queries=10)

        @pytest.mark.db(isolation="database")
        class TestIt:
            @pytest.mark.db(max_queries=2)
            def test_near(self): pass

            def test_middle(self): pass

        def test_far(): pass
        """
    )

    assert {name: (each.isolation, each.max_queries) for name, each in found.items()} == {
        "test_near": ("database", 2),
        "test_middle": ("database", 10),
        "test_far": ("rollback", 10),
    }


def test_lists_add_up(settings_in: SettingsOf) -> None:
    found = settings_in(
        """
        import pytest

        @pytest.mark.upstream(allow=["class.example"])
        class TestIt:
            @pytest.mark.upstream(allow="test.example")
            @pytest.mark.allow_blocking("shop.legacy", "shop.pdf", reason="known")
            @pytest.mark.allow_blocking(reason="all of it")
            def test_it(self): pass
        """
    )

    assert found["test_it"].allow_hosts == ("ini.example", "test.example", "class.example")
    assert found["test_it"].blocking_allow == ("*", "shop.legacy", "shop.pdf")


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        (
            'db(level="commit")',
            "@pytest.mark.db got an unexpected keyword argument 'level'\n"
            'Write it as @pytest.mark.db(isolation="rollback"|"commit"|"database", max_queries=int), every argument by'
            " name, and only those that you need",
        ),
        (
            'db("commit")',
            "@pytest.mark.db takes 0 positional arguments but 1 was given\n"
            'Write it as @pytest.mark.db(isolation="rollback"|"commit"|"database", max_queries=int), every argument by'
            " name, and only those that you need",
        ),
        (
            'allow_blocking("shop")',
            "@pytest.mark.allow_blocking missing 1 required keyword-only argument: 'reason'\n"
            "Write it as @pytest.mark.allow_blocking(*patterns, reason=str)",
        ),
        (
            "client(timeout=5)",
            "@pytest.mark.client got an unexpected keyword argument 'timeout'\n"
            'Write it as @pytest.mark.client(raise_app_exceptions=bool, background="wait"|"defer"|"detach",'
            ' base_url=str, lifespan="auto"|"function"|"off", read_timeout=str|float, strict=bool), every argument by'
            " name, and only those that you need",
        ),
        (
            "upstream(hosts=[])",
            "@pytest.mark.upstream got an unexpected keyword argument 'hosts'\n"
            "Write it as @pytest.mark.upstream(strict=bool, allow=str|[str, ...], assert_all_called=bool), every"
            " argument by name, and only those that you need",
        ),
        (
            "virtual_clock(speed=2)",
            "@pytest.mark.virtual_clock got an unexpected keyword argument 'speed'\n"
            'Write it as @pytest.mark.virtual_clock(mode="jump"|"frozen"|"running", wall=bool|str|datetime), every'
            " argument by name, and only those that you need",
        ),
        (
            'db(isolation="none")',
            "@pytest.mark.db: 'none' is no value for asyncapi_isolation: expected one of rollback, commit, database",
        ),
        (
            'client(background="later")',
            "@pytest.mark.client: 'later' is no value for asyncapi_background: expected one of wait, defer, detach",
        ),
        (
            'detect_blocking(threshold="fast")',
            "@pytest.mark.detect_blocking: 'fast' is no value for asyncapi_blocking_threshold: expected a duration"
            " such as 50ms, 1.5s or 2min",
        ),
        (
            "upstream(allow=7)",
            "@pytest.mark.upstream: 7 is no value for asyncapi_allow_hosts: expected texts, one a line, or a list of"
            " them",
        ),
        (
            "db(max_queries=2.5)",
            "@pytest.mark.db: 2.5 is no value for asyncapi_max_queries: expected a whole number, zero or more",
        ),
    ],
)
def test_a_wrong_marker_fails_the_test_of_a_configured_project(
    pytester: pytest.Pytester, marker: str, message: str
) -> None:
    """Also when no fixture reads it: a marker that says nothing must not look as if it said something."""
    (pytester.path / "pytest.ini").write_text("[pytest]\nasyncapi_names = true\n")
    pytester.makepyfile(f"import pytest\n@pytest.mark.{marker}\ndef test_it(): pass")

    result = pytester.runpytest_inprocess("-p", "no:asyncio", "-p", "no:randomly", "-p", "no:cacheprovider")

    result.assert_outcomes(errors=1)
    headline = next(index for index, line in enumerate(result.outlines) if "ERROR at setup" in line)
    assert "\n".join(result.outlines[headline + 1 : headline + 1 + len(message.splitlines())]) == message


def test_markers_of_a_project_that_does_not_use_the_plugin_are_its_own(pytester: pytest.Pytester) -> None:
    """`@pytest.mark.db` is a common name."""
    (pytester.path / "pytest.ini").write_text("[pytest]\nmarkers = db: tests that need a database\n")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.db("replica", alias=7)
        def test_it(): pass

        @pytest.mark.client
        def test_that(): pass
        """
    )

    result = pytester.runpytest_inprocess("--strict-markers", "-p", "no:asyncio", "-p", "no:randomly")

    result.assert_outcomes(passed=2)


def test_each_marker_is_registered_with_its_signature(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess("--markers", "-p", "no:asyncio", "-p", "no:randomly")

    result.stdout.fnmatch_lines(
        [
            "@pytest.mark.client(?, raise_app_exceptions=None, background=None, *): settings of the test's client: *",
            "@pytest.mark.db(?, isolation=None, max_queries=None): the test's database: *",
            "@pytest.mark.allow_blocking(?patterns, reason): blocks that this test accepts, *",
        ]
    )
    for marker in markers.MARKERS:
        assert any(line.startswith(f"@pytest.mark.{marker.__name__}(") for line in result.outlines)
