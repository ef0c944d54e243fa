"""What a slice of the event loop is charged with: its CPU time and its confirmed waiting, and nothing else.

A slice is one callback, or one step of a task. Its wall time says little on a busy machine: the loop's thread may stand
in the kernel's run queue, wait for the GIL that another thread holds, or be stopped by a debugger. `charge()` takes the
recorded evidence of one slice and keeps what the code itself did. It is a pure function of its arguments.

All times are nanoseconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Point:
    """The counters at one moment. `queued` and the switch counts are Linux's (schedstat), zero elsewhere."""

    time: int
    cpu: int | None = None  # the loop thread's CPU clock
    queued: int = 0  # how long the loop's thread has stood in the run queue
    switches: int = 0  # how often the loop's thread was given a core
    watch_switches: int = 0  # how often the watchdog's thread was given a core


@dataclass(slots=True)
class Look(Point):
    """One look of the watchdog at a slice that is late: the counters, and what the loop's thread was doing."""

    late: int = 0  # how much later than it wanted the watchdog looked
    blocked: bool | None = None  # in a system call that is no wait for the GIL; None where nothing tells
    place: object = None  # the instruction that the thread stood at, to be compared only
    importing: bool = False  # importing modules, or other work that is done once a process
    harmless: bool = False  # in a hand-shake of a starting thread or process
    complete: bool = True  # False while the counters are not read yet


@dataclass(slots=True)
class Charge:
    """The verdict: `total` is what counts against the threshold; the other fields are the rest of the wall time."""

    wall: int = 0
    cpu: int = 0
    waiting: int = 0
    queued: int = 0
    lost: int = 0  # off the CPU for no fault of the slice's: the GIL, a stopped process, an unknown cause
    importing: int = 0
    collecting: int = 0  # garbage collection
    shares: list[tuple[int, int]] = field(default_factory=list)  # (cpu, waiting) of the time before each look

    @property
    def total(self) -> int:
        return self.cpu + self.waiting

    @property
    def kind(self) -> str:
        return "waiting" if self.waiting > self.cpu else "computing"


@dataclass(frozen=True, slots=True)
class Rules:
    """What the evidence was taken with."""

    tick: int  # the watchdog's period while a slice is late
    switch_interval: int = 5_000_000  # of the GIL
    kernel: bool = True  # Linux's counters are there


def charge(
    base: Point,
    started: int,
    looks: list[Look],
    end: Point,
    rules: Rules,
    *,
    collections: Sequence[int] = (),
    collected: int = 0,
) -> Charge:
    """Charge the slice that began at `started` and ended at `end`.

    `base` are the counters at the start of the slice, or up to a few milliseconds before it: what then may belong to
    earlier slices is not charged. `collections` are the CPU times of the long garbage collections in the slice,
    `collected` is how many there were, of any length.
    """
    verdict = Charge(wall=end.time - started, collecting=sum(collections))
    slack = max(0, started - base.time)
    before: Point = Point(max(base.time, started), base.cpu, base.queued, base.switches, base.watch_switches)
    counted = base.time  # when the counters of `before` were read
    known: Look | None = None  # the last look
    # Where no CPU clock of another thread can be read, the whole is known at the end only: spread it evenly.
    even = None
    if end.cpu is not None and base.cpu is not None and any(look.cpu is None for look in looks):
        even = max(0, end.cpu - base.cpu - slack) / max(1, verdict.wall)
    for point in [*looks, end]:
        look = point if isinstance(point, Look) else None
        wall = max(0, point.time - before.time)
        if even is not None:
            cpu = int(wall * even)
        elif point.cpu is None or before.cpu is None:
            cpu = 0
        else:
            cpu = max(0, min(wall, point.cpu - before.cpu - slack))
            slack = 0
        queued = max(0, min(wall - cpu, point.queued - before.queued))
        off = wall - cpu - queued
        waiting = _confirmed(off, before, counted, look, known, point, rules)
        shown = look or known
        if waiting and shown is not None and shown.harmless:
            waiting = 0
        if shown is not None and shown.importing:
            verdict.importing += cpu + waiting
            share = (0, 0)
        else:
            verdict.cpu += cpu
            verdict.waiting += waiting
            share = (cpu, waiting)
        verdict.queued += queued
        verdict.lost += off - waiting
        if look is not None:
            verdict.shares.append(share)
            before = known = look
            counted = look.time
        elif verdict.shares:
            last = verdict.shares[-1]
            verdict.shares[-1] = (last[0] + share[0], last[1] + share[1])
    verdict.cpu = max(0, verdict.cpu - _not_its_own(collections, collected, verdict.cpu))
    return verdict


def _not_its_own(collections: Sequence[int], collected: int, cpu: int) -> int:
    """How much of the collecting is not the slice's doing.

    A collection strikes whoever happens to allocate next. But a slice that works at least half as long, and sees many
    of them, has made the objects itself: they are the price of its work. Of several long ones all but the longest are.
    """
    whole = sum(collections)
    if collected >= 20 and (cpu - whole) * 2 >= whole:
        return 0
    if len(collections) >= 3 and (cpu - whole) * 4 >= whole:
        return max(collections)
    return whole


def _confirmed(
    off: int, before: Point, counted: int, look: Look | None, known: Look | None, point: Point, rules: Rules
) -> int:
    """How much of the time off the CPU was a wait of the slice's own."""
    if off <= 0:
        return 0
    seen = look is not None and look.complete
    long = off > 3 * rules.switch_interval
    long_unseen = look.late > 3 * rules.switch_interval if look is not None and seen else long
    if rules.kernel and long_unseen and _held_the_gil(off, before, counted, point, rules):
        return off
    shown = look or known
    if not rules.kernel or (shown is not None and shown.complete and shown.blocked is None):
        # The watchdog is the control experiment: where it came in time, nothing but the slice was slow.
        return off if shown is not None and shown.late < rules.tick * 0.4 else 0
    if look is None or not seen:
        # The slice ended without a word of the kernel's: the wait that was seen last goes on. A long one, while others
        # have the GIL, may be theirs; but then the thread asked for the GIL again and again, and a wait does not.
        same = known is not None and bool(known.blocked) and (look is None or known.place == look.place)
        return off if same and not (long and _asked_for_the_gil(off, before, point, rules)) else 0
    if long_unseen:
        same = known is not None and bool(known.blocked) and known.place == look.place
        return off if look.blocked and same else 0
    return off if look.blocked else 0


def _asked_for_the_gil(off: int, before: Point, point: Point, rules: Rules) -> bool:
    """Whether the loop's thread was given a core as often as one that waits for the GIL: every switch interval."""
    return point.switches - before.switches >= 0.4 * max(1.0, off / rules.switch_interval)


def _held_the_gil(off: int, before: Point, counted: int, point: Point, rules: Rules) -> bool:
    """Whether the loop's thread waited with the GIL, for which the watchdog waited meanwhile.

    Long unseen: the GIL was held, or all of us were stopped or starved. A thread that waits for the GIL is given a core
    every switch interval. If the watchdog was, and the loop's thread was not, that one held the GIL in a wait. Stopped,
    neither is; in another thread's long C call, both are.
    """
    cycles = off / rules.switch_interval
    # While the loop's thread computed, or stood in the run queue, it may have had the GIL too, and before the slice
    # anybody: that explains some.
    explained = max(0, point.time - counted - off) / rules.switch_interval
    watchdog_waited = point.watch_switches - before.watch_switches >= max(4.0, 0.2 * cycles) + explained
    return watchdog_waited and not _asked_for_the_gil(off, before, point, rules)
