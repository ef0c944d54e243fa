"""Virtual time: the loop's clock jumps to the next timer when nothing is ready and nothing real is under way.

    async with VirtualClock() as clock:
        await asyncio.sleep(3600)        # returns at once
        clock.elapsed                    # 3600.0

The loop itself stays as it is: its `time` and the `select` of its selector are replaced on these two objects. In
between jumps the clock stands still, so that a test's timing does not depend on the machine. While something real
holds it (a thread, a query on a socket: see `holds`, `sockets` and `threads`), time runs as real time does.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal, get_args

from pytest_asyncapi.clock import state
from pytest_asyncapi.clock.holds import Holds
from pytest_asyncapi.clock.sockets import Sockets
from pytest_asyncapi.clock.threads import Threads
from pytest_asyncapi.errors import ClockError, ConfigurationError
from pytest_asyncapi.values import number_of_seconds

if TYPE_CHECKING:
    from pytest_asyncapi.clock.wall import WallClock

Mode = Literal["jump", "frozen", "running"]

LATE = 2e-6  # seconds of the wall clock after each jump
MOMENT = 0.0005  # real seconds in which a thread that was given work comes to its first line
SLICE = 0.005  # real seconds between two looks at what can only be looked at
RESOLUTION = 1e-9  # of the loops' clock: asyncio runs what is due before this has passed
SPINS = 20_000  # turns of a loop that never rests, after which real time is counted

_WRONG_LOOP = """\
virtual_clock drives asyncio's own event loop, and this test runs on {loop}, whose timers it cannot move.
Run the test on asyncio's loop:
  - anyio: a fixture `anyio_backend` that returns ("asyncio", {{"use_uvloop": False}})
  - pytest-asyncio: the hook `pytest_asyncio_loop_factories` that gives this test asyncio.SelectorEventLoop
    (up to 1.3: a fixture `event_loop_policy` that returns asyncio.DefaultEventLoopPolicy())"""

_STUCK = """\
the clock is frozen and every task waits: the next timer is due in {seconds:g} s, and nothing else can happen.
Move the clock while the tasks run, for instance
    task = asyncio.create_task(...); await virtual_clock.advance({seconds:g}); await task
