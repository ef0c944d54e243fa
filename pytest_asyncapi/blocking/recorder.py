"""One listener's blocks: repeated ones counted, requests named, allow rules applied."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from pytest_asyncapi.blocking import attribution
from pytest_asyncapi.blocking.allow import Rule, pragma
from pytest_asyncapi.blocking.model import Block
from pytest_asyncapi.blocking.scopes import CURRENT_TEST

# Blocks that the code itself expects: the reason, in the context of `expected()`.
EXPECTED: ContextVar[str | None] = ContextVar("asyncapi_blocking_expected", default=None)


class Recorder:
    """Collects blocks. `blocks` are those since the last `take()`."""

    def __init__(self, threshold: float, root: str = "", rules: Sequence[Rule] = ()) -> None:
        self.threshold = int(threshold * 1e9)
        self.root = root
        self.rules = list(rules)
        self.test_rules: list[Rule] = []
        self.phase: str | None = None
        self.expecting: str | None = None
        self._seen: dict[Any, Block] = {}
        self._blocks: list[tuple[Block, Any]] = []  # with the live scope, which names the request later
        self._lock = threading.Lock()

    # ---- the detector's side

    def block(self, block: Block, scope: Any, sent_by: str | None) -> None:
        reason = EXPECTED.get() or self.expecting
        if reason is not None:
            block.status, block.allowed_by = "allowed", f"expected: {reason}"
        block.test, block.phase = CURRENT_TEST[0], self.phase
        if sent_by is not None and sent_by != block.test:
            block.left_by = sent_by
        block.total_ms = block.milliseconds
        key = (block.site, block.call, block.kind, block.named, block.region, id(scope) if scope else None,
               block.test, block.status)  # fmt: skip
        with self._lock:
            known = self._seen.get(key)
            if known is None or not block.named:
                self._seen[key] = block
                self._blocks.append((block, scope))
                return
            known.count += 1
            known.total_ms += block.milliseconds
            if block.milliseconds > known.milliseconds:
                known.wall_ms, known.cpu_ms, known.charged_ms = block.wall_ms, block.cpu_ms, block.charged_ms

    # ---- the reader's side

    @property
    def blocks(self) -> list[Block]:
        """What was seen, without what is allowed."""
        return [block for block in self.all() if block.status != "allowed"]

    def all(self) -> list[Block]:
        with self._lock:
            blocks = list(self._blocks)
        for block, scope in blocks:
            self._complete(block, scope)
        return [block for block, _scope in blocks]

    def seen(self) -> bool:
        return bool(self._blocks)

    def take(self) -> list[Block]:
        """What was seen since the last time, allowed ones too."""
        blocks = self.all()
        with self._lock:
            del self._blocks[: len(blocks)]
            self._seen.clear()
        return blocks

    def _complete(self, block: Block, scope: Any) -> None:
        block.request = attribution.label(scope) or block.request
        if block.endpoint is None:
            block.endpoint = attribution.endpoint(scope)
        if block.framework and block.endpoint is not None and block.region in ("request", "task"):
            block.site = block.endpoint
        if block.status != "new":
            return
        for rule in (*self.test_rules, *self.rules):
            if rule.matches(block, self.root):
                rule.used += 1
                block.status, block.allowed_by = "allowed", rule.text
                return
        reason = pragma(block)
        if reason is not None:
            block.status, block.allowed_by = "allowed", f"# blocking: ok {reason}".rstrip()

    @contextmanager
    def expected(self, reason: str) -> Iterator[None]:
        """Blocks in here are meant, in every task and thread: they are reported as allowed, and fail nothing."""
        if not reason:
            raise ValueError("expected(reason=...) wants a reason, for whoever reads the report")
        before, self.expecting = self.expecting, reason
        try:
            yield
        finally:
            self.expecting = before
