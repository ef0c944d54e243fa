"""The page itself: what a reader needs without a script stands in the text, the timelines are drawn from data."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from pytest_asyncapi.page import document, read
from pytest_asyncapi.report.model import Test

EVENTS = 50_000  # of a whole page: some 3 MB
FEWEST = 12  # of a passing test, however many there are

KINDS = {
    "request": "Requests",
    "sql": "SQL",
    "redis": "Redis commands",
    "upstream": "Upstream calls",
    "block": "Blocks",
}
LANES = ["Requests", "SQL", "Redis", "Upstream", "Blocks"]
ORDER = ("failed", "error", "xpassed", "rerun", "passed", "xfailed", "skipped")
WORDS = {"error": "errors"}


def page(tests: Sequence[Test], *, title: str, seconds: float, epoch: float, looks_for_blocks: bool = True) -> str:
    """The page of a run that took `seconds` and began at `epoch`."""
    tests = sorted(tests, key=lambda test: ORDER.index(test.outcome) if test.outcome in ORDER else 0)
    counts = {name: sum(test.outcome == name for test in tests) for name in ORDER}
    bad = counts["failed"] + counts["error"]
    verdict = f"{bad} of {len(tests)} failed" if bad else f"{len(tests)} test{'s' * (len(tests) != 1)}, none failed"
    heading = f"{verdict} · {title}" if tests else f"No tests · {title}"
    body = [
        '<header class="top">',
        f'<h1 class="{"bad" if bad else "good" if tests else ""}">{escape(verdict if tests else "No test ran")}</h1>',
        f'<p class="quiet">{escape(title)} · {time.strftime("%Y-%m-%d %H:%M", time.localtime(epoch))} · '
        f"{_seconds(seconds)}{_workers(tests)}</p>",
        f'<p class="outcomes">{_outcomes(counts)}</p>',
        "</header>",
        _cards(tests, looks_for_blocks),
        _CONTROLS.format(options=_options(counts), hidden="" if len(tests) > 1 else " hidden"),
        '<main id="tests" aria-live="off"></main>',
        '<p id="none" class="empty" hidden>No test fits this filter. '
        '<button type="button" id="reset">Show all</button></p>',
        "" if tests else '<p class="empty">pytest has collected no test, or ended before the first.</p>',
        _without_script(tests),
        f'<script type="application/json" id="data">{_data(tests)}</script>',
    ]
    here = Path(__file__)
    return document(
        heading,
        "\n".join(filter(None, body)),
        style=read(here.with_name("page.css")),
        script=read(here.with_name("page.js")),
    )


_CONTROLS = """<form class="controls" role="search"{hidden}>
<label class="find"><span class="hidden">Find tests</span>
<input id="find" type="search" placeholder="Find by name, SQL, URL, key" autocomplete="off" spellcheck="false"></label>
<label>Show <select id="outcome"><option value="">all</option>{options}</select></label>
<label>Order <select id="order"><option value="">failing first</option><option value="slow">slowest first</option>
<option value="events">most events first</option><option value="name">by name</option></select></label>
<span id="shown" class="quiet" role="status"></span>
</form>"""


def _outcomes(counts: dict[str, int]) -> str:
    found = [(name, count) for name, count in counts.items() if count]
    return " ".join(
        f'<span class="outcome {name}">{count} {WORDS.get(name, name) if count != 1 else name}</span>'
        for name, count in found
    )


def _options(counts: dict[str, int]) -> str:
    return "".join(f'<option value="{name}">{name} ({count})</option>' for name, count in counts.items() if count)


def _workers(tests: Sequence[Test]) -> str:
    workers = {test.worker for test in tests if test.worker}
    return f" · {len(workers)} workers" if len(workers) > 1 else ""


def _cards(tests: Sequence[Test], looks_for_blocks: bool) -> str:
    """The sums of the run, which are the key of the colours too."""
    cards = []
    for kind, name in KINDS.items():
        count = sum(int(test.counts.get(kind, (0, 0))[0]) for test in tests)
        milliseconds = sum(test.counts.get(kind, (0, 0))[1] for test in tests)
        if kind == "block" and not looks_for_blocks:
            value, more = "–", "not looked for: --detect-blocking"
        else:
            used = sum(bool(test.counts.get(kind)) for test in tests)
            value = f"{count:,}"
            more = f"in {used:,} test{'s' * (used != 1)}" if count else "none"
            if count and kind != "redis":
                more += f", {_seconds(milliseconds / 1000)}"
        cards.append(
            f'<li class="card {kind}"><span class="name"><i></i>{name}</span><b>{value}</b>'
            f'<span class="quiet">{more}</span></li>'
        )
    return f'<ul class="cards">{"".join(cards)}</ul>'


def _seconds(value: float) -> str:
    if value >= 120:
        return f"{int(value // 60)} min {value % 60:.0f} s"
    if value >= 10:
        return f"{value:.0f} s"
    return f"{value:.1f} s" if value >= 1 else f"{value * 1000:.0f} ms" if value >= 0.01 else f"{value * 1000:.1f} ms"


def _without_script(tests: Sequence[Test]) -> str:
    failing = [test for test in tests if test.failed]
    items = "".join(
        f"<h2><code>{escape(test.name)}</code></h2><pre>{escape(test.message)}</pre>" for test in failing[:100]
    )
    return f"<noscript><p>The timelines need JavaScript; it is in this file.</p>{items}</noscript>"


# ---- the data


def _data(tests: Sequence[Test]) -> str:
    """JSON in which each text stands once; nothing in it can end the script element."""
    texts: dict[str, int] = {"": 0}

    def text(value: str) -> int:
        return texts.setdefault(value, len(texts))

    kinds = list(KINDS)
    rows = []
    limit = _limit(tests)
    for test in tests:
        kept = test.events
        if not test.failed and len(kept) > limit:
            kept = [*kept[: limit // 2], *kept[-(limit - limit // 2) :]]
        rows.append(
            {
                "n": test.name,
                "o": test.outcome,
                "s": round(test.seconds * 1000, 1),
                "w": test.worker,
                "m": test.message,
                "x": test.sections,
                "p": [(name, round(begin, 1), round(took, 1)) for name, begin, took in test.phases],
                "c": [int(test.counts.get(kind, (0, 0))[0]) for kind in kinds],
                "l": test.left_out + len(test.events) - len(kept),
                "e": [_event(row, kinds, text) for row in kept],
            }
        )
    rows = [{key: value for key, value in row.items() if value or key in ("n", "o", "s", "c")} for row in rows]
    data = {"kinds": kinds, "lanes": LANES, "tests": rows, "texts": list(texts)}
    written = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return written.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _event(row: Any, kinds: list[str], text: Any) -> list[Any]:
    kind, at, took, label, outcome, detail, bad = row
    event = [kinds.index(kind), round(at, 1), None if took is None else round(took, 1 if took >= 10 else 2)]
    event += [text(label), text(outcome), text(detail), int(bad)]
    while event and not event[-1] and len(event) > 4:
        event.pop()
    return event


def _limit(tests: Sequence[Test]) -> int:
    """How many events a passing test may show, so that the page stays one that a browser opens at once."""
    passing = sorted(len(test.events) for test in tests if not test.failed)
    left = EVENTS - sum(len(test.events) for test in tests if test.failed)
    if sum(passing) <= left or not passing:
        return max(passing, default=0)
    for index, size in enumerate(passing):  # the small ones keep all; the large ones share what is left
        share = left // (len(passing) - index)
        if size > share:
            return max(FEWEST, share)
        left -= size
    return passing[-1]
