"""A run with the detector on: what is collected, what fails, and what is told at the end. Knows no pytest."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_asyncapi.blocking import text
from pytest_asyncapi.blocking.allow import Rule, parse
from pytest_asyncapi.blocking.baseline import Baseline
from pytest_asyncapi.blocking.detector import DETECTOR
from pytest_asyncapi.blocking.model import Block, relative
from pytest_asyncapi.blocking.recorder import Recorder
from pytest_asyncapi.blocking.scopes import CURRENT_TEST
from pytest_asyncapi.errors import BlockingError, ConfigurationError
from pytest_asyncapi.masking import masked_prose
from pytest_asyncapi.page import output

if TYPE_CHECKING:
    from pytest_asyncapi.settings import Settings

_FORMATS = (".json", ".sarif", ".html")
_current: list[Session] = []


def current() -> Session | None:
    return _current[-1] if _current else None


class Session:
    """Made before the first test; wrong paths, patterns and baselines are errors here."""

    def __init__(self, settings: Settings, root: Path, start: Path) -> None:
        self.mode = settings.detect_blocking
        self.scope = settings.blocking_scope
        self.threshold = settings.blocking_threshold
        self.root = str(root)
        self.worker = False
        self.tests = 0
        self.collected: list[Block] = []
        self.unused_markers: list[str] = []
        self.rules = [parse(pattern, "asyncapi_blocking_allow") for pattern in settings.blocking_allow]
        self.recorder = Recorder(self.threshold, self.root, self.rules)
        self.report = output("--blocking-report", settings.blocking_report, start, _FORMATS)
        self.update = settings.blocking_update_baseline
        self.baseline: Baseline | None = None
        if settings.blocking_baseline:
            self.baseline = Baseline.read(start / settings.blocking_baseline, may_be_missing=self.update)
        elif self.update:
            raise ConfigurationError(
                "--blocking-update-baseline: where to? Name the file: --blocking-baseline=FILE (or set it in the ini"
                " file as asyncapi_blocking_baseline)"
            )
        self._marks: list[Rule] = []
        _current[:] = [self]

    def header(self) -> list[str]:
        tool = _debugger()
        if tool:
            return [f"asyncapi: {tool} traces this process, so slow slices of the event loop are not judged"]
        if sys.gettrace() is not None:
            return ["asyncapi: a tracer is active: CPU time on the event loop is scaled down by its usual cost"]
        return []

    # ---- a test

    def begin(self, test: str) -> None:
        CURRENT_TEST[0] = test
        self._marks = []

    def apply(self, threshold: float, patterns: Sequence[tuple[str, str]], test: str) -> None:
        """The marker's threshold and patterns of the test that begins."""
        for pattern, reason in patterns:
            rule = parse(pattern, f"{test}: allow_blocking")
            rule.reason = reason
            self._marks.append(rule)
        self.recorder.test_rules = self._marks
        self._limit(threshold)

    def _limit(self, threshold: float) -> None:
        nanoseconds = int(threshold * 1e9)
        if nanoseconds != self.recorder.threshold:
            self.recorder.threshold = nanoseconds
            DETECTOR.threshold_changed()

    def phase(self, name: str) -> None:
        self.recorder.phase = name

    def end(self) -> None:
        CURRENT_TEST[0] = None
        self.recorder.phase = None
        self.recorder.test_rules = []
        self._limit(self.threshold)

    def take(self) -> list[Block]:
        """The blocks since the last time, judged; threads that are in the middle of a late slice are waited for."""
        DETECTOR.settle()
        blocks = self.recorder.take()
        self._judge(blocks)
        return sorted(blocks, key=lambda block: -block.milliseconds)

    def failing(self) -> list[Block]:
        """Those since the last `take()` that a strict run would fail for."""
        DETECTOR.settle()
        blocks = self.recorder.all()
        self._judge(blocks)
        return [block for block in blocks if self.fails(block)]

    def _judge(self, blocks: Iterable[Block]) -> None:
        for block in blocks:
            if self.baseline is not None and block.status == "new" and self.baseline.knows(block, self.root):
                block.status = "known"

    def fails(self, block: Block) -> bool:
        return block.status == "new" and not self.update and (block.of_app or self.scope == "all")

    def unused_marks(self) -> list[str]:
        return [rule.where + f"({rule.text!r})" for rule in self._marks if not rule.used]

    # ---- texts

    def failure(self, blocks: Sequence[Block]) -> str:
        return "\n\n".join(text.paragraph(block, self.root) for block in blocks)

    def summary(self, blocks: Sequence[Block]) -> str:
        more = f" (and {len(blocks) - 1} more)" if len(blocks) > 1 else ""
        return f"{text.place(blocks[0], self.root)}: {text.crash(blocks[0], self.root)}{more}"

    def property(self, block: Block) -> str:
        allowed = {"allowed": f" [allowed by {block.allowed_by}]", "known": " [in the baseline]"}.get(block.status, "")
        return masked_prose(text.headline(block, self.root) + allowed)

    # ---- the run

    def collect(self, blocks: Iterable[dict[str, Any]]) -> None:
        for data in blocks:
            block = Block.from_json(data)
            self.collected.append(block)
            if block.status == "allowed":
                for rule in self.rules:
                    if rule.text == block.allowed_by:
                        rule.used += 1
            elif self.baseline is not None:
                self.baseline.knows(block, self.root)

    def finish(self, *, whole_run: bool) -> list[str]:
        """Write the files; the lines of the closing section."""
        lines: list[str] = []
        new = [block for block in self.collected if block.status == "new"]
        of_app = [block for block in new if block.of_app]
        others = [block for block in new if not block.of_app]
        if of_app:
            sites = len(text.by_site(of_app))
            lines += [f"The app held the event loop at {sites} site{'s' * (sites != 1)}, worst first:"]
            lines += text.table(of_app, self.root)
        if others:
            fails = "" if self.scope == "all" else " (no failures; asyncapi_blocking_scope = all makes them so)"
            lines += [f"Outside of requests{fails}:", *text.table(others, self.root)]
        allowed = [block for block in self.collected if block.status == "allowed"]
        if allowed:
            lines.append(
                f"{_count(allowed, 'block')} allowed, by " + ", ".join(sorted({str(b.allowed_by) for b in allowed}))
            )
        known = [block for block in self.collected if block.status == "known"]
        if known:
            lines.append(f"{_count(text.by_site(known), 'site')} known from the baseline")
        lines += self._unused(whole_run)
        lines += self._files(whole_run)
        if DETECTOR.failure is not None:
            lines.append(f"The detector failed inside: {DETECTOR.failure}. Please report it.")
        return lines

    def _unused(self, whole_run: bool) -> list[str]:
        unused = list(dict.fromkeys(self.unused_markers))
        if whole_run and self.tests:
            unused = [rule.where + f": {rule.text}" for rule in self.rules if not rule.used] + unused
        return ["Allow rules that nothing used:", *(f"  {each}" for each in unused)] if unused else []

    def _files(self, whole_run: bool) -> list[str]:
        lines = []
        if self.baseline is not None:
            gone = self.baseline.gone()
            if self.update:
                kept = [block for block in self.collected if block.status != "allowed"]
                try:
                    sites = self.baseline.write(kept, self.root)
                    lines.append(f"{self.baseline.path}: {sites} known site{'s' * (sites != 1)} written")
                except BlockingError as error:
                    lines.append(str(error))
            elif gone and whole_run:
                lines += [
                    f"Gone from the code, but still in {self.baseline.path.name}:",
                    *(f"  {each}" for each in gone),
                ]
        if self.report is not None:
            from pytest_asyncapi.blocking.reports import write

            try:
                write(self.report, self.collected, self.root, self.threshold)
                lines.append(f"{self.report}: written")
            except OSError as error:
                lines.append(f"{self.report}: the report cannot be written: {error}")
        return lines

    def annotations(self) -> list[str]:
        """What GitHub shows at the line of a pull request."""
        if os.environ.get("GITHUB_ACTIONS") != "true":
            return []
        level = {"fail": "error", "warn": "warning"}.get(self.mode, "notice")
        lines = []
        for total in text.by_site(block for block in self.collected if self.fails(block))[:10]:
            block = total.first
            message = _escape(masked_prose(f"{text.crash(block, self.root)}\nInstead: {block.remedy}"))
            file = _escape(relative(block.site.file, self.root), inside=True)
            lines.append(f"::{level} file={file},line={block.site.line},title=Event loop blocked::{message}")
        return lines


def _escape(value: str, inside: bool = False) -> str:
    value = value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return value.replace(":", "%3A").replace(",", "%2C") if inside else value


def _count(things: Sequence[object], noun: str) -> str:
    return f"{len(things)} {noun}{'s' * (len(things) != 1)}"


def _debugger() -> str | None:
    monitoring = getattr(sys, "monitoring", None)
    if monitoring is not None and monitoring.get_tool(monitoring.DEBUGGER_ID):
        return str(monitoring.get_tool(monitoring.DEBUGGER_ID))
    tracer = sys.gettrace()
    module = getattr(tracer, "__module__", "") or ""
    return "pydevd" if "pydevd" in module or "debugpy" in module else None
