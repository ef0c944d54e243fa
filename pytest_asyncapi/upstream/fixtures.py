"""The fixture ``upstream``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from pytest_asyncapi.runner import public_fixture
from pytest_asyncapi.settings import settings_of

if TYPE_CHECKING:
    from pytest_asyncapi.network.guard import Guard
    from pytest_asyncapi.upstream.router import Upstream

UPSTREAM = pytest.StashKey["Upstream"]()


@public_fixture
def upstream(request: pytest.FixtureRequest, _asyncapi_guard: Guard) -> Iterator[Upstream]:
    """The router: answers what the app sends through aiohttp, httpx and httpx2, and fails the test for what it
    cannot."""
    from pytest_asyncapi.upstream.router import Upstream

    settings = settings_of(request.node)
    router = Upstream(
        strict=settings.upstream_strict,
        assert_all_called=settings.upstream_assert_all_called,
        allow=settings.allow_hosts,
        record=settings.upstream_record,
        outside=_asyncapi_guard.allowing,
    )
    request.node.stash[UPSTREAM] = router
    with router.open():
        yield router
