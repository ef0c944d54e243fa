"""What a slice is charged with: its CPU time and its confirmed waiting. On recorded samples, in milliseconds."""

import pytest

from pytest_asyncapi.blocking.charging import Charge, Look, Point, Rules, charge

MS = 1_000_000
RULES = Rules(tick=5 * MS)
PORTABLE = Rules(tick=5 * MS, kernel=False)


def point(time: float, cpu: float | None = 0, **counters: float) -> Point:
    return Point(int(time * MS), None if cpu is None else int(cpu * MS), **_nanoseconds(counters))


def look(time: float, cpu: float | None = 0, **evidence: object) -> Look:
    return Look(int(time * MS), None if cpu is None else int(cpu * MS), **_nanoseconds(evidence))


def _nanoseconds(values: dict) -> dict:
    return {key: int(value * MS) if key in ("queued", "late") else value for key, value in values.items()}


def parts(verdict: Charge) -> dict[str, float]:
    names = ("wall", "cpu", "waiting", "queued", "lost", "importing", "collecting")
    return {name: getattr(verdict, name) / MS for name in names if getattr(verdict, name)}


def test_a_sleep_is_charged_whole():
    looks = [look(10, 0, blocked=True), look(50, 0, blocked=True), look(95, 0, blocked=True)]

    verdict = charge(point(0), 0, looks, point(100, 0), RULES)

    assert parts(verdict) == {"wall": 100, "waiting": 100}
    assert verdict.kind == "waiting"


def test_a_computation_is_charged_with_its_cpu_time():
    looks = [look(10, 10, blocked=False), look(95, 95, blocked=False)]

    verdict = charge(point(0), 0, looks, point(100, 100), RULES)

    assert parts(verdict) == {"wall": 100, "cpu": 100}
    assert verdict.kind == "computing"


def test_standing_in_the_run_queue_is_not_charged():
    """A busy machine: 100 ms pass, the slice has a core for 5 of them."""
    looks = [look(40, 2, queued=38, blocked=False), look(80, 4, queued=76, blocked=False)]

    verdict = charge(point(0), 0, looks, point(100, 5, queued=95), RULES)

    assert parts(verdict) == {"wall": 100, "cpu": 5, "queued": 95}


def test_waiting_for_the_gil_is_not_charged():
    """Another thread computes; the loop's thread is off the CPU, in no system call of its own."""
    looks = [look(30, 1, blocked=False), look(60, 2, blocked=False)]

    verdict = charge(point(0), 0, looks, point(90, 3), RULES)

    assert parts(verdict) == {"wall": 90, "cpu": 3, "lost": 87}


def test_a_stopped_process_is_not_charged():
    """SIGSTOP: nobody was given a core, the loop's thread stood elsewhere before."""
    looks = [look(5, 5, blocked=False, place="a"), look(5000, 5, late=4990, blocked=True, place="b")]

    verdict = charge(point(0), 0, looks, point(5001, 6), RULES)

    assert verdict.total <= 7 * MS
    assert verdict.lost >= 4990 * MS


def test_a_wait_that_holds_the_gil_is_charged():
    """A C extension sleeps with the GIL: the watchdog asked for it every switch interval, the loop's thread did not."""
    looks = [look(100, 0, late=90, blocked=False, watch_switches=19, switches=1)]

    verdict = charge(point(0), 0, looks, point(101, 0, watch_switches=20, switches=1), RULES)

    assert verdict.waiting == 100 * MS


def test_a_wait_that_holds_the_gil_is_charged_though_its_look_was_not_finished():
    """The slice ended between the stack and the counters: nothing tells whether the thread was in a system call."""
    looks = [look(100, 0, late=90, blocked=None, complete=False, watch_switches=19, switches=6)]

    verdict = charge(point(0), 0, looks, point(100, 0, watch_switches=20, switches=6), RULES)

    assert verdict.waiting == 100 * MS


def test_a_wait_that_holds_the_gil_is_charged_though_nobody_looked():
    """The watchdog got the GIL, and lost it before it had the stack."""
    verdict = charge(point(0), 0, [], point(100, 0, watch_switches=20, switches=3), RULES)

    assert verdict.waiting == 100 * MS


def test_waiting_for_the_gil_is_not_charged_though_its_only_look_was_not_finished():
    """Three threads compute. The watchdog came in time, had the stack, lost the GIL; then the slice got it and ended.

    That nobody but the slice was slow, as where there is no kernel to ask, it cannot conclude.
    """
    looks = [look(85, 1, late=0.5, blocked=None, complete=False, watch_switches=3, switches=17)]

    verdict = charge(point(0), 0, looks, point(85, 1, watch_switches=3, switches=17), RULES)

    assert parts(verdict) == {"wall": 85, "cpu": 1, "lost": 84}


def test_a_wait_that_was_seen_goes_on_in_a_look_that_was_not_finished():
    looks = [look(20, 0, blocked=True, place="a"), look(100, 0, blocked=None, complete=False, place="a", switches=1)]

    verdict = charge(point(0), 0, looks, point(100, 0, switches=1), RULES)

    assert verdict.waiting == 100 * MS


@pytest.mark.parametrize("last", [[], [look(100, 0, blocked=None, complete=False, place="a", switches=16)]],
                         ids=["nobody looked", "not finished"])  # fmt: skip
def test_a_short_wait_does_not_go_on_while_the_thread_asks_for_the_gil(last):
    """Caught in a wait of a moment, and then without the GIL that other threads had: it asked every switch interval."""
    looks = [look(20, 0, blocked=True, place="a"), *last]

    verdict = charge(point(0), 0, looks, point(100, 0, switches=16), RULES)

    assert parts(verdict) == {"wall": 100, "waiting": 20, "lost": 80}


