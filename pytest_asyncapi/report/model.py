"""What the page shows: tests with their phases and events, as values that a worker can send home."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pytest_asyncapi.timeline import Event

EVENTS = 400  # of one test; a page is for reading

# kind, milliseconds since the test began, how long (None: a moment), label, outcome, detail, bad
Row = tuple[str, float, float | None, str, str, str, bool]
Phase = tuple[str, float, float]  # name, milliseconds since the test began, how long


@dataclass
class Track:
    """A test while it runs: when its phases began and ended, by `timeline.now()`."""

    zero: float
    epoch: float  # of `zero`, in seconds
    phases: list[tuple[str, float, float]] = field(default_factory=list)

    def dump(self, events: Iterable[Event]) -> str:
        """The phases and the events as text."""
        rows = sorted((self._row(event) for event in events), key=lambda row: row[1])
        kept = rows if len(rows) <= EVENTS else [*rows[: EVENTS // 2], *rows[-EVENTS // 2 :]]
        counts: dict[str, list[float]] = {}
        for row in rows:
            count = counts.setdefault(row[0], [0, 0.0])
            count[0] += 1
            count[1] = round(count[1] + (row[2] or 0), 2)
        return json.dumps(
            {
                "epoch": self.epoch,
                "phases": [(name, _ms(begin - self.zero), _ms(end - begin)) for name, begin, end in self.phases],
                "counts": counts,
                "events": kept,
                "left_out": len(rows) - len(kept),
            }
        )

    def _row(self, event: Event) -> Row:
        took = None if event.seconds is None else _ms(event.seconds)
        return (event.kind, _ms(event.began - self.zero), took, event.label, event.outcome, event.detail, event.bad)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)


@dataclass
class Test:
    """A test of the page."""

    __test__ = False  # pytest does not take it for a test class

    name: str
    outcome: str = "passed"  # or failed, error, skipped, xfailed, xpassed, rerun
    seconds: float = 0.0
    worker: str = ""
    message: str = ""  # the failure, or why it was skipped
    sections: list[tuple[str, str]] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)
    counts: dict[str, list[float]] = field(default_factory=dict)
    left_out: int = 0
    blocks: list[dict[str, Any]] = field(default_factory=list)
    ended: bool = False

    @property
    def failed(self) -> bool:
        return self.outcome in ("failed", "error")

    def load(self, text: str) -> None:
        """Take what `Track.dump` wrote, and date the blocks by it."""
        data = json.loads(text)
        self.phases = [(name, begin, took) for name, begin, took in data["phases"]]
        self.events = [(kind, at, took, *rest) for kind, at, took, *rest in data["events"]]
        self.counts = data["counts"]
        self.left_out = data["left_out"]
        for block in self.blocks:
            row = _block(block, data["epoch"])
            self.events.append(row)
            count = self.counts.setdefault("block", [0, 0.0])
            count[0] += block["count"]
            count[1] = round(count[1] + block["total_ms"], 2)
        self.events.sort(key=lambda row: row[1])
        self.blocks = []


def _block(block: dict[str, Any], epoch: float) -> Row:
    doing = f"{block['kind']} in {block['call']}" if block["call"] else block["kind"]
    lines = [f"in {block['request']}"] if block["request"] else []
    lines.append(f"wall {block['wall_ms']:.1f} ms, CPU {block['cpu_ms']:.1f} ms")
    if block["count"] > 1:
        lines.append(f"{block['count']} times, {block['total_ms']:.0f} ms in all; this is the longest")
    if block["status"] == "new":
        lines.append(f"instead: {block['remedy']}")
    else:
        lines.append(f"allowed: {block['allowed_by']}" if block["status"] == "allowed" else "known from the baseline")
    return (
        "block",
        round((block["started"] - epoch) * 1000, 2),
        round(block["wall_ms"], 2),
        f"{doing} at {block['place']}",
        f"{block['charged_ms']:.0f} ms",
        "\n".join(lines),
        block["status"] == "new",
    )
