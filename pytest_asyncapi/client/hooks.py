"""pytest's side of the client room: the report section of a failing test, and how long the app under test lives."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and call.when != "setup":
        recorder = item.stash.get(RECORDER, None)
        text = recorder.render() if recorder is not None else ""
        if text and not any(title == _TITLE for title, _ in report.sections):
            report.sections.append((_TITLE, text))
    return report


_TITLE = "requests of the client, as curl, and their responses"
