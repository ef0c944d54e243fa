"""``--block-network``: the guard around each test, and the failure in its call phase when something wanted out."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from pytest_asyncapi.network.fixtures import GUARD, allowed
from pytest_asyncapi.settings import settings_of


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
    result = yield
    guard = item.stash.get(GUARD, None)
    if guard is not None and guard.blocked:
        pytest.fail("\n".join(dict.fromkeys(each.message for each in guard.blocked)), pytrace=False)
    return result
