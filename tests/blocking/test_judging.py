"""From the recorded looks of a slice to the block that is told."""

import asyncio
import dis
import sys
from types import SimpleNamespace

import pytest

from pytest_asyncapi.blocking import judging
from pytest_asyncapi.blocking.charging import Look, Point, Rules

MS = 1_000_000


async def handler(numbers):
    first = sorted(numbers)
    second = sum(numbers)
    return first, second


def places(*names):
    """Where `handler` stands while it calls each of these."""
    found = {}
    for instruction in dis.get_instructions(handler):
        positions = instruction.positions
        if instruction.opname == "CALL" and positions is not None:
            line = positions.lineno - handler.__code__.co_firstlineno
            found[{1: "sorted", 2: "sum"}[line]] = (handler.__code__, positions.lineno, instruction.offset)
    return [found[name] for name in names]


def block_of(*names):
    looks = []
    for number, entry in enumerate(places(*names), 1):
        look = Look(number * 10 * MS, number * 10 * MS, blocked=False)
        looks.append((look, [entry], {"type": "http", "method": "GET", "path": "/"}))
    end = Point(len(looks) * 10 * MS + MS, len(looks) * 10 * MS)
    late = judging.Slice(None, 0, end, Point(0, 0), looks, [], 0, None, "MainThread", Rules(tick=5 * MS))
    block, _scope = judging.of_slice(late, late.charge(), set())
    return block


@pytest.mark.parametrize(
    ("looks", "call", "remedy"),
    [
        (["sorted"], "sorted", "await asyncio.to_thread(sorted, numbers), or a process pool"),
        (["sorted", "sorted", "sum"], "sorted", "await asyncio.to_thread(sorted, numbers), or a process pool"),
        (["sum", "sorted"], "", "move this work out of the coroutine into a function, and await"),
    ],
    ids=["one", "most", "no call took most"],
)
def test_the_call_is_the_one_that_took_more_than_half(looks, call, remedy):
    block = block_of(*looks)

    assert (block.kind, block.call, block.site.function) == ("computing", call, "handler")
    assert block.remedy.startswith(remedy)


def test_what_the_looks_saw_is_kept_as_stretches():
    block = block_of("sorted", "sorted", "sum")

    assert [(each.start_ms, each.milliseconds, each.stack[0].line) for each in block.stretches] == [
        (0, 20, handler.__code__.co_firstlineno + 1),
        (20, 11, handler.__code__.co_firstlineno + 2),
    ]


@pytest.mark.parametrize("process", [True, False], ids=["a process starts", "the user's own"])
async def test_a_wait_that_nobody_saw_is_no_block_where_a_process_starts(process):
    """uvloop forks in C, with the GIL: no look comes before the slice is over, only where its task went on is known."""

    async def work() -> None:
        if process:
            await (await asyncio.create_subprocess_exec(sys.executable, "-c", "")).wait()
        else:
            await asyncio.sleep(10)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    handle = SimpleNamespace(_callback=SimpleNamespace(__self__=task))
    end = Point(100 * MS, 0, watch_switches=20, switches=3)
    late = judging.Slice(handle, 0, end, Point(0, 0), [], [], 0, None, "MainThread", Rules(tick=5 * MS))
    verdict = late.charge()
    found = judging.of_slice(late, verdict, set())

    assert verdict.waiting == 100 * MS
    if process:
        assert found is None
        await task
    else:
        assert found is not None
        assert found[0].site.function.endswith("work")
        task.cancel()
