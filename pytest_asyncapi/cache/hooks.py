"""What the cache room adds to a test's outcome: the failure to make a server, and the commands of a failing test."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from pytest_asyncapi.cache.fixtures import SANDBOX

SHOWN = 50


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    try:
        return (yield)
    finally:
        sandbox = item.stash.get(SANDBOX, None)
        if sandbox is not None and sandbox.error is not None:  # the app's own `except` may have swallowed it
            raise sandbox.error


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    sandbox = item.stash.get(SANDBOX, None)
    if report.when == "call" and report.failed and sandbox is not None and sandbox.used:
        commands = sandbox.control.commands
        if commands:
            left_out = [f"... {len(commands) - SHOWN} before these"] if len(commands) > SHOWN else []
            report.sections.append(
                (
                    f"Redis commands ({sandbox.control.engine.name})",
                    "\n".join([*left_out, *map(str, commands[-SHOWN:])]),
                )
            )
    return report
