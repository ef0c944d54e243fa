"""The tables of docs/performance.md: read, compared and written."""

import pkgutil
import tomllib

import pytest

import benchmarks
from benchmarks._page import PAGE, Figure, cleaned, figures, marks, regressions, tables, with_tables

PRINTED = """\
## The client

### Requests a CPU second, as a ratio to httpx2 (higher is better)

| | a trivial endpoint | 1 MB in one piece |
|---|---|---|
| httpx2 | 1.00 (1.00 to 1.00) | 1.00 (1.00 to 1.00) |
| ours | 1.28 (1.20 to 1.31) | 0.89 (0.80 to 0.93) |

### Reset a test (rollback is 1)

| | ratio (quartiles) | median ms |
|---|---|---|
| commit | 1,010.33 (9.90 to 11.20) | 3.95 |

1000 tests in one loop: memory +0.1 MB
"""


def test_the_figures_of_tables():
    assert figures(PRINTED) == {
        ("Requests a CPU second, as a ratio to httpx2", "httpx2", "a trivial endpoint"): Figure(1.0, True),
        ("Requests a CPU second, as a ratio to httpx2", "ours", "a trivial endpoint"): Figure(1.28, True),
        ("Reset a test", "commit", "ratio (quartiles)"): Figure(1010.33, False),
    } | {
        ("Requests a CPU second, as a ratio to httpx2", name, "1 MB in one piece"): Figure(value, True)
        for name, value in (("httpx2", 1.0), ("ours", 0.89))
    }


@pytest.mark.parametrize(
    ("before", "now", "higher_is_better", "worse"),
    [
        (1.0, 1.19, False, False),
        (1.0, 1.21, False, True),
        (1.0, 0.5, False, False),
        (1.0, 0.81, True, False),
        (1.0, 0.79, True, True),
        (1.0, 2.0, True, False),
        (0.0, 1.0, False, True),  # false alarms
    ],
)
def test_what_is_worse(before, now, higher_is_better, worse):
    assert Figure(now, higher_is_better).worse_than(Figure(before, higher_is_better)) is worse


def test_a_regression_is_named():
    slower = PRINTED.replace("1.28 (", "1.00 (").replace("| 1,010.33 (", "| 1,300.5 (")

    assert list(regressions(PRINTED, slower)) == [
        "Requests a CPU second, as a ratio to httpx2, ours, a trivial endpoint: 1, was 1.28",
        "Reset a test, commit, ratio (quartiles): 1300.5, was 1010.33",
    ]
    assert list(regressions(PRINTED, slower, ours=("ours",))) == [
        "Requests a CPU second, as a ratio to httpx2, ours, a trivial endpoint: 1, was 1.28"
    ]
    assert list(regressions(PRINTED, PRINTED)) == []
    assert list(regressions("", PRINTED)) == []


def test_only_what_is_between_the_marks_is_written():
    begin, end = marks("client")
    page = f"# Performance\n\nProse.\n\n{begin}\n\nold\n\n{end}\n\nMore prose.\n"

    written = with_tables(page, "client", PRINTED)

    assert written == f"# Performance\n\nProse.\n\n{begin}\n\n{cleaned(PRINTED)}\n\n{end}\n\nMore prose.\n"
    assert tables(written, "client") == cleaned(PRINTED)
    assert "## The client" not in written.replace("### ", "")
    assert with_tables(written, "client", PRINTED) == written


def test_a_room_that_the_page_does_not_have():
    with pytest.raises(ValueError, match=r"performance\.md has no marks of 'nothing'"):
        with_tables("", "nothing", PRINTED)


def test_the_page_has_a_place_for_each_benchmark_with_ratios_in_it():
    page = PAGE.read_text()
    rooms = {module.name for module in pkgutil.iter_modules(benchmarks.__path__) if not module.name.startswith("_")}

    for room in rooms - {"blocking_corpus"}:
        assert tables(page, room) is not None, room
    for room in ("client", "database", "cache", "clock", "upstream"):
        assert figures(tables(page, room)), room


def test_the_peers_are_pinned_for_the_benchmarks_only():
    groups = tomllib.loads((PAGE.parents[1] / "pyproject.toml").read_text())["dependency-groups"]

    assert all("==" in each for each in groups.pop("benchmarks") if isinstance(each, str))
    assert not any("==" in each for group in groups.values() for each in group if isinstance(each, str))
