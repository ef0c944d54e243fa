"""Time jumps when nothing is ready, and moves by `advance()`: in order, exactly, and only as the mode says."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import math
import os
import time
from time import perf_counter

import pytest

from pytest_asyncapi.clock import VirtualClock
from pytest_asyncapi.errors import AsyncAPIError, ClockError, ConfigurationError

on_asyncio = pytest.mark.skipif(
    os.environ.get("ASYNCAPI_TEST_LOOP", "asyncio") != "asyncio", reason="the clock drives asyncio's own loops"
)


@pytest.fixture
async def clock(virtual_clock):
    return virtual_clock


async def test_a_sleep_costs_nothing_and_takes_exactly_its_time(clock):
    begin = perf_counter()

    await asyncio.sleep(3600)

    assert clock.elapsed == 3600
    assert perf_counter() - begin < 5


async def test_a_sleep_of_weeks(clock):
    await asyncio.sleep(21 * 86400)

    assert clock.elapsed == 21 * 86400


async def test_timers_run_in_order_each_at_its_time(clock):
    seen = []

    async def sleeper(seconds):
        await asyncio.sleep(seconds)
        seen.append((seconds, clock.elapsed))

    await asyncio.gather(*(sleeper(each) for each in (3, 1, 2.5, 1)))

    assert seen == [(1, 1), (1, 1), (2.5, 2.5), (3, 3)]


async def test_time_outs_follow(clock):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(30):
            await asyncio.Event().wait()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.sleep(100), 12)

    assert clock.elapsed == 42


async def test_a_busy_loop_is_not_jumped(clock):
    """While something is ready there is nothing to wait for."""
    fired = []
    asyncio.get_running_loop().call_later(0.5, fired.append, 1)

    for _ in range(1000):
        await asyncio.sleep(0)

    assert fired == []
    assert clock.elapsed == 0


async def test_a_loop_that_polls_sees_time_pass_in_the_end(clock):
    loop = asyncio.get_running_loop()
    end = loop.time() + 0.01

    while loop.time() < end:
        await asyncio.sleep(0)

    assert clock.elapsed >= 0.01


async def test_advance_lets_happen_what_is_due_and_all_that_follows(clock):
    seen = []

    async def worker():
        for turn in range(10):
            await asyncio.sleep(10)
            seen.append(("worked", turn, clock.elapsed))
            await asyncio.sleep(0)
            seen.append(("then", turn, clock.elapsed))

    task = asyncio.create_task(worker())
    await clock.advance(20)

    assert seen == [("worked", 0, 10), ("then", 0, 10), ("worked", 1, 20), ("then", 1, 20)]
    assert clock.elapsed == 20
    await clock.advance(9.5)
    assert len(seen) == 4
    task.cancel()


async def test_advances_from_two_tasks(clock):
    await asyncio.gather(clock.advance(5), clock.advance(3))

    assert clock.elapsed == 5


async def test_advance_zero_lets_everything_settle(clock):
    order = []

    async def chain():
        for step in range(5):
            await asyncio.sleep(0)
            order.append(step)

    task = asyncio.create_task(chain())
    await clock.advance(0)

    assert order == [0, 1, 2, 3, 4]
    assert task.done()
    assert clock.elapsed == 0


async def test_a_cancelled_advance_leaves_no_trace(clock):
    task = asyncio.create_task(clock.advance(50))
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task

    await asyncio.sleep(1)

    assert clock.elapsed == 1


@pytest.mark.parametrize("bad", [-1, math.nan, math.inf])
async def test_advance_goes_forward_by_what_has_an_end(clock, bad):
    with pytest.raises(ValueError, match=rf"^advance\(\) takes a finite number of seconds, zero or more, not {bad}$"):
        await clock.advance(bad)


@pytest.mark.parametrize("bad", ["5", None, True, datetime.timedelta(seconds=5)])
async def test_advance_takes_a_number(clock, bad):
    with pytest.raises(TypeError, match=r"^advance\(\) takes a number of seconds, not "):
        await clock.advance(bad)


async def test_years_are_as_exact(clock):
    """Where a second has passed half a year, a nanosecond is less than the loop's time can tell."""
    await asyncio.sleep(10 * 365 * 86400)
    before = clock.elapsed
    for _ in range(100):
        await asyncio.sleep(0.01)
    await clock.advance(1)

    assert clock.elapsed - before == pytest.approx(2, abs=0.001)


async def test_a_time_out_ends_an_advance(clock):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await clock.advance(60)
    await clock.advance(1)

    assert clock.elapsed == 6


async def test_timers_of_the_past_and_of_timers(clock):
    loop = asyncio.get_running_loop()
    seen = []

    def first():
        seen.append(("first", clock.elapsed))
        loop.call_later(1, second)

    def second():
        seen.append(("second", clock.elapsed))
        loop.call_at(loop.time() - 100, lambda: seen.append(("late", clock.elapsed)))

    loop.call_later(-5, seen.append, "at once")
    loop.call_later(1, first)
    await clock.advance(2)

    assert seen == ["at once", ("first", 1), ("second", 2), ("late", 2)]


@on_asyncio
@pytest.mark.parametrize("uptime", [0, 1e7, 1.8e9], ids=["just started", "half a year", "epoch, as freezegun has it"])
async def test_advance_is_exact_however_coarse_the_time_of_the_loop_is(monkeypatch, uptime):
    """A float of 1.8 billion seconds tells a quarter of a microsecond; asyncio's own timers are no better then."""
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "time", lambda: uptime + perf_counter(), raising=False)
    seen = []

    async def worker():
        while True:
            await asyncio.sleep(0.1)
            seen.append(clock.elapsed)

    async with VirtualClock() as clock:
        task = asyncio.create_task(worker())
        await clock.advance(20)
        task.cancel()
        elapsed = clock.elapsed

    assert seen == [round(n * 0.1, 6) for n in range(1, 201)]
    assert elapsed == 20


