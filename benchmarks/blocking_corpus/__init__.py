"""A corpus for detectors of blocking code: culprits, and innocents that look like some.

A case is an `async def` that gets a `Tools`. A culprit marks the lines that a good detector names by `# BLOCKS`; it
holds the loop for about `tools.seconds`, or, as kind "fast", for a moment, in a call that always blocks.
"""

from __future__ import annotations

import gc
import inspect
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


class Tools:
    """What a case needs to know: how long it is to hold the loop."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def spun(self) -> Callable[[], bool]:
        """A function that is true once the thread has used its CPU time."""
        end = time.thread_time() + self.seconds
        return lambda: time.thread_time() >= end  # BLOCKS

    def size(self, work: Callable[[int], object], start: int = 1000) -> int:
        """The argument with which `work` takes about `seconds` of CPU time. Calls it a few times, off the loop."""
        size = start
        while True:
            began = time.thread_time()
            work(size)
            took = time.thread_time() - began
            if took > self.seconds / 8:
                return max(1, int(size * self.seconds / took * 1.05))
            size *= 2 if took > self.seconds / 32 else 4

    def grow(self, make: Callable[[int], object], use: Callable[[object], object], start: int = 1000) -> object:
        """What `make` makes, so large that `use` takes about `seconds` of CPU time, collections of garbage aside."""
        size = start
        gc.disable()
        try:
            while True:
                made = make(size)
                began = time.thread_time()
                use(made)
                took = time.thread_time() - began
                if took > self.seconds * 0.95:
                    return made
                size = int(size * min(4, max(1.1, self.seconds / max(took, 1e-6)))) + 1
        finally:
            gc.enable()


@dataclass
class Case:
    name: str
    kind: str  # wait, cpu, fast, innocent
    run: Callable[[Tools], Awaitable[object]]
    prepare: Callable[[Tools], object] | None
    file: str
    lines: frozenset[int]


CASES: dict[str, Case] = {}


def culprit(kind: str, *also: Callable[..., object], prepare: Callable[[Tools], object] | None = None):
    """Register a case of this kind. `also` are helpers whose marked lines count as well."""

    def register(function):
        lines: set[int] = set()
        for each in (function, *also):
            source, first = inspect.getsourcelines(each)
            lines |= {max(1, first) + number for number, line in enumerate(source) if "# BLOCKS" in line}
        assert lines or kind == "innocent", function.__name__
        assert function.__name__ not in CASES, function.__name__
        CASES[function.__name__] = Case(
            function.__name__, kind, function, prepare, inspect.getsourcefile(function) or "", frozenset(lines)
        )
        return function

    return register


def innocent(function):
    return culprit("innocent")(function)


def load() -> dict[str, Case]:
    from . import computing, everyday, files, further, further_innocents, innocents, waiting, web  # noqa: F401

    return CASES
