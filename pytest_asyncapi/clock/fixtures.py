"""The fixture of the clock room."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_asyncapi.runner import public_fixture
from pytest_asyncapi.settings import settings_of

if TYPE_CHECKING:
    from pytest_asyncapi.clock.virtual import VirtualClock


@public_fixture
async def virtual_clock(request: pytest.FixtureRequest, _asyncapi_loop: Any) -> AsyncIterator[VirtualClock]:
    """The event loop's time jumps to the next timer when nothing is ready: sleeps and time-outs cost nothing."""
    from pytest_asyncapi.clock.virtual import VirtualClock
    from pytest_asyncapi.errors import ClockError

    settings = settings_of(request.node)
    clock = VirtualClock(settings.clock, wall=settings.clock_wall)  # type: ignore[arg-type]
    try:
        clock.start()
    except ClockError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    try:
        yield clock
    finally:
        clock.stop()
