"""From the recorded looks of a slice to the block that is told."""

import asyncio
import dis
import operator
import sys
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI

from pytest_asyncapi.blocking import detect_blocking, judging
from pytest_asyncapi.blocking.charging import Look, Point, Rules
from pytest_asyncapi.client.exchange import Exchange

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


# ---- C code that keeps the GIL, and the instruction after it


async def ranking(rows):
    top = sorted(rows, key=repr)
    count = len(top)
    await asyncio.sleep(count)
    return count


def at(opname, line):
    """Where `ranking` stands at the last such instruction of its line (the first is 1)."""
    for instruction in reversed(list(dis.get_instructions(ranking))):
        number = instruction.positions.lineno if instruction.positions is not None else None
        if instruction.opname == opname and number == ranking.__code__.co_firstlineno + line:
            return (ranking.__code__, number, instruction.offset)
    raise LookupError(opname)


def lines_of(*looks):
    """The line that is told, counted from the function's, of looks (late by this many milliseconds, stack)."""
    taken, time = [], 0
    for late, stack in looks:
        time += 20 + late
        taken.append((Look(time * MS, time * MS, late=late * MS, blocked=False), stack, None))
    end = Point((time + 1) * MS, time * MS)
    late = judging.Slice(None, 0, end, Point(0, 0), taken, [], 0, None, "MainThread", Rules(tick=5 * MS))
    block, _scope = judging.of_slice(late, late.charge(), set())
    return block.site.line - ranking.__code__.co_firstlineno


SLEEP = next(each for each in dis.get_instructions(asyncio.sleep) if each.opname == "RESUME")


@pytest.mark.skipif(sys.version_info < (3, 14), reason="before, every call hands the GIL over at its end")
def test_a_call_with_keywords_that_keeps_the_gil_is_named_where_a_later_line_hands_it_over():
    sorting, counting, waiting = at("CALL_KW", 1), at("CALL", 2), at("SEND", 3)
    begun = [(asyncio.sleep.__code__, asyncio.sleep.__code__.co_firstlineno, SLEEP.offset), waiting]

    assert lines_of((100, [counting])) == 1
    assert lines_of((5, [counting])) == 2  # the GIL was not kept
    assert lines_of((5, [sorting]), (100, [counting])) == 1
    assert lines_of((5, [sorting]), (100, begun)) == 1
    assert lines_of((100, begun)) == 3  # `len` lies between, which hands over


async def test_a_sort_that_keeps_the_gil_is_named_and_not_what_comes_next():
    """Two times of three at least: from 3.14 on a look may come so late that the next line stands for it."""
    rows = [(number * 7919 % 300_007, number) for number in range(300_000)]
    lines = []
    for _ in range(3):
        async with detect_blocking(threshold=0.02) as blocks:
            top = sorted(rows, key=operator.itemgetter(0))
            await asyncio.sleep(0)
        assert top
        lines.append([block.site.line for block in blocks])

    sort = test_a_sort_that_keeps_the_gil_is_named_and_not_what_comes_next.__code__.co_firstlineno + 6
    assert sum(sort in each and sort + 1 not in each for each in lines) >= 2


# ---- what nobody looked at, and what the loop does itself


def test_what_holds_the_task_of_a_request_unseen_is_the_apps():
    """The task is the harness's client's, which runs the app: C code kept the GIL from its start to the slice's end."""

    def endpoint():
        pass

    coroutine = SimpleNamespace(cr_frame=None, cr_code=Exchange._run.__code__, cr_await=None)
    task = SimpleNamespace(get_coro=lambda: coroutine, get_name=lambda: "asgi GET /")
    handle = SimpleNamespace(_callback=SimpleNamespace(__self__=task), _context=None)
    scope = {"type": "http", "method": "GET", "path": "/", "endpoint": endpoint}
    rules = Rules(tick=5 * MS)

    def told(scope):
        end = Point(100 * MS, 100 * MS)
        late = judging.Slice(handle, 0, end, Point(0, 0), [], [], 0, scope, "MainThread", rules)
        return judging.of_slice(late, late.charge(), set())

    block, _scope = told(scope)
    assert (block.site.function, block.region, block.kind) == (endpoint.__qualname__, "request", "computing")
    assert told(None) is None  # the client's own


async def test_a_process_that_asyncio_started_in_a_request_is_asked_for_by_asyncio():
    """It calls os.waitpid, for a process of which the kernel has said that it is over."""
    app = FastAPI()

    @app.get("/")
    async def start() -> int:
        process = await asyncio.create_subprocess_exec(sys.executable, "-S", "-c", "")
        return await process.wait()

    transport = httpx.ASGITransport(app=app)
    async with (
        detect_blocking(threshold=10) as blocks,
        httpx.AsyncClient(transport=transport, base_url="http://app") as client,
    ):
        assert (await client.get("/")).json() == 0

    assert list(blocks) == []