or let it jump by itself: @pytest.mark.virtual_clock(mode="jump"), virtual_clock.mode = "jump"."""


class VirtualClock:
    """The clock of one event loop, from `start()` to `stop()`.

    `mode` may be changed at any time: "jump" (to the next timer, when nothing is ready), "frozen" (moves by
    `advance()` only) or "running" (as real time, and by `advance()`).
    """

    def __init__(self, mode: Mode = "jump", *, wall: Any = False) -> None:
        self._mode: Mode = "jump"
        self._wall_wanted = wall
        self._wall: WallClock | None = None
        self._loop: asyncio.SelectorEventLoop | None = None
        self._select: Any = None
        self._now = self._wall_started = 0.0
        self._ticking_since: float | None = None  # real time counts since then
        self._jumped = 0.0
        self._jumps = 0
        self._real = 0.0  # seconds that have passed in real time
        self._goals: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()
        self._spins = 0
        self._spinning_since = 0.0
        self.mode = mode

    # -- the public part

    @property
    def mode(self) -> Mode:
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        if mode not in get_args(Mode):
            raise ConfigurationError(f"virtual_clock: mode {mode!r} is none of {', '.join(get_args(Mode))}")
        self._mode = mode
        if self._loop is not None:
            self._tick(mode == "running")

    @property
    def elapsed(self) -> float:
        """Seconds that have passed on this clock since it started."""
        since = self._ticking_since
        return round(self._jumped + self._real + (0.0 if since is None else perf_counter() - since), 6)

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass: what is due on the way happens, in order and each at its time, and all that follows.

        Real time that passes in between (a query, a thread) comes on top, so that the same happens on every machine.
        """
        seconds = number_of_seconds("advance()", seconds)
        if self._loop is not asyncio.get_running_loop():
            raise ClockError("this virtual clock drives another event loop, or is stopped")
        done = self._loop.create_future()
        heapq.heappush(self._goals, (self._jumped + seconds, next(self._order), done))
        await done

    @contextmanager
    def hold(self, reason: str = "virtual_clock.hold()") -> Iterator[None]:
        """Inside the block the clock does not jump: for waits on something real that it cannot see."""
        with self._holds.hold(reason):
            yield

    @property
    def held_by(self) -> str:
        """What real work the clock waits for just now, or ""."""
        return self._held()[1]

    @property
    def jumped(self) -> float:
        """Seconds that were jumped over."""
        return self._jumped

    @property
    def wall(self) -> float | None:
        """What `time.time()` would be if it followed this clock; None: it does.

        Whoever wakes does so a little after its timer was due: what has a time to live of that length is over then.
        """
        return None if self._wall is not None else self._wall_started + self.elapsed + self._jumps * LATE

    def __repr__(self) -> str:
        return f"<VirtualClock mode={self._mode} elapsed={self.elapsed:g}>"

    # -- life

    def start(self) -> VirtualClock:
        """Take over the running loop."""
        loop = asyncio.get_running_loop()
        selector = getattr(loop, "_selector", None)
        if not isinstance(loop, asyncio.SelectorEventLoop) or selector is None:
            kind = type(loop)
            raise ClockError(_WRONG_LOOP.format(loop=f"{kind.__module__}.{kind.__qualname__}"))
        if any(clock._loop is loop for clock in state.active):
            raise ClockError("this event loop has a virtual clock already")
        if self._wall_wanted is not False and self._wall_wanted is not None:
            from pytest_asyncapi.clock.wall import WallClock

            self._wall = WallClock(self._wall_wanted)
        self._now = loop.time()
        self._wall_started = time.time()
        self._jumped = self._real = 0.0
        self._jumps = 0
        self._select = selector.select
        self._sockets = Sockets(loop)
        self._threads = Threads()
        self._holds = Holds(loop)
        self._holds.install()
        loop.time = self.time  # type: ignore[method-assign]
        selector.select = self._on_select
        self._loop = loop
        state.active.append(self)
        self._tick(self._mode == "running")
        return self

    def stop(self) -> None:
        """Give the loop its real pace back. Its time does not go back: timers that it has keep their distance."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        self._tick(False)
        now, real = self._now, perf_counter()
        state.active.remove(self)
        self._holds.uninstall()
        self._sockets.release()
        if self._wall is not None:
            self._wall.stop()
        loop.time = lambda: now + perf_counter() - real  # type: ignore[method-assign]
        if not loop.is_closed():
            del loop._selector.select  # type: ignore[attr-defined]
        for _, _, done in self._goals:
            done.cancel()
        self._goals.clear()

    async def __aenter__(self) -> VirtualClock:
        return self.start()

    async def __aexit__(self, *exc_info: object) -> None:
        self.stop()

    # -- time

    def time(self) -> float:
        since = self._ticking_since
        return self._now if since is None else self._now + perf_counter() - since

    def _tick(self, on: bool) -> None:
        """Count real time from now on, or no longer."""
        now = perf_counter()
        if self._ticking_since is not None:
            self._pass(now - self._ticking_since)
        self._ticking_since = now if on else None

    def _pass(self, seconds: float) -> None:
        """Real time has passed."""
        self._now += seconds
        self._real += seconds

    @property
    def _grain(self) -> float:
        """How exact the loop's time is: on a machine that runs since months it has no nanoseconds."""
        return max(RESOLUTION, 4 * math.ulp(self._now))

    def _jump(self, seconds: float) -> None:
        self._now += seconds
        if self._now + RESOLUTION == self._now:  # beyond half a year: asyncio would not find what is due just now
            self._now = math.nextafter(self._now, math.inf)
        self._jumped += seconds if self._grain == RESOLUTION else round(seconds, 6)
        self._jumps += 1
        if self._wall is not None:
            self._wall.move(seconds)

    # -- the loop's rest

    def _on_select(self, timeout: float | None = None) -> Any:
        """In place of `selector.select`: called by the loop each turn, with 0 while something is ready."""
        if timeout is not None and timeout <= 0:
            self._count_spins()
            events = self._select(timeout)
        else:
            self._spins = 0
            events = self._select(0) or self._rest(timeout)
        if events:
            self._sockets.note(events)
        return events

    def _rest(self, timeout: float | None) -> Any:
        """Nothing is ready; the next timer is due in `timeout` seconds, or there is none."""
        patience, _ = self._held()
        if patience is None and self._threads.may_wake:
            # Another thread may just have been given work: let it come to its first line before we look again.
            events = self._select(MOMENT)
            while not events and self._threads.waking():
                events = self._select(MOMENT)  # on a busy machine it may take a while
            if events:
                return events
            patience, _ = self._held()
        if patience is not None:
            return self._wait(timeout, patience)
        goal = self._goals[0][0] - self._jumped if self._goals else None
        if goal is not None and (timeout is None or timeout > goal + self._grain):
            self._jump(max(goal, 0.0))
            _, _, done = heapq.heappop(self._goals)
            if not done.done():
                done.set_result(None)
            return []
        if timeout is None or (self._mode == "running" and goal is None):
            return self._wait(timeout, None)
        if self._mode == "frozen" and goal is None:
            self.mode = "jump"  # so that the clean-up can end
            raise ClockError(_STUCK.format(seconds=timeout))
        self._jump(timeout)
        return []

    def _held(self) -> tuple[float | None, str]:
        """How long to wait for something real before looking again (None: nothing holds the clock), and for what."""
        if self._holds.reasons:
            calls = self._holds.only_threads
            if not calls or calls > self._threads.waiting_for_us():
                return SLICE if calls else float("inf"), ", ".join(self._holds.reasons)
        patience, reason = self._sockets.waiting()
        if patience is None:
            reason = self._threads.working()
            patience = SLICE if reason else None
        return patience, reason

    def _wait(self, timeout: float | None, patience: float | None) -> Any:
        """Wait in real time, which counts: but a frozen clock stands."""
        if self._mode == "frozen":
            timeout = None
        elif self._mode == "jump":
            self._tick(True)
        limits = [each for each in (timeout, patience) if each is not None and each != float("inf")]
        try:
            return self._select(min(limits, default=None))
        finally:
            if self._mode == "jump":
                self._tick(False)

    def _count_spins(self) -> None:
        """A loop that polls (`while loop.time() < end: await asyncio.sleep(0)`) must see time pass in the end."""
        self._spins += 1
        if self._spins == 1:
            self._spinning_since = perf_counter()
        elif self._spins > SPINS and self._mode == "jump":
            real = perf_counter()
            self._pass(real - self._spinning_since)
            self._spinning_since = real
