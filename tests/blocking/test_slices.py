"""What a slice notes of itself, and what of that is told already."""

import gc
import threading

from pytest_asyncapi.blocking import judging, model, slices
from pytest_asyncapi.blocking.charging import Look, Point, Rules

MS = 1_000_000


def collections_of(took: int) -> slices.Slot:
    """What a slice has noted after one collection of the oldest generation that took so long."""
    cpu = iter([1, 1 + took])
    collecting = slices._watch_collections(clock=lambda: 7, cpu_clock=lambda: next(cpu), count=gc.get_count)
    slot = slices.Slot()
    slot.handle, slot.start = object(), 3

    def run() -> None:
        slices._local.slot = slot
        collecting("start", {"generation": 2})
        collecting("stop", {"generation": 2})

    thread = threading.Thread(target=run)  # whose slot is its own
    thread.start()
    thread.join()
    return slot


def test_a_long_collection_is_noted_and_a_short_one_only_counted():
    short, long = collections_of(5 * MS), collections_of(6 * MS)

    assert (short.collected, short.collections) == (1, [])
    assert (long.collected, long.collections) == (1, [(7, 6 * MS)])


def work() -> None:
    pass


def test_what_a_named_call_has_told_is_not_told_again_by_its_slice():
    """`time.sleep()` is named as it is called: the looks at that line say nothing more."""
    line = work.__code__.co_firstlineno + 1

    def block_of(told: set[tuple[str, int]]) -> tuple[model.Block, object] | None:
        looks = [
            (Look(time * MS, time * MS, blocked=True), [(work.__code__, line, 0)], {"type": "http", "path": "/"})
            for time in (10, 20)
        ]
        late = judging.Slice(None, 0, Point(21 * MS, 20 * MS), Point(0, 0), looks, [], 0, None, "", Rules(tick=5 * MS))
        return judging.of_slice(late, late.charge(), told)

    found = block_of(set())
    assert found is not None
    assert (found[0].site.function, found[0].site.line) == ("work", line)
    assert block_of({(work.__code__.co_filename, line)}) is None
