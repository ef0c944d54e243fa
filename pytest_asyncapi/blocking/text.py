"""How blocks read: the failure of a test, and the closing section of a run."""

from __future__ import annotations

import linecache
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pytest_asyncapi.blocking.model import Block, Frame, relative
from pytest_asyncapi.blocking.owners import owner, package
from pytest_asyncapi.blocking.remedies import rule


def milliseconds(value: float) -> str:
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def doing(block: Block) -> str:
    """`waiting in time.sleep`, `computing in json.dumps`."""
    return f"{block.kind} in {block.call}" if block.call else block.kind


def who(block: Block) -> str:
    if block.request is not None:
        return block.request + (" (a task that it started)" if block.region == "task" else "")
    if block.region == "lifespan":
        return "the app's lifespan"
    if block.test is None:
        return "code outside of requests"
    return {"setup": "a fixture", "teardown": "a fixture"}.get(block.phase or "", "the test's own code")


def place(block: Block, root: str) -> str:
    return f"{relative(block.site.file, root)}:{block.site.line}"


def headline(block: Block, root: str) -> str:
    limit = f" (limit {milliseconds(block.limit_ms)})" if block.limit_ms else ""
    times = f", {block.count} times, {milliseconds(block.total_ms)} in all" if block.count > 1 else ""
    return (
        f"{who(block)} held the event loop for {milliseconds(block.milliseconds)}{limit}{times}: {doing(block)}"
        f" at {place(block, root)}"
    )


def crash(block: Block, root: str) -> str:
    """One line, for the short summary."""
    return f"{who(block)} blocked the event loop for {milliseconds(block.milliseconds)}: {doing(block)}"


def source(frame: Frame, before: int = 2, after: int = 1) -> list[str]:
    found = []
    for number in range(max(1, frame.line - before), frame.line + after + 1):
        line = linecache.getline(frame.file, number).rstrip()
        if line or number == frame.line:
            found.append(f"{'>' if number == frame.line else ' '}{number:5d}  {line}".rstrip())
    return found


def paragraph(block: Block, root: str) -> str:
    """The whole story of one block."""
    limit = f" (limit {milliseconds(block.limit_ms)})" if block.limit_ms else ""
    lines = [
        f"{who(block)} held the event loop for {milliseconds(block.milliseconds)}{limit}: {doing(block)}"
        f" (wall {milliseconds(block.wall_ms)}, CPU {milliseconds(block.cpu_ms)})"
    ]
    if block.count > 1:
        lines.append(f"  {block.count} times in this test, {milliseconds(block.total_ms)} in all; this is the longest")
    lines += ["", f"{place(block, root)}: in {block.site.function}"]
    lines += source(block.site)
    if block.framework:
        inner = next((frame for frame in reversed(block.stack)), None)
        if inner is not None:
            lines.append(f"  in framework code: {inner.file}:{inner.line} in {inner.function}")
    if len(block.stack) > 1:
        lines.append("  how it came there, outermost first:" + (f" (task {block.task!r})" if block.task else ""))
        lines += _way(block, root)
    lines.append(f"  instead: {block.remedy}")
    found_by = rule(block.kind, block.call) if block.site in block.chain else None  # ruff looks into coroutines only
    if found_by is not None:
        lines.append(f"  (ruff's rule {found_by} finds this one without a run)")
    if block.left_by is not None:
        lines.append(f"  the request was sent by {block.left_by}, which has ended")
    lines.append(
        f"  if it is meant: asyncapi_blocking_allow = {relative(block.site.file, root)}::{block.site.function}"
    )
    return "\n".join(lines)


def _way(block: Block, root: str) -> list[str]:
    """The user's frames, and the coroutines of libraries folded together, down to the line that holds the loop."""
    lines: list[str] = []
    folded: list[str] = []
    coroutines = set(block.chain)

    def unfold() -> None:
        if folded:
            packages = ", ".join(dict.fromkeys(folded))
            lines.append(f"    ... {len(folded)} frame{'s' * (len(folded) != 1)} of {packages}")
            folded.clear()

    for frame in block.stack:
        if owner(frame.file) == "user":
            unfold()
            spelled = "async " if frame in coroutines else ""
            lines.append(f"    {relative(frame.file, root)}:{frame.line} in {spelled}{frame.function}")
            if frame == block.site:
                lines[-1] += "  <-- holds the loop"
                break
        elif owner(frame.file) != "generated" and (lines or package(frame.file) != "asyncio"):
            folded.append(package(frame.file))
    else:
        unfold()
        if lines:
            lines[-1] += "  <-- holds the loop"
    return lines


@dataclass
class SiteTotal:
    """All blocks of one site in a run."""

    first: Block
    count: int = 0
    total: float = 0.0
    cpu: float = 0.0
    wall: float = 0.0
    longest: float = 0.0
    tests: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


def by_site(blocks: Iterable[Block]) -> list[SiteTotal]:
    """Worst first."""
    found: dict[tuple[str, int, str, str, str], SiteTotal] = {}
    for block in blocks:
        key = (block.site.file, block.site.line, block.call, block.kind, block.request or "")
        total = found.setdefault(key, SiteTotal(block))
        total.count += block.count
        total.total += block.total_ms or block.milliseconds
        if block.milliseconds > total.longest:
            total.longest, total.first = block.milliseconds, block
            total.cpu, total.wall = block.cpu_ms, block.wall_ms
        if block.test and block.test not in total.tests:
            total.tests.append(block.test)
        if block.request and block.request not in total.requests:
            total.requests.append(block.request)
    return sorted(found.values(), key=lambda each: -each.total)


def table(blocks: Sequence[Block], root: str) -> list[str]:
    """The lines of the closing section for these blocks."""
    lines: list[str] = []
    for total in by_site(blocks):
        block = total.first
        site = f"{place(block, root)} in {block.site.function}"
        lines.append(f"{milliseconds(total.total):>9}  {site}  {who(block)}  {doing(block)}")
        times = f"{total.count} times, " if total.count > 1 else "once, "
        lines.append(
            f"{'':11}{times}at most {milliseconds(total.longest)} (wall {milliseconds(total.wall)}, "
            f"CPU {milliseconds(total.cpu)})  tests: {_some(total.tests)}"
        )
        lines.append(f"{'':11}instead: {block.remedy}")
    return lines


def _some(tests: list[str], most: int = 3) -> str:
    shown = ", ".join(tests[:most]) or "none"
    return shown + (f" and {len(tests) - most} more" if len(tests) > most else "")
