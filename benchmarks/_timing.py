"""Measuring: cases in turns, CPU time, medians, and a table of ratios."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """A case beside the baseline: the median ratio of its CPU time, and the quartiles of the rounds' ratios."""

    name: str
    median: float
    low: float
    high: float
    seconds: float  # the case's median CPU time for one call, for orientation only


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
        each = [mine / base for mine, base in zip(times, taken[baseline], strict=True)]
        low, median, high = statistics.quantiles(each, n=4)
        found.append(Ratio(name, median, low, high, statistics.median(times)))
    return found


def table(title: str, found: list[Ratio], *, unit: str = "ratio of CPU time, lower is better") -> str:
    """The ratios as a Markdown table, the baseline being the row of 1.00."""
    rows = [f"| {each.name} | {each.median:.2f} | {each.low:.2f} to {each.high:.2f} |" for each in found]
    return "\n".join([f"### {title}", "", f"| | {unit} | quartiles |", "|---|---|---|", *rows, ""])
