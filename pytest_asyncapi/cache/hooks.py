"""What the cache room adds to a test's outcome: the failure to make a server, and the commands of a failing test."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

from pytest_asyncapi.cache.fixtures import SANDBOX
from pytest_asyncapi.settings import settings_of

if TYPE_CHECKING:
    from pytest_asyncapi.cache.sandbox import Sandbox
    from pytest_asyncapi.timeline import Event

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
            from pytest_asyncapi.cache.timeline import shown

            left_out = [f"... {len(commands) - SHOWN} before these"] if len(commands) > SHOWN else []
            report.sections.append(
                (
                    f"Redis commands ({sandbox.control.engine.name})",
                    "\n".join([*_other_database(item, sandbox), *left_out, *map(shown, commands[-SHOWN:])]),
                )
            )
    if report.when == "teardown" and sandbox is not None:
        del item.stash[SANDBOX]  # pytest keeps the items, with all that hangs on them, until the end of the run
    return report


def _other_database(item: pytest.Item, sandbox: Sandbox) -> list[str]:
    """What to set, when the app's clients have chosen another database of the server than `redis_cache` looks into."""
    chosen = sorted(number.decode() for number in sandbox.control.selected)
    own = str(settings_of(item).redis_db)
    if (
        not chosen
        or own in chosen
        or not {"redis_cache", "asyncapi_redis_cache"} & set(getattr(item, "fixturenames", ()))
    ):
        return []
    return [
        f"The app's clients use database {' and '.join(chosen)}, redis_cache uses {own}: "
        f"set asyncapi_redis_db = {chosen[0]}, or @pytest.mark.redis_cache(db={chosen[0]})"
    ]


@pytest.hookimpl(optionalhook=True)
def pytest_asyncapi_timeline(item: pytest.Item) -> list[Event]:
    """The Redis commands of a test, for the page of the run."""
    sandbox = item.stash.get(SANDBOX, None)
    if sandbox is None or not sandbox.used:
        return []
    from pytest_asyncapi.cache.timeline import events

    return events(sandbox.control)
