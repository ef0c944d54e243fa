"""What a test's upstream calls do to its outcome: a failure in the call phase, and a section of a failing test's
report."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

from pytest_asyncapi.upstream.fixtures import UPSTREAM

if TYPE_CHECKING:
    from pytest_asyncapi.timeline import Event

JUDGED = pytest.StashKey[int]()
"""How many problems the call phase has judged."""


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Requests without a route and routes without a request fail the test, not its tear-down."""
    try:
        result = yield
    finally:
        router = item.stash.get(UPSTREAM, None)
        item.stash[JUDGED] = len(router.problems) if router is not None else 0
    if router is not None and (failures := router.failures()):
        pytest.fail("\n".join(failures), pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """What an app sends while it shuts down is too late for the call phase, and fails all the same."""
    result = yield
    router, judged = item.stash.get(UPSTREAM, None), item.stash.get(JUDGED, None)
    if router is not None and judged is not None and (late := router.problems[judged:]):
        pytest.fail("\n".join(late), pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failing test shows the calls that it made, and the requests that got no answer."""
    report = yield
    router = item.stash.get(UPSTREAM, None)
    if router is not None and router.cassettes and call.when == "call":
        # an attribute of simple values, so that it comes home from the workers of pytest-xdist
        report.asyncapi_cassettes = [(str(each.path), each.recorded, each.stale) for each in router.cassettes]  # type: ignore[attr-defined]
    if router is not None and report.failed and call.when in ("call", "setup"):
        from pytest_asyncapi.upstream import explain

        if router.calls:
            report.sections.append(("upstream calls", explain.report(router.calls)))
        told = str(report.longrepr)
        # a traceback has an E before each line, so that only the first is looked for
        untold = [each for each in dict.fromkeys(router.problems) if each.partition("\n")[0] not in told]
        if untold:
            report.sections.append(("upstream: unanswered requests", "\n".join(untold)))
    if report.when == "teardown" and router is not None:
        del item.stash[UPSTREAM]  # pytest keeps the items, with all that hangs on them, until the end of the run
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_asyncapi_timeline(item: pytest.Item) -> list[Event]:
    """The upstream calls of a test, for the page of the run."""
    router = item.stash.get(UPSTREAM, None)
    if router is None:
        return []
    from pytest_asyncapi.upstream.timeline import events

    return events(router.calls)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The recorded calls that no test of the run asked for."""
    stale: dict[str, set[str]] = {}
    asked: dict[str, set[str]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for path, recorded, unused in getattr(report, "asyncapi_cassettes", ()):
                asked.setdefault(path, set()).update(set(recorded) - set(unused))
                stale.setdefault(path, set()).update(unused)
    for path in sorted(stale):
        if left := sorted(stale[path] - asked[path]):
            terminalreporter.section("stale recordings", sep="-")
            terminalreporter.line(f"{path}: no test of this run asked for")
            for each in left:
                terminalreporter.line(f"  {each}")
