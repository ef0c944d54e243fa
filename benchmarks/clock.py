"""What it costs to jump: 10,000 timers one after another, and a test's worth of sleeps, against waiting for them.

Run: python -m benchmarks.clock
"""

from __future__ import annotations

import asyncio
import statistics
import time

from pytest_asyncapi.clock import VirtualClock

TIMERS = 10_000
APART = 0.1


async def jump(timers: int, apart: float) -> tuple[float, float]:
    """(virtual, real) seconds for timers one after another."""
    async with VirtualClock() as clock:
        begin = time.perf_counter()
        for _ in range(timers):
            await asyncio.sleep(apart)
        return clock.elapsed, time.perf_counter() - begin


async def heap(timers: int, apart: float) -> tuple[float, float]:
    """The same for timers that are all set at once."""
    async with VirtualClock() as clock:
        begin = time.perf_counter()
        await asyncio.gather(*(asyncio.sleep(apart * (each + 1)) for each in range(timers)))
        return clock.elapsed, time.perf_counter() - begin


async def turns(clock: bool) -> float:
    """CPU seconds of 20,000 turns of a loop that never rests, with and without a virtual clock."""
    async with VirtualClock() if clock else asyncio.timeout(None):
        begin = time.process_time()
        for _ in range(20_000):
            await asyncio.sleep(0)
        return time.process_time() - begin


def main(rounds: int = 9) -> None:
    print("### Jumps\n")
    print(f"| {TIMERS:,} timers, {APART} s apart | times faster than waiting | per jump |\n|---|---|---|")
    for title, work in (("one after another", jump), ("all at once", heap)):
        found = [asyncio.run(work(TIMERS, APART)) for _ in range(rounds)]
        low, times, high = statistics.quantiles([virtual / real for virtual, real in found], n=4)
        real = statistics.median(each[1] for each in found)
        print(f"| {title} | {times:,.0f} ({low:,.0f} to {high:,.0f}) | {real / TIMERS * 1e6:.0f} µs |")
    low, middle, high = statistics.quantiles(
        [asyncio.run(turns(True)) / asyncio.run(turns(False)) for _ in range(rounds)]
    )
    print("\n### A busy loop\n\n| | CPU time of 20,000 turns, ratio to no clock |\n|---|---|")
    print(f"| with a virtual clock | {middle:.2f} ({low:.2f} to {high:.2f}) |\n")


if __name__ == "__main__":
    main()
