"""The baseline: a file of the blocks that are known, so that only new ones fail. One entry a site, stable under moved
lines: it is known by its path, function and call."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_asyncapi.blocking.model import Block, relative
from pytest_asyncapi.errors import BlockingError

VERSION = 1
_UPDATE = "--blocking-update-baseline"


@dataclass
class Baseline:
    """Known sites by fingerprint, and which of them this run saw."""

    path: Path
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, path: Path, *, may_be_missing: bool = False) -> Baseline:
        if not path.exists():
            if may_be_missing:
                return cls(path)
            raise BlockingError(f"{path}: there is no baseline. Write one with --blocking-baseline={path} {_UPDATE}")
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BlockingError(f"{path}: no baseline of blocks: {error}") from None
        if not isinstance(data, dict) or "version" not in data or not isinstance(data.get("blocks"), list):
            raise BlockingError(f'{path}: no baseline of blocks: expected {{"version": {VERSION}, "blocks": [...]}}')
        if data["version"] != VERSION:
            raise BlockingError(
                f"{path}: a baseline of version {data['version']!r}; this release reads version {VERSION}."
                f" Write it anew with {_UPDATE}"
            )
        try:
            entries = {entry["fingerprint"]: dict(entry) for entry in data["blocks"]}
        except (TypeError, KeyError) as error:
            raise BlockingError(f"{path}: no baseline of blocks: an entry without {error}") from None
        return cls(path, entries)

    def knows(self, block: Block, root: str) -> bool:
        fingerprint = block.fingerprint(root)
        if fingerprint in self.entries:
            self.seen.add(fingerprint)
            return True
        return False

    def gone(self) -> list[str]:
        """The known sites that this run did not see."""
        return [_site(entry) for fingerprint, entry in self.entries.items() if fingerprint not in self.seen]

    def write(self, blocks: Iterable[Block], root: str) -> int:
        """Write the sites of these blocks. What was written by hand beside a known site (a reason) stays."""
        found: dict[str, dict[str, Any]] = {}
        for block in blocks:
            fingerprint = block.fingerprint(root)
            entry = dict(self.entries.get(fingerprint, {}))
            entry |= {
                "fingerprint": fingerprint,
                "file": relative(block.site.file, root),
                "function": block.site.function,
                "call": block.call,
                "kind": block.kind,
            }
            found.setdefault(fingerprint, entry)
        ordered = sorted(found.values(), key=lambda each: (each["file"], each["function"], each["call"]))
        text = json.dumps({"version": VERSION, "blocks": ordered}, indent=2, ensure_ascii=False)
        try:
            self.path.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise BlockingError(f"{self.path}: the baseline cannot be written: {error}") from None
        return len(ordered)


def _site(entry: dict[str, Any]) -> str:
    call = entry.get("call") or entry.get("kind", "")
    return f"{entry.get('file')} in {entry.get('function')}: {call}"
