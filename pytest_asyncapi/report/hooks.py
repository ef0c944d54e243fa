"""pytest's side of the page. Registered by the plugin only when `--asyncapi-report` is given."""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_asyncapi.errors import ConfigurationError
from pytest_asyncapi.page import output
from pytest_asyncapi.report.collector import Collector
from pytest_asyncapi.report.model import Track
from pytest_asyncapi.settings import settings_of
from pytest_asyncapi.timeline import now

if TYPE_CHECKING:
    from pytest_asyncapi.timeline import Event

FLAG = "--asyncapi-report"


class Timelines:
    """The hook by which the rooms hand over their events; a plugin of the user may add to them."""

    @pytest.hookspec
    def pytest_asyncapi_timeline(self, item: pytest.Item) -> list[Event]:
        """The events of a test that has ended."""
        raise NotImplementedError


class Run:
    """The page that is to be written."""

    def __init__(self, config: pytest.Config) -> None:
        run = settings_of(config)
        try:
            self.path = output(FLAG, run.report, Path(config.invocation_params.dir), (".html",))
        except ConfigurationError as error:
            raise pytest.UsageError(str(error)) from None
        self.worker = hasattr(config, "workerinput")
        self.looks_for_blocks = run.detect_blocking != "off"
        self.collector = Collector(str(config.rootpath))
        self.root = config.rootpath
        self.epoch = time.time()
        self.began = now()
        self.written = ""


RUN = pytest.StashKey[Run]()
TRACK = pytest.StashKey[Track]()


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.add_hookspecs(Timelines)
    config.stash[RUN] = Run(config)


# ---- a test, in the process that runs it


def _phase(item: pytest.Item, name: str) -> Generator[None, Any, Any]:
    track = item.stash.get(TRACK, None)
    if track is None or name == "setup":
        track = item.stash[TRACK] = Track(now(), time.time())
    begin = now()
    try:
        return (yield)
    finally:
        track.phases.append((name, begin, now()))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    return (yield from _phase(item, "setup"))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    return (yield from _phase(item, "call"))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:
    return (yield from _phase(item, "teardown"))


@pytest.hookimpl(wrapper=True, trylast=True)  # before the rooms forget what the test did
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    track = item.stash.get(TRACK, None)
    if report.when == "teardown" and track is not None:
        del item.stash[TRACK]
        events = [event for given in item.ihook.pytest_asyncapi_timeline(item=item) for event in given]
        # a text, so that xdist carries it to the controller with the report
        vars(report)["asyncapi_timeline"] = track.dump(events)
    return report


# ---- the run, in the process that writes the page


class Writer:
    """Not in the workers of xdist."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        outcome = _outcome(report)
        tells = outcome not in ("passed", "xpassed")
        self.run.collector.add(
            report.nodeid,
            str(report.when),
            outcome,
            report.duration,
            worker=getattr(report, "worker_id", ""),
            message=_message(report) if tells else "",
            sections=report.sections if tells else (),
            timeline=getattr(report, "asyncapi_timeline", ""),
            blocks=getattr(report, "asyncapi_blocking", ""),
        )

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            text = report.longreprtext
            self.run.collector.add(report.nodeid or "the collection", "collect", "error", 0.0, message=text)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        from pytest_asyncapi.report.page import page

        run = self.run
        assert run.path is not None
        try:
            text = page(
                run.collector.tests,
                title=run.root.name,
                seconds=now() - run.began,
                epoch=run.epoch,
                looks_for_blocks=run.looks_for_blocks,
            )
            # a failure may quote half of a surrogate pair, which no encoding has
            run.path.write_text(text, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            run.written = f"{run.path}: the page cannot be written: {error}"
        else:
            run.written = f"{run.path}: written"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("page of the run", sep="-")
        terminalreporter.line(self.run.written)


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    run = session.config.stash[RUN]
    if not run.worker:
        session.config.pluginmanager.register(Writer(run), "asyncapi-report-writer")


def _outcome(report: pytest.TestReport) -> str:
    if hasattr(report, "wasxfail"):
        return "xpassed" if report.passed else "xfailed"
    if report.failed and report.when in ("setup", "teardown"):
        return "error"
    return str(report.outcome)


def _message(report: pytest.TestReport) -> str:
    if getattr(report, "wasxfail", ""):
        return str(report.wasxfail)
    if isinstance(report.longrepr, tuple):  # a skip: file, line, reason
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return report.longreprtext
