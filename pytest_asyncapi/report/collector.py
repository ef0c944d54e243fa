"""A run as it comes in, test by test, from this process or from the workers of xdist. Knows no pytest."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

from pytest_asyncapi.masking import masked, masked_prose
from pytest_asyncapi.report.model import Test

MESSAGE = 12_000  # characters of a failure, of which the end says most
SECTION = 8_000
SECTIONS = 12

_SHOWN = ("wall_ms", "cpu_ms", "charged_ms", "total_ms", "count", "kind", "call", "request", "remedy",
                     "status", "allowed_by", "started")  # fmt: skip


class Collector:
    """`tests` in the order in which they began."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.tests: list[Test] = []
        self._open: dict[tuple[str, str], Test] = {}

    def add(
        self,
        name: str,
        when: str,
        outcome: str,
        seconds: float,
        *,
        worker: str = "",
        message: str = "",
        sections: Iterable[tuple[str, str]] = (),
        timeline: str = "",
        blocks: str = "",
    ) -> None:
        """One phase of a test. `outcome` is that of the phase; `message` and `sections` are for those that say why."""
        test = self._test(name, when, worker)
        test.seconds += seconds
        test.blocks += [self._compact(block) for block in json.loads(blocks)] if blocks else []
        if _WEIGHT.get(outcome, 3) > _WEIGHT.get(test.outcome, 3) or (when == "call" and not test.failed):
            test.outcome = outcome
        if message:
            shown = masked_prose(_cut(message, MESSAGE))
            test.message = f"{test.message}\n\n{shown}" if test.message and test.message != shown else shown
        if test.failed:
            known = {title for title, _ in test.sections}
            for title, text in sections:
                if title not in known and len(test.sections) < SECTIONS:
                    test.sections.append((title, masked_prose(_cut(text, SECTION))))
        if timeline:
            test.load(timeline)
        if when == "teardown":
            test.ended = True

    def _test(self, name: str, when: str, worker: str) -> Test:
        test = self._open.get((name, worker))
        if test is None or (when == "setup" and test.ended):  # a plugin runs it once more
            if test is not None:
                test.outcome = "rerun"
            test = self._open[name, worker] = Test(masked(name), worker=worker)
            self.tests.append(test)
        return test

    def _compact(self, block: dict[str, Any]) -> dict[str, Any]:
        """What the page needs of a block: the stacks, which are long, stand in the blocks' own report."""
        site = block["site"]
        file = site["file"]
        if file.startswith(self.root + os.sep):
            file = file[len(self.root) + 1 :].replace(os.sep, "/")
        return {name: block[name] for name in _SHOWN} | {"place": f"{file}:{site['line']}"}


_WEIGHT = {"passed": 0, "skipped": 1, "xfailed": 1, "xpassed": 1, "rerun": 1, "failed": 4, "error": 4}


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit // 4]}\n... (cut) ...\n{text[-limit * 3 // 4 :]}"
