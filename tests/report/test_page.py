"""The page as a file: what stands in it, how large it is, and that it needs nothing else."""

import re

from pytest_asyncapi.report.model import EVENTS, Test, Track
from pytest_asyncapi.report.page import page
from pytest_asyncapi.timeline import Event
from tests.report.conftest import data_of


def made(number: int, events: int, outcome: str = "passed") -> Test:
    """A test with so many events, as a worker sends it."""
    track = Track(
        zero=10.0, epoch=1_700_000_000.0, phases=[("setup", 10.0, 10.1), ("call", 10.1, 10.4), ("teardown", 10.4, 10.5)]
    )
    kinds = ("request", "sql", "redis", "upstream")
    test = Test(f"tests/test_shop.py::test_{number}", outcome, 0.5)
    test.load(
        track.dump(
            Event(
                kinds[each % 4],
                10.1 + each * 0.001,
                0.003,
                f"{kinds[each % 4]} {number % 50} {each % 40}",
                "200",
                "line\n" * 2,
            )
            for each in range(events)
        )
    )
    return test


def write(tests, path, **more):
    path.write_text(page(tests, title="shop", seconds=12.5, epoch=1_700_000_000.0, **more), encoding="utf-8")
    return path


def test_it_fetches_nothing(tmp_path):
    text = write([made(1, 4)], tmp_path / "run.html").read_text()

    without_data = re.sub(r'<script type="application/json".*?</script>', "", text, flags=re.DOTALL)
    assert re.findall(r"""(?:src|href)=|@import|url\(|https?://|//cdn|@font-face""", without_data) == []
    assert "default-src 'none'" in text


def test_a_text_cannot_leave_its_place(tmp_path):
    evil = "</script><script>alert(1)</script><!--"
    test = Test(f"test_it[{evil}]", "failed", message=evil, sections=[(evil, evil)])
    test.load(Track(0.0, 0.0, [("call", 0.0, 1.0)]).dump([Event("sql", 0.1, 0.1, evil, evil, evil)]))

    path = write([test], tmp_path / "run.html")

    assert path.read_text().count("<script>alert(1)") == 0
    (found,) = data_of(path)["tests"]
    assert (found["n"], found["events"][0]["label"]) == (f"test_it[{evil}]", evil)


def test_two_thousand_tests_make_a_page_of_sensible_size(tmp_path):
    tests = [made(number, 25) for number in range(1990)] + [made(number, 60, "failed") for number in range(10)]

    path = write(tests, tmp_path / "run.html")

    assert path.stat().st_size < 3_000_000
    found = data_of(path)["tests"]
    assert len(found) == 2000
    assert {len(test["events"]) for test in found[:10]} == {60}
    assert {len(test["events"]) for test in found[10:]} == {24}
    assert found[10]["l"] == 1


def test_a_few_large_tests_among_many_small_ones_are_what_is_cut(tmp_path):
    tests = [made(number, 400) for number in range(150)] + [made(number, 3) for number in range(1000)]

    found = data_of(write(tests, tmp_path / "run.html"))["tests"]

    assert {len(test["events"]) for test in found[150:]} == {3}
    assert {len(test["events"]) for test in found[:150]} == {(50_000 - 3000) // 150}


def test_one_test_keeps_its_first_and_last_events():
    test = made(1, EVENTS + 100)

    assert len(test.events) == EVENTS
    assert test.left_out == 100
    assert test.counts["sql"][0] == (EVENTS + 100) / 4
    assert (test.events[0][3], test.events[-1][3]) == ("request 1 0", "upstream 1 19")


def test_one_test(tmp_path):
    text = write([made(1, 4)], tmp_path / "run.html").read_text()

    assert '<h1 class="good">1 test, none failed</h1>' in text
    assert '<form class="controls" role="search" hidden>' in text


def test_what_a_reader_without_a_script_sees(tmp_path):
    test = Test("test_it", "failed", message="assert 1 == 2")

    text = write([test], tmp_path / "run.html").read_text()

    assert "<noscript>" in text
    assert "<h2><code>test_it</code></h2><pre>assert 1 == 2</pre>" in text
