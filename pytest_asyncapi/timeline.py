"""What happened when in a test: the events that the rooms hand to the page of a run, and the clock that dates them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal, NamedTuple

Kind = Literal["request", "sql", "redis", "upstream", "block"]


def now(clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds by a clock of the harness's own: bound here, before a test can freeze the module's."""
    return clock()


class Event(NamedTuple):
    """One thing that a test, or its app, did. Secrets in its texts are masked by who makes it."""

    kind: Kind
    began: float  # by `now()`
    seconds: float | None  # how long it took; None for what has no end of its own
    label: str
    outcome: str = ""
    detail: str = ""
    bad: bool = False  # it failed, or is a fault that somebody should look at
