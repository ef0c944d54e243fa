"""Measuring: cases in turns, CPU time, medians, and a table of ratios."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """A case beside the baseline: the median ratio of its CPU time, and the quartiles of the rounds' ratios."""

    name: str
    median: float
    low: float
    high: float
    seconds: float  # the case's median CPU time for one call, for orientation only

    @property
    def cell(self) -> str:
        """The ratio with its spread."""
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"

    @property
    def inverse(self) -> "Ratio":
        """How many times as much in the same time."""
        return Ratio(self.name, 1 / self.median, 1 / self.high, 1 / self.low, self.seconds)


def ratios(
    cases: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 15,
    number: int = 1,
    baseline: str | None = None,
    clock: Callable[[], float] = time.process_time,
) -> list[Ratio]:
    """Run the cases in turns, `number` calls each, `rounds` times; compare them round by round to the baseline.

    `baseline` is the name of a case, by default the first. `clock` gives seconds; the default counts the CPU time of
    this process, so that other work on the machine weighs little.
    """
    baseline = baseline or next(iter(cases))
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for name in cases:
        cases[name]()  # warm-up: imports, caches, first connections
    for turn in range(rounds):
        order = list(cases) if turn % 2 else list(reversed(list(cases)))
        for name in order:
            gc.collect()
            begin = clock()
            for _ in range(number):
                cases[name]()
            taken[name].append((clock() - begin) / number)
    found = []
    for name, times in taken.items():
        found.append(ratio(name, times, taken[baseline]))
    return found


def ratio(name: str, times: Sequence[float], base: Sequence[float]) -> Ratio:
    """Times beside those of the baseline, round by round."""
    each = [mine / other for mine, other in zip(times, base, strict=False)]
    low, median, high = statistics.quantiles(each, n=4) if len(each) > 1 else each * 3
    return Ratio(name, median, low, high, statistics.median(times))


def table(title: str, found: list[Ratio], *, unit: str = "ratio of CPU time, lower is better") -> str:
    """The ratios as a Markdown table, the baseline being the row of 1.00."""
    rows = [f"| {each.name} | {each.cell} |" for each in found]
    return "\n".join([f"### {title}", "", f"| | {unit} |", "|---|---|", *rows, ""])
