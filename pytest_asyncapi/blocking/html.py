"""The report as one self-contained page: the sites, and for each test a timeline and a flame graph of its blocks."""

from __future__ import annotations

import html
from collections.abc import Sequence

from pytest_asyncapi.blocking import text
from pytest_asyncapi.blocking.model import Block, Frame, relative
from pytest_asyncapi.masking import masked_prose
from pytest_asyncapi.page import document

_STYLE = """
.line, .flame { position: relative; background: var(--panel); border-radius: 3px; margin: .4rem 0; overflow: hidden; }
.line { height: 22px; } .line a, .flame div { position: absolute; overflow: hidden; white-space: nowrap;
font: 11px/18px var(--mono); height: 18px; top: 2px; border-radius: 2px; min-width: 3px; color: var(--on-bar); }
.waiting { background: var(--waiting); } .computing { background: var(--computing); }
.flame div { box-shadow: inset 0 0 0 1px var(--paper); padding: 0 .2rem; }
.user { background: var(--frame); } .other { background: var(--frame-other); }
.flame .other { color: var(--ink); }
.key { display: flex; flex-wrap: wrap; gap: .25rem 1rem; } .key i { display: inline-block; width: .9em; height: .9em;
border-radius: 2px; margin-right: .4em; vertical-align: -.1em; }
"""

_KEY = (
    "<p class='key quiet'><span><i class='waiting'></i>waiting</span><span><i class='computing'></i>computing</span>"
    "<span><i class='user'></i>your code</span><span><i class='other'></i>libraries</span></p>"
)


def escape(shown: str, quote: bool = True) -> str:
    """For the page: without secrets, which stand in source lines, in URLs and in the names of tests."""
    return html.escape(masked_prose(shown), quote)


def page(blocks: Sequence[Block], root: str, threshold: float) -> str:
    shown = [block for block in blocks if block.status != "allowed"]
    tests: dict[str, list[Block]] = {}
    for block in blocks:
        tests.setdefault(block.test or "outside of tests", []).append(block)
    parts = [
        "<h1>Event loop blocking</h1>",
        f"<p>{len(shown)} blocks at {len(text.by_site(shown))} sites in {len(tests)} tests;"
        f" threshold {threshold * 1000:g} ms.</p>",
        _sites(shown, root) if shown else "",
        _KEY if blocks else "<p class='quiet'>Nothing held the event loop for longer than it may.</p>",
    ]
    for name, of_test in tests.items():
        parts.append(_test(name, sorted(of_test, key=lambda block: block.started), root))
    return document("Event loop blocking", "\n".join(parts), style=_STYLE)


def _sites(blocks: Sequence[Block], root: str) -> str:
    rows = []
    for total in text.by_site(blocks):
        block = total.first
        rows.append(
            f"<tr><td class='n'>{total.total:.0f} ms</td><td class='n'>{total.count}</td>"
            f"<td class='n'>{total.longest:.0f} ms</td><td><code>{escape(text.place(block, root))}</code><br>"
            f"<span class='quiet'>{escape(block.site.function)}</span></td><td>{escape(text.who(block))}</td>"
            f"<td>{escape(text.doing(block))}</td><td>{escape(block.remedy)}</td></tr>"
        )
    head = "".join(f"<th>{each}</th>" for each in ("Total", "Count", "Longest", "Site", "Request", "What", "Instead"))
    table = f"<table id='sites'><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f"<div class='scroll'>{table}</div>"


def _test(name: str, blocks: list[Block], root: str) -> str:
    first = blocks[0].started
    whole = max(block.started + block.wall_ms / 1000 for block in blocks) - first or 0.001
    bars, details = [], []
    for number, block in enumerate(blocks):
        anchor = f"b{abs(hash((name, number)))}"
        left = (block.started - first) / whole * 100
        width = block.wall_ms / 10 / whole
        title = escape(text.headline(block, root), quote=True)
        bars.append(
            f"<a class='{block.kind}' href='#{anchor}' style='left:{min(left, 99.5):.2f}%;width:{width:.2f}%'"
            f" title='{title}' aria-label='{title}'></a>"
        )
        status = (
            "" if block.status == "new" else f" <span class='quiet'>[{escape(block.allowed_by or block.status)}]</span>"
        )
        details.append(
            f"<details id='{anchor}' class='block'><summary>{escape(text.headline(block, root))}{status}</summary>"
            f"{_flame(block, root)}<pre>{escape(text.paragraph(block, root))}</pre></details>"
        )
    return (
        f"<section class='test'><h2><code>{escape(name)}</code></h2><div class='line'>{''.join(bars)}</div>"
        f"{''.join(details)}</section>"
    )


def _flame(block: Block, root: str) -> str:
    stretches = block.stretches
    pieces = [(each.start_ms, each.milliseconds, each.stack) for each in stretches] or [
        (0.0, max(block.wall_ms, 0.001), block.stack)
    ]
    whole = max(start + took for start, took, _ in pieces) or 0.001
    depth = max((len(stack) for _, _, stack in pieces), default=0)
    cells = []
    for level in range(depth):
        run: tuple[float, float, Frame] | None = None
        for start, took, stack in [*pieces, (whole, 0.0, ())]:
            frame = stack[level] if level < len(stack) else None
            if run is not None and frame is not None and (frame.file, frame.function) == (run[2].file, run[2].function):
                run = (run[0], start + took, run[2])
                continue
            if run is not None:
                cells.append(_cell(run, level, whole, root))
            run = (start, start + took, frame) if frame is not None else None
    return f"<div class='flame' style='height:{depth * 19 + 4}px'>{''.join(cells)}</div>"


def _cell(run: tuple[float, float, Frame], level: int, whole: float, root: str) -> str:
    start, end, frame = run
    label = f"{frame.function} {relative(frame.file, root)}:{frame.line}"
    owner = "user" if relative(frame.file, root) != frame.file else "other"
    return (
        f"<div class='{owner}' style='top:{level * 19 + 2}px;left:{start / whole * 100:.2f}%;"
        f"width:{(end - start) / whole * 100:.2f}%' title='{escape(label, quote=True)} ({end - start:.0f} ms)'>"
        f"{escape(label)}</div>"
    )
