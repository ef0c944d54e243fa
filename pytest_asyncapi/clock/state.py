"""How far the virtual clock of the running test is ahead of the wall clock; nothing is imported to know it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_asyncapi.clock.virtual import VirtualClock

active: list[VirtualClock] = []


def ahead() -> float:
    """Seconds that virtual clocks have jumped over and that `time.time()` does not show: 0.0 without a clock."""
    return active[-1].ahead if active else 0.0


def jumped() -> float:
    """Seconds that the virtual clock has jumped over: how far it is ahead of other processes."""
    return active[-1].jumped if active else 0.0
