"""``--block-network``: the guard around each test, and the failure in its call phase when something wanted out."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

from pytest_asyncapi.network.fixtures import GUARD, allowed
from pytest_asyncapi.settings import settings_of

if TYPE_CHECKING:
    from pytest_asyncapi.network.guard import Blocked

JUDGED = pytest.StashKey[int]()
"""How many refusals the call phase has judged."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Set-up and tear-down of fixtures of any scope are guarded too."""
    if not settings_of(item.config).block_network:
        return (yield)
    from pytest_asyncapi.network.guard import Guard

    with Guard(allowed(settings_of(item))) as guard:
        item.stash[GUARD] = guard
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """A refusal fails the test also when the app has swallowed it."""
    try:
        result = yield
    finally:
        guard = item.stash.get(GUARD, None)
        item.stash[JUDGED] = len(guard.blocked) if guard is not None else 0
    if guard is not None:
        _fail(guard.blocked)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """What an app wants while it shuts down is too late for the call phase, and fails all the same."""
    result = yield
    guard, judged = item.stash.get(GUARD, None), item.stash.get(JUDGED, None)
    if guard is not None and judged is not None:
        _fail(guard.blocked[judged:])
    return result


def _fail(blocked: list[Blocked]) -> None:
    if blocked:
        pytest.fail("\n".join(dict.fromkeys(each.message for each in blocked)), pytrace=False)
