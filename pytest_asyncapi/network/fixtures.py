"""The fixture by which other rooms have the guard up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from pytest_asyncapi.per_test import one_a_test
from pytest_asyncapi.settings import Settings, settings_of

if TYPE_CHECKING:
    from pytest_asyncapi.network.guard import Guard

GUARD = pytest.StashKey["Guard"]()


def allowed(settings: Settings) -> tuple[str, ...]:
    """The hosts that a test may reach: those of the project, and the database server on which the harness works."""
    from urllib.parse import urlsplit

    servers = (urlsplit(url).hostname for url in (settings.database_server, settings.database) if "://" in url)
    return (*settings.allow_hosts, *(host for host in servers if host))


@one_a_test
def _asyncapi_guard(request: pytest.FixtureRequest) -> Iterator[Guard]:
    """The guard of this test: the one that --block-network has put up already, or one for as long as the fixture
    lives."""
    guard = request.node.stash.get(GUARD, None)
    if guard is not None:
        yield guard
        return
    from pytest_asyncapi.network.guard import Guard

    with Guard(allowed(settings_of(request.node))) as guard:
        request.node.stash[GUARD] = guard
        yield guard
        del request.node.stash[GUARD]  # a plugin may run the test again, with the same stash
