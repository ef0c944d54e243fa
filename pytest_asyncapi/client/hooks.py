"""pytest's side of the client room: the report section of a failing test, and how long the app under test lives."""

from __future__ import annotations

import sys
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_asyncapi.per_test import forget_finished

if TYPE_CHECKING:
    from pytest_asyncapi.timeline import Event

APP_SCOPES = pytest.StashKey[dict[int, str]]()  # the scope of the fixture that made an app, by the app's id
RECORDER = pytest.StashKey[Any]()  # the Recorder of a test


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    __tracebackhide__ = True
    value = yield
    if fixturedef.argname == "asgi_app":
        request.config.stash.setdefault(APP_SCOPES, {})[id(value)] = fixturedef.scope
    return value


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    try:
        yield
    finally:
        if RECORDER in item.stash:
            forget_finished(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    if call.excinfo is not None and RECORDER in item.stash and not _wants_all_frames(item.config):
        from pytest_asyncapi.client.tracebacks import leave_out_frameworks

        leave_out_frameworks(item)
    report = yield
    if report.failed and call.when != "setup":
        recorder = item.stash.get(RECORDER, None)
        text = recorder.render() if recorder is not None else ""
        if text and not any(title == _TITLE for title, _ in report.sections):
            report.sections.append((_TITLE, text))
    if report.when == "teardown" and RECORDER in item.stash:
        del item.stash[RECORDER]  # pytest keeps the items, with all that hangs on them, until the end of the run
    return report


def pytest_leave_pdb() -> None:
    waiting = sys.modules.get("pytest_asyncapi.client.waiting")
    if waiting is not None:  # else no client waits
        waiting.leave_prompt()


def _wants_all_frames(config: pytest.Config) -> bool:
    return bool(config.getoption("fulltrace", False)) or config.get_verbosity() >= 2


@pytest.hookimpl(optionalhook=True)
def pytest_asyncapi_timeline(item: pytest.Item) -> list[Event]:
    """The requests of a test, for the page of the run."""
    recorder = item.stash.get(RECORDER, None)
    if recorder is None:
        return []
    from pytest_asyncapi.client.timeline import events

    return events(recorder)


_TITLE = "requests of the client, as curl, and their responses"