def test_where_nothing_tells_of_system_calls_the_watchdog_is_the_control():
    """Containers may hide /proc/self/task/*/syscall, and show the counters."""
    looks = [look(each, 0, late=0.1, blocked=None) for each in (20, 60, 95)]

    assert charge(point(0), 0, looks, point(100, 0), RULES).waiting == 100 * MS


def test_what_the_watchdog_waited_before_the_slice_is_no_sign_of_a_wait_with_the_gil():
    """Its counters are of ten milliseconds before: other threads had the GIL then, and now the machine stood still."""
    looks = [look(30, 1, late=18, blocked=False, watch_switches=5, switches=1)]

    verdict = charge(point(0), 10 * MS, looks, point(31, 1, watch_switches=5, switches=1), RULES)

    assert verdict.waiting == 0


def test_a_process_that_is_stopped_after_a_time_in_the_run_queue_with_the_gil_is_not_charged():
    """Until it was stopped, the watchdog waited for the GIL that the thread in the queue had."""
    looks = [look(185, 5, queued=60, late=170, blocked=False, watch_switches=13, switches=4)]

    verdict = charge(point(0), 0, looks, point(186, 6, queued=60, watch_switches=14, switches=5), RULES)

    assert verdict.waiting == 0


def test_anothers_c_call_with_the_gil_is_not_charged():
    """Both threads asked for the GIL all the time: a third one had it."""
    looks = [look(100, 0, late=90, blocked=False, watch_switches=19, switches=19)]

    verdict = charge(point(0), 0, looks, point(101, 0, watch_switches=20, switches=20), RULES)

    assert verdict.total == 0


def test_importing_is_told_apart_and_not_charged():
    looks = [look(50, 50, blocked=False, importing=True), look(90, 90, blocked=False)]

    verdict = charge(point(0), 0, looks, point(100, 100), RULES)

    assert parts(verdict) == {"wall": 100, "cpu": 50, "importing": 50}


def test_a_starting_thread_is_no_wait():
    looks = [look(50, 1, blocked=True, harmless=True)]

    assert charge(point(0), 0, looks, point(60, 1), RULES).total == 1 * MS


def test_a_garbage_collection_is_taken_off():
    looks = [look(50, 50, blocked=False)]

    verdict = charge(point(0), 0, looks, point(100, 100), RULES, collections=[80 * MS])

    assert parts(verdict) == {"wall": 100, "cpu": 20, "collecting": 80}


def test_on_a_busy_machine_too_only_the_cpu_time_of_a_collection_is_taken_off():
    looks = [look(50, 25, queued=25, blocked=False)]

    verdict = charge(point(0), 0, looks, point(100, 50, queued=50), RULES, collections=[40 * MS])

    assert verdict.cpu == 10 * MS


@pytest.mark.parametrize(
    ("collections", "cpu"),
    [([20, 20, 20], 80), ([20, 20], 60), ([30, 30, 30], 10)],
    ids=["many in a slice that works", "two", "of a slice that does nothing else"],
)
def test_many_collections_in_a_slice_that_works_are_of_its_own_making(collections, cpu):
    looks = [look(50, 50, blocked=False)]

    verdict = charge(point(0), 0, looks, point(100, 100), RULES, collections=[each * MS for each in collections])

    assert verdict.cpu == cpu * MS


@pytest.mark.parametrize(("collected", "work", "cpu"), [(20, 60, 100), (20, 30, 30), (2, 60, 60)],
                         ids=["of its own making", "longer than its work", "few"])  # fmt: skip
def test_a_long_collection_in_a_slice_that_makes_many_objects_is_the_price_of_its_work(collected, work, cpu):
    looks = [look(50, 50, blocked=False)]
    collections = [(100 - work) * MS]

    verdict = charge(point(0), 0, looks, point(100, 100), RULES, collections=collections, collected=collected)

    assert verdict.cpu == cpu * MS


def test_what_earlier_slices_used_is_not_charged():
    """The counters are up to some milliseconds older than the slice."""
    looks = [look(50, 45, blocked=False)]

    verdict = charge(point(0, 0), 5 * MS, looks, point(55, 50), RULES)

    assert verdict.cpu == 45 * MS


def test_a_slice_that_nobody_looked_at_is_charged_with_its_cpu_time_only():
    verdict = charge(point(0), 0, [], point(100, 30), RULES)

    assert parts(verdict) == {"wall": 100, "cpu": 30, "lost": 70}


@pytest.mark.parametrize(("late", "waiting"), [(0.1, 100), (20, 0)], ids=["in time", "late itself"])
def test_elsewhere_the_watchdog_is_the_control(late, waiting):
    """No counters of the kernel's: a wait counts when the watchdog came in time, and so the machine was free."""
    looks = [look(each, None, late=late) for each in (20, 60, 95)]

    verdict = charge(point(0), 0, looks, point(100, 0), PORTABLE)

    assert verdict.waiting == waiting * MS


def test_without_a_cpu_clock_of_other_threads_the_whole_is_spread():
    looks = [look(50, None, late=20), look(100, None, late=20)]

    verdict = charge(point(0, 0), 0, looks, point(100, 40), PORTABLE)

    assert verdict.cpu == 40 * MS
    assert [cpu for cpu, _ in verdict.shares] == [20 * MS, 20 * MS]


def test_the_shares_tell_which_look_was_the_heavy_one():
    looks = [look(10, 10, blocked=False), look(90, 10, blocked=True), look(95, 15, blocked=False)]

    verdict = charge(point(0), 0, looks, point(100, 20), RULES)

    assert [(cpu / MS, waiting / MS) for cpu, waiting in verdict.shares] == [(10, 0), (0, 80), (10, 0)]
