"""pytest's side of the detector. Registered by the plugin only when `--detect-blocking` is on."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import warnings
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_asyncapi.settings import settings_of

if TYPE_CHECKING:
    from pytest_asyncapi.blocking.model import Block
    from pytest_asyncapi.blocking.session import Session

SESSION: pytest.StashKey[Session] = pytest.StashKey()
_CARRIED = pytest.StashKey[list[Any]]()
_STDERR = pytest.StashKey[int]()
_PROPERTY = "blocking"


def pytest_configure(config: pytest.Config) -> None:
    from pytest_asyncapi.blocking.detector import DETECTOR
    from pytest_asyncapi.blocking.session import Session
    from pytest_asyncapi.errors import AsyncAPIError

    try:
        session = Session(settings_of(config), Path(config.rootpath), config.invocation_params.dir)
    except AsyncAPIError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[SESSION] = session
    session.worker = hasattr(config, "workerinput")
    with contextlib.suppress(OSError, ValueError, AttributeError):
        config.stash[_STDERR] = descriptor = os.dup(sys.__stderr__.fileno())  # type: ignore[union-attr]
        DETECTOR.on_deadlock = lambda text: _write(descriptor, text)
    DETECTOR.listen(session.recorder)


def pytest_unconfigure(config: pytest.Config) -> None:
    from pytest_asyncapi.blocking.detector import DETECTOR

    session = config.stash.get(SESSION, None)
    if session is not None:
        DETECTOR.forget(session.recorder)
    DETECTOR.on_deadlock = None
    descriptor = config.stash.get(_STDERR, None)
    if descriptor is not None:
        del config.stash[_STDERR]
        os.close(descriptor)


def _write(descriptor: int, text: str) -> None:
    with contextlib.suppress(OSError):
        os.write(descriptor, text.encode())


def pytest_report_header(config: pytest.Config) -> list[str]:
    return config.stash[SESSION].header()


# ---- a test


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    session = item.config.stash[SESSION]
    session.begin(item.nodeid)
    try:
        return (yield)
    finally:
        session.end()


def _test_rules(item: pytest.Item) -> None:
    """The test's own threshold and allow rules. A wrong marker fails the test in its set-up."""
    from pytest_asyncapi.errors import ConfigurationError

    patterns = [
        (pattern, str(mark.kwargs.get("reason", "")))
        for mark in item.iter_markers("allow_blocking")
        for pattern in (mark.args or ("*",))
    ]
    try:
        item.config.stash[SESSION].apply(settings_of(item).blocking_threshold, patterns, item.nodeid)
    except ConfigurationError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


@pytest.hookimpl(tryfirst=True)  # inside of pytest's own wrappers, whose teardown wants their set-up
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.config.stash[SESSION].phase("setup")
    _test_rules(item)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    session = item.config.stash[SESSION]
    session.phase("call")
    result = yield
    if session.mode == "warn":
        from pytest_asyncapi.blocking.text import headline
        from pytest_asyncapi.errors import BlockingWarning

        for block in session.failing():
            warnings.warn_explicit(
                BlockingWarning(headline(block, session.root)), None, block.site.file, block.site.line
            )
    return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    item.config.stash[SESSION].phase("teardown")
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    session = item.config.stash[SESSION]
    blocks = session.take()
    for block in blocks:
        item.user_properties.append((_PROPERTY, session.property(block)))
    if blocks:
        report.user_properties = list(item.user_properties)
    # Plain values, so that xdist carries them to the controller with the report.
    vars(report)["asyncapi_blocking"] = json.dumps([block.to_json() for block in blocks]) if blocks else ""
    if report.when == "teardown":
        vars(report)["asyncapi_blocking_unused"] = session.unused_marks()
    carried: list[Block] = item.stash.setdefault(_CARRIED, [])
    carried += [block for block in blocks if session.fails(block)]
    if session.mode != "fail" or not carried or report.when == "setup":
        return report
    failing = list(carried)
    carried.clear()
    text = session.failure(failing)
    if report.passed:
        _fail(report, session, failing, text)
    elif not (report.skipped and not hasattr(report, "wasxfail")):
        report.sections.append(("event loop blocked", text))
    return report


def _fail(report: pytest.TestReport, session: Session, blocks: list[Block], text: str) -> None:
    if hasattr(report, "wasxfail"):  # expected to fail, and it does
        report.outcome = "skipped"
        return
    from _pytest._code.code import ReprEntryNative, ReprExceptionInfo, ReprFileLocation, ReprTraceback

    worst = blocks[0]
    report.outcome = "failed"
    report.longrepr = ReprExceptionInfo(
        reprtraceback=ReprTraceback([ReprEntryNative([text + "\n"])], None, "native"),
        reprcrash=ReprFileLocation(worst.site.file, worst.site.line, session.summary(blocks)),
    )


# ---- debuggers


def pytest_enter_pdb() -> None:
    from pytest_asyncapi.blocking.detector import DETECTOR

    DETECTOR.pause()


def pytest_leave_pdb() -> None:
    from pytest_asyncapi.blocking.detector import DETECTOR

    DETECTOR.resume()


# ---- the run


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    from pytest_asyncapi.blocking.session import current

    session = current()
    if session is None or session.worker:
        return
    text = getattr(report, "asyncapi_blocking", "")
    if text:
        session.collect(json.loads(text))
    session.unused_markers += getattr(report, "asyncapi_blocking_unused", ())
    if report.when == "call":
        session.tests += 1


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    ours = session.config.stash[SESSION]
    if not ours.worker:
        ours.collect([block.to_json() for block in ours.take()])


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    ours = config.stash[SESSION]
    if ours.worker:
        return
    whole = not (
        config.getoption("keyword", "") or config.getoption("lf", False) or any("::" in arg for arg in config.args)
    )
    lines = ours.finish(whole_run=whole)
    if lines:
        terminalreporter.section("event loop blocking", sep="=")
        for line in lines:
            terminalreporter.line(line)
    for line in ours.annotations():
        terminalreporter.line(line)
