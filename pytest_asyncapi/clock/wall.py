"""`time.time()` and `datetime` that follow a virtual clock: time-machine does the work."""

from __future__ import annotations

import datetime
from typing import Any

from pytest_asyncapi.errors import ClockError


class WallClock:
    """The wall clock, from now or from `start` on: runs as real time does, and is moved by each jump."""

    def __init__(self, start: Any) -> None:
        try:
            import time_machine
        except ModuleNotFoundError:
            raise ClockError(
                "virtual_clock(wall=...) moves time.time() and datetime by the package time-machine, which is not"
                " installed: pip install 'pytest-asyncapi[time]'"
            ) from None
        if start is True:
            start = datetime.datetime.now(datetime.UTC)
        elif isinstance(start, str):
            start = datetime.datetime.fromisoformat(start)
        if isinstance(start, datetime.datetime) and start.tzinfo is None:
            start = start.replace(tzinfo=datetime.UTC)
        self.moved = 0.0
        self._travel = time_machine.travel(start, tick=True)
        self._here = self._travel.start()

    def move(self, seconds: float) -> None:
        self.moved += seconds
        self._here.shift(seconds)

    def stop(self) -> None:
        self._travel.stop()
