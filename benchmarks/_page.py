"""docs/performance.md: each benchmark's tables between two marks, written anew and compared with what stood there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
WORSE = 0.2  # how much worse a figure may be before it is named
_NO_RATIO = re.compile(r"\b(ms|µs|MB|limit|per jump)$|^(quartiles|added)")
_HIGHER = ("higher is better", "times faster")


class Figure(NamedTuple):
    """A cell of a table: a ratio, and which direction is the better one."""

    value: float
    higher_is_better: bool

    def worse_than(self, before: Figure, limit: float = WORSE) -> bool:
        if self.higher_is_better:
            return self.value < before.value * (1 - limit)
        return self.value > before.value * (1 + limit)


def marks(room: str) -> tuple[str, str]:
    """What stands before and after the tables of a room."""
    return f"<!-- {room}: written by `python -m benchmarks` -->", f"<!-- end of {room} -->"


def tables(page: str, room: str) -> str | None:
    """What stands between the marks of a room; None where the page has none."""
    begin, end = marks(room)
    if begin not in page or end not in page:
        return None
    return page.partition(begin)[2].partition(end)[0].strip()


def with_tables(page: str, room: str, printed: str) -> str:
    """The page with other tables for a room; all else on it stays as it is."""
    before = tables(page, room)
    if before is None:
        raise ValueError(f"{PAGE.name} has no marks of {room!r}: write {marks(room)[0]} and {marks(room)[1]}")
    begin, end = marks(room)
    head, _, rest = page.partition(begin)
    return f"{head}{begin}\n\n{cleaned(printed)}\n\n{end}{rest.partition(end)[2]}"


def cleaned(printed: str) -> str:
    """What a benchmark printed, without the headings that the page has itself."""
    return re.sub(r"(?m)^#{1,2} .*\n+", "", printed).strip()


def figures(text: str) -> dict[tuple[str, str, str], Figure]:
    """The ratios of all tables in Markdown, by the title above them, the row and the column."""
    found = {}
    title, header = "", None
    for line in text.splitlines():
        if line.startswith("#"):
            title = line.lstrip("# ")
        if not line.startswith("|"):
            header = None
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if header is None:
            header = cells
        elif not set(line) <= set("|-: "):
            for column, cell in zip(header[1:], cells[1:], strict=False):
                number = re.match(r"[+-]?[\d,]+(\.\d+)?", cell)
                if number and not _NO_RATIO.search(column):
                    higher = any(words in f"{title} {column}" for words in _HIGHER)
                    key = title.partition(" (")[0], cells[0], column
                    found[key] = Figure(float(number[0].replace(",", "")), higher)
    return found


def regressions(before: str, now: str, ours: tuple[str, ...] = ()) -> Iterator[str]:
    """A line for each figure that is more than a fifth worse; `ours` are parts of the names of rows that count."""
    old = figures(before)
    for key, figure in figures(now).items():
        title, row, column = key
        if key in old and figure.worse_than(old[key]) and (not ours or any(name in row for name in ours)):
            where = ", ".join(filter(None, (title, row, column)))
            yield f"{where}: {figure.value:g}, was {old[key].value:g}"
