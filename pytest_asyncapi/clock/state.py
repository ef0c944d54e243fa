"""What the virtual clock of the running test makes of the wall clock; nothing is imported to know it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_asyncapi.clock.virtual import VirtualClock

active: list[VirtualClock] = []


def wall() -> float:
    """The time of day as the virtual clock has it; `time.time()` without one.

    Real time that passes between jumps is none: how long a test takes does not count.
    """
    found = active[-1].wall if active else None
    return time.time() if found is None else found


def jumped() -> float:
    """Seconds that the virtual clock has jumped over: how far it is ahead of other processes."""
    return active[-1].jumped if active else 0.0
