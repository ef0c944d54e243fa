"""The fixture by which other rooms have the guard up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from pytest_asyncapi.settings import settings_of

if TYPE_CHECKING:
    from pytest_asyncapi.network.guard import Guard

GUARD = pytest.StashKey["Guard"]()


@pytest.fixture
def _asyncapi_guard(request: pytest.FixtureRequest) -> Iterator[Guard]:
    """The guard of this test: the one that --block-network has put up already, or one for as long as the fixture
    lives."""
    guard = request.node.stash.get(GUARD, None)
    if guard is not None:
        yield guard
        return
    from pytest_asyncapi.network.guard import Guard

    with Guard(settings_of(request.node).allow_hosts) as guard:
        request.node.stash[GUARD] = guard
        yield guard