@on_asyncio
async def test_real_time_in_between_comes_on_top_of_advance():
    """However long a thread takes, the worker has begun its second turn."""
    turns = []

    async def worker():
        while True:
            await asyncio.sleep(10)
            turns.append(clock.elapsed)
            await asyncio.to_thread(time.sleep, 0.01)

    async with VirtualClock() as clock:
        task = asyncio.create_task(worker())
        await clock.advance(20)
        task.cancel()

    assert len(turns) == 2
    assert turns[0] == 10
    assert 20 < turns[1] < 21


async def test_task_groups_and_async_generators(clock):
    async def ticks():
        for n in range(3):
            await asyncio.sleep(10)
            yield n

    async def fail():
        await asyncio.sleep(3)
        raise LookupError

    async def run():
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            group.create_task(asyncio.sleep(100))

    assert [n async for n in ticks()] == [0, 1, 2]
    with pytest.raises(ExceptionGroup):
        await run()
    assert clock.elapsed == 33


@pytest.mark.virtual_clock(mode="frozen")
async def test_a_frozen_clock_moves_by_advance_only(virtual_clock):
    done = asyncio.create_task(asyncio.sleep(10))
    time.sleep(0.01)  # real time, which must not count
    await virtual_clock.advance(9.999)
    assert not done.done()
    await virtual_clock.advance(0.001)

    assert done.done()
    assert virtual_clock.elapsed == 10


@pytest.mark.virtual_clock(mode="frozen")
async def test_a_frozen_clock_counts_no_real_time_while_a_thread_works(virtual_clock):
    async with asyncio.timeout(0.01):
        await asyncio.to_thread(time.sleep, 0.05)

    assert virtual_clock.elapsed == 0


@pytest.mark.virtual_clock(mode="running")
async def test_a_running_clock_keeps_real_pace_and_can_be_advanced(virtual_clock):
    begin = perf_counter()
    await asyncio.sleep(0.05)
    assert perf_counter() - begin >= 0.049
    await virtual_clock.advance(60)

    assert 60.05 <= virtual_clock.elapsed < 70


async def test_the_mode_can_change(virtual_clock):
    await asyncio.sleep(5)
    virtual_clock.mode = "running"
    await asyncio.sleep(0.01)
    virtual_clock.mode = "frozen"
    await virtual_clock.advance(5)

    assert 10.01 <= virtual_clock.elapsed < 15
    with pytest.raises(ConfigurationError, match=r"^virtual_clock: mode 'fast' is none of jump, frozen, running$"):
        virtual_clock.mode = "fast"


def test_a_frozen_clock_that_nobody_moves_is_an_error():
    async def main():
        async with VirtualClock("frozen"):
            await asyncio.sleep(10)

    with pytest.raises(ClockError) as failure:
        asyncio.run(main())
    assert str(failure.value) == (
        "the clock is frozen and every task waits: the next timer is due in 10 s, and nothing else can happen.\n"
        "Move the clock while the tasks run, for instance\n"
        "    task = asyncio.create_task(...); await virtual_clock.advance(10); await task\n"
        'or let it jump by itself: @pytest.mark.virtual_clock(mode="jump"), virtual_clock.mode = "jump".'
    )


def test_uvloop_is_an_error_that_names_the_way_out():
    uvloop = pytest.importorskip("uvloop")

    async def main():
        async with VirtualClock():
            pass

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, pytest.raises(ClockError) as failure:
        runner.run(main())
    assert str(failure.value) == (
        "virtual_clock drives asyncio's own event loop, and this test runs on uvloop.Loop, whose timers it"
        " cannot move.\n"
        "Run the test on asyncio's loop:\n"
        '  - anyio: a fixture `anyio_backend` that returns ("asyncio", {"use_uvloop": False})\n'
        "  - pytest-asyncio: the hook `pytest_asyncio_loop_factories` that gives this test asyncio.SelectorEventLoop\n"
        "    (up to 1.3: a fixture `event_loop_policy` that returns asyncio.DefaultEventLoopPolicy())"
    )
    assert isinstance(failure.value, AsyncAPIError)


async def test_one_clock_a_loop(virtual_clock):
    with pytest.raises(ClockError, match="this event loop has a virtual clock already"):
        VirtualClock().start()


@on_asyncio
async def test_the_loop_gets_its_own_pace_back_and_its_time_does_not_go_back():
    loop = asyncio.get_running_loop()
    before = loop.time()
    handle = loop.call_later(1000.05, lambda: None)
    async with VirtualClock():
        await asyncio.sleep(1000)
    after = loop.time()

    assert after - before >= 1000
    begin = perf_counter()
    await asyncio.sleep(0.02)
    assert perf_counter() - begin >= 0.019
    assert 0 < handle.when() - after <= 0.05  # what was left of the timer is left
    async with VirtualClock() as second:
        await asyncio.sleep(7)
        assert second.elapsed == 7


@on_asyncio
async def test_a_stopped_clock_says_so():
    async with VirtualClock() as clock:
        pass

    with pytest.raises(ClockError, match="drives another event loop, or is stopped"):
        await clock.advance(1)


def test_what_the_loop_is_made_of_is_there():
    """The private names of asyncio's loops that the clock replaces: `_selector`, `_ssock`, and a Python `time`."""
    loop = asyncio.new_event_loop()
    try:
        assert loop._selector.get_map()[loop._ssock.fileno()].data[0]._callback.__self__ is loop
        assert "select" in type(loop._selector).__dict__
    finally:
        loop.close()
