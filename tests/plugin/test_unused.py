"""Installed and unused, the plugin changes nothing and loads next to nothing (benchmarks/startup.py has the time)."""

import json
import re

import pytest

CONFTEST = """
import json, sys

def pytest_sessionfinish():
    json.dump(sorted(sys.modules), open("modules.json", "w"))
"""


@pytest.fixture
def loaded(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The modules at the end of a run that has the plugin and does not use it, and not without it."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("DATABASE_URL", "postgresql://somewhere/")
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile("def test_it(): pass")
    found = []
    for plugin in ((), ("-p", "asyncapi")):
        result = pytester.runpytest_subprocess(*plugin, "-p", "no:cacheprovider", "-W", "error", "--strict-markers")
        result.assert_outcomes(passed=1)
        found.append(set(json.loads((pytester.path / "modules.json").read_text())))
    without, with_plugin = found
    return sorted(with_plugin - without)


def test_only_the_light_modules_are_loaded(loaded: list[str]) -> None:
    assert loaded == [
        "pytest_asyncapi",
        "pytest_asyncapi.flags",
        "pytest_asyncapi.lazy",
        "pytest_asyncapi.loops",
        "pytest_asyncapi.markers",
        "pytest_asyncapi.plugin",
        "pytest_asyncapi.runner",
        "pytest_asyncapi.settings",
        "pytest_asyncapi.values",
    ]


def test_python_loads_them_and_not_the_rewriter_of_assertions(pytester: pytest.Pytester) -> None:
    """Also the modules of the rooms, in a run that uses them: pytest takes twice as long for each."""
    pytester.makepyfile(
        """
        import sys

        def test_it(asyncapi_upstream):
            for name in ("settings", "markers", "runner", "upstream.fixtures", "upstream.router"):
                loader = sys.modules[f"pytest_asyncapi.{name}"].__spec__.loader
                assert type(loader).__name__ == "SourceFileLoader", name
        """
    )
    pytester.runpytest_subprocess("-p", "no:randomly", "-p", "no:cacheprovider").assert_outcomes(passed=1)


@pytest.mark.parametrize("arguments", [("-q",), (), ("-v",), ("--collect-only",), ("--setup-plan",)])
def test_the_output_is_the_same(pytester: pytest.Pytester, arguments: tuple[str, ...]) -> None:
    pytester.makepyfile(
        """
        import pytest

        class TestIt:
            @pytest.fixture
            def number(self): return 7

            def test_one(self, number): assert number == 7
            def test_two(self, number, missing): pass
            def test_three(self, number): assert number == 8
        """
    )
    quiet = ("-p", "no:asyncio", "-p", "no:randomly", "-p", "no:xdist", "-p", "no:cacheprovider")

    def run(*more: str) -> list[str]:
        """What pytest prints, without the list of plugins and the times."""
        lines = pytester.runpytest_inprocess(*quiet, *arguments, *more).outlines
        lines = [re.sub(r"0x\w+|\d+\.\d+s", "...", line) for line in lines]
        return [line for line in lines if not line.startswith("plugins: ")]

    assert run() == run("-p", "no:asyncapi")
