"""The detector beside its peers: what it finds, what it cries wolf for, and what it costs.

    python -m benchmarks.blocking                    the table: culprits found, exact line, false alarms; and the costs
    python -m benchmarks.blocking --hogs             the same beside four processes that spin
    python -m benchmarks.blocking --overhead         CPU of FastAPI requests, as ratios to no detector

Each tool runs in its own process, one repetition after another. `--tools`, `--cases`, `--repeat`, `--uvloop` narrow
or widen it. The peers (blockbuster, pyleak, aiocop) are left out where they are not installed.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib.util
import json
import linecache
import os
import statistics
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from benchmarks.blocking_corpus import Case, Tools, load

TOOLS = ("ours", "blockbuster", "pyleak", "aiocop")
_CORPUS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "blocking_corpus")
_TIMEOUT = 20.0
OURS = ("ours",)  # the rows whose getting worse is named

Line = tuple[str, int] | None
Watch = Callable[[Awaitable[object]], Awaitable[list[Line]]]


# ---- the tools: each runs a case and returns a line for each of its alarms


def ours(threshold: float) -> Watch:
    from pytest_asyncapi.blocking import detect_blocking

    async def watch(case: Awaitable[object]) -> list[Line]:
        async with detect_blocking(threshold) as blocks:
            await asyncio.wait_for(asyncio.ensure_future(case), _TIMEOUT)
        return [(block.site.file, block.site.line) for block in blocks]

    return watch


def blockbuster(threshold: float) -> Watch:
    from blockbuster import BlockingError, blockbuster_ctx

    async def watch(case: Awaitable[object]) -> list[Line]:
        found: list[Line] = []

        def line(error: BaseException) -> None:
            frames = [each for each in traceback.extract_tb(error.__traceback__) if each.filename.startswith(_CORPUS)]
            found.append((frames[-1].filename, frames[-1].lineno or 0) if frames else None)

        def handler(loop: asyncio.AbstractEventLoop, context: dict) -> None:
            if isinstance(context.get("exception"), BlockingError):
                line(context["exception"])

        asyncio.get_running_loop().set_exception_handler(handler)
        with blockbuster_ctx():
            try:
                await asyncio.wait_for(asyncio.ensure_future(case), 3)
            except BlockingError as error:
                line(error)
            except BaseException as error:
                chained: BaseException | None = error
                while chained is not None and not isinstance(chained, BlockingError):
                    chained = chained.__cause__ or chained.__context__
                if chained is not None:
                    line(chained)
                elif isinstance(error, BaseExceptionGroup) and error.subgroup(BlockingError):
                    line(error.subgroup(BlockingError).exceptions[0])
        return found

    return watch


def pyleak(threshold: float) -> Watch:
    from pyleak import EventLoopBlockError, no_event_loop_blocking

    async def watch(case: Awaitable[object]) -> list[Line]:
        try:
            async with no_event_loop_blocking(action="raise", threshold=threshold, check_interval=threshold / 5):
                await asyncio.wait_for(asyncio.ensure_future(case), _TIMEOUT)
                await asyncio.sleep(0)
        except EventLoopBlockError as error:
            found: list[Line] = []
            for block in error.blocking_events:
                frames = [each for each in block.blocking_stack or () if each.filename.startswith(_CORPUS)]
                found.append((frames[-1].filename, frames[-1].lineno or 0) if frames else None)
            return found
        return []

    return watch


def aiocop(threshold: float) -> Watch:
    import aiocop as tool

    events: list = []
    tool.patch_audit_functions()
    tool.start_blocking_io_detection(trace_depth=20)
    started: list[bool] = []

    async def watch(case: Awaitable[object]) -> list[Line]:
        if not started:
            started.append(True)
        tool.detect_slow_tasks(threshold_ms=int(threshold * 1000), on_slow_task=events.append)
        tool.activate()
        events.clear()
        try:
            await asyncio.wait_for(asyncio.ensure_future(case), _TIMEOUT)
            await asyncio.sleep(0)
        finally:
            tool.deactivate()
        found: list[Line] = []
        for event in events:
            if event.exceeded_threshold:
                shown = [str(each["entry_point"]) + " " + str(each["trace"]) for each in event.blocking_events]
                shown += [str(each["entry_point"]) + " " + str(each["trace"]) for each in event.cpu_stack_samples]
                found += _aiocop_lines(" ".join(shown)) or [None]
        return found

    return watch


def _aiocop_lines(text: str) -> list[Line]:
    import re

    return [
        (os.path.join(_CORPUS, name), int(number))
        for name, number in re.findall(r"blocking_corpus/(\w+\.py):(\d+)", text)
    ]


# ---- running the corpus


@dataclass
class Outcome:
    name: str
    kind: str
    found: bool
    exact: bool
    note: str = ""


def run_cases(tool: str, cases: list[Case], threshold: float, uvloop: bool) -> list[Outcome]:
    watch = {"ours": ours, "blockbuster": blockbuster, "pyleak": pyleak, "aiocop": aiocop}[tool](threshold)
    tools = Tools(threshold * 2.5)
    outcomes = []
    for case in cases:
        extra = (case.prepare(tools),) if case.prepare is not None else ()
        note = ""
        lines: list[Line] = []
        gc.collect()
        try:
            lines = _run(watch(case.run(tools, *extra)), uvloop)
        except BaseException as error:
            note = f"{type(error).__name__}: {error}"[:100]
            if isinstance(error, KeyboardInterrupt):
                raise
        exact = any(_marked(case, line) for line in lines)
        if lines and not exact:
            note += " at " + ", ".join(f"{os.path.basename(line[0])}:{line[1]}" if line else "?" for line in lines[:4])
        outcomes.append(Outcome(case.name, case.kind, bool(lines), exact, note))
    return outcomes


def _marked(case: Case, line: Line) -> bool:
    # By the source itself: the line of a call may be another than that of its statement.
    if line is None or not case.lines:
        return False
    return (line[0] == case.file and line[1] in case.lines) or (
        line[0].endswith("__init__.py") and "# BLOCKS" in linecache.getline(*line)
    )


def _run(coroutine: Awaitable[list[Line]], uvloop: bool) -> list[Line]:
    if uvloop:
        import uvloop as library

        with asyncio.Runner(loop_factory=library.new_event_loop) as runner:
            return runner.run(coroutine)
    return asyncio.run(coroutine)  # type: ignore[arg-type]


def table(arguments: argparse.Namespace) -> None:
    cases = _chosen(arguments.cases)
    kinds = Counter(case.kind for case in cases)
    culprits = len(cases) - kinds["innocent"]
    names = [tool for tool in arguments.tools if tool == "ours" or importlib.util.find_spec(tool)]
    print(
        "### What is found\n\n"
        f"{culprits} culprits ({kinds['wait']} wait, {kinds['cpu']} compute, {kinds['fast']} short by nature) and"
        f" {kinds['innocent']} innocents, threshold {arguments.threshold * 1000:.0f} ms, {arguments.repeat} times,"
        f" Python {sys.version.split()[0]}{', uvloop' if arguments.uvloop else ''}"
        f"{', beside four spinning processes' if arguments.hogs else ''}"
    )
    hogs = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(4 * arguments.hogs)]
    results: dict[str, list[dict]] = {}
    try:
        for turn in range(arguments.repeat):
            for tool in names:
                results.setdefault(tool, []).extend(_in_process(tool, arguments))
                print(f"  {tool}, repetition {turn + 1}", file=sys.stderr, flush=True)
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
    kinds_found = " | ".join(
        f"{kind}, higher is better" for kind in ("found", "exact line", "wait", "compute", "short")
    )
    print(f"\n| | {kinds_found} | false alarms |\n|---|---|---|---|---|---|---|")
    for tool, outcomes in results.items():
        guilty = [each for each in outcomes if each["kind"] != "innocent"]
        harmless = [each for each in outcomes if each["kind"] == "innocent"]

        def share(outcomes: list[dict], key: str = "found") -> str:
            return f"{sum(each[key] for each in outcomes)}/{len(outcomes)}"

        by_kind = [share([each for each in guilty if each["kind"] == kind]) for kind in ("wait", "cpu", "fast")]
        print(f"| {tool} | {' | '.join([share(guilty), share(guilty, 'exact'), *by_kind, share(harmless)])} |")
    print()
    for tool, outcomes in results.items():
        if tool == "ours" or arguments.verbose:
            for each in outcomes:
                wrong = each["found"] if each["kind"] == "innocent" else not each["exact"]
                if wrong or (each["note"] and arguments.verbose):
                    what = "false alarm" if each["kind"] == "innocent" else "inexact" if each["found"] else "missed"
                    print(f"  {tool}: {what}: {each['name']} {each['note']}")


def _in_process(tool: str, arguments: argparse.Namespace) -> list[dict]:
    command = [sys.executable, "-m", "benchmarks.blocking", "--worker", tool, "--threshold", str(arguments.threshold)]
    command += ["--cases", *arguments.cases] if arguments.cases else []
    command += ["--uvloop"] if arguments.uvloop else []
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    line = next((each for each in done.stdout.splitlines() if each.startswith("[{")), None)
    if line is None:
        print(f"  {tool} ended with {done.returncode}: {done.stderr[-800:]}", file=sys.stderr)
        return []
    return json.loads(line)


def _chosen(names: list[str]) -> list[Case]:
    return [case for case in load().values() if not names or any(name in case.name for name in names)]


# ---- overhead


def _requests(count: int) -> float:
    """CPU seconds of FastAPI requests through a client in the process."""
    import httpx
    from fastapi import FastAPI

    app = FastAPI()

    @app.middleware("http")
    async def middleware(request, call_next):
        return await call_next(request)

    @app.get("/items/{item}")
    async def endpoint(item: int):
        await asyncio.sleep(0)
        return {"item": item}

    async def send(client: httpx.AsyncClient, count: int) -> None:
        for number in range(count):
            await client.get(f"/items/{number}")

    async def main() -> float:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://bench") as client:
            await send(client, 20)
            began = time.process_time()
            await send(client, count)
            return time.process_time() - began

    return asyncio.run(main())


def _under(tool: str, count: int) -> float:
    if tool == "ours":
        from pytest_asyncapi.blocking import detect_blocking

        with detect_blocking(0.05):
            return _requests(count)
    if tool == "blockbuster":
        from blockbuster import blockbuster_ctx

        with blockbuster_ctx():
            return _requests(count)
    if tool == "pyleak":
        return _requests_pyleak(count)
    return _requests(count)


def _requests_pyleak(count: int) -> float:
    import pyleak as tool

    original = asyncio.run

    def run(coroutine):
        async def watched():
            async with tool.no_event_loop_blocking(action="log", threshold=0.05, check_interval=0.01):
                return await coroutine

        return original(watched())

    asyncio.run = run
    try:
        return _requests(count)
    finally:
        asyncio.run = original


def overhead(arguments: argparse.Namespace) -> None:
    """Blocks of requests in turns, in one process; ratios of neighbours. aiocop cannot be undone: not among them."""
    tools = [
        tool for tool in arguments.tools if tool != "aiocop" and (tool == "ours" or importlib.util.find_spec(tool))
    ]
    count = 200
    rounds = max(1, arguments.requests // count) * 2
    found: dict[str, list[float]] = {tool: [] for tool in tools}
    _under("none", 50)
    gc.collect()
    gc.freeze()
    for turn in range(rounds):
        order = ["none", *tools]
        order = order if turn % 2 else list(reversed(order))
        taken = {tool: _under(tool, count) for tool in order}
        for tool in tools:
            found[tool].append(taken[tool] / taken["none"])
    print("### What it costs\n")
    print(f"| | CPU time of FastAPI requests, ratio to no detector; {rounds} rounds of {count} |\n|---|---|")
    for tool, ratios in found.items():
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(f"| {tool} | {middle:.3f} ({low:.3f} to {high:.3f}) |")
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hogs", action="store_true")
    parser.add_argument("--overhead", action="store_true")
    parser.add_argument("--uvloop", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--threshold", type=float, default=0.05)
    parser.add_argument("--tools", nargs="*", default=list(TOOLS), choices=TOOLS)
    parser.add_argument("--cases", nargs="*", default=[])
    parser.add_argument("--worker", choices=TOOLS)
    arguments = parser.parse_args()
    if arguments.worker:
        outcomes = run_cases(arguments.worker, _chosen(arguments.cases), arguments.threshold, arguments.uvloop)
        print(json.dumps([vars(each) for each in outcomes]), flush=True)
        os._exit(0)  # daemon threads of the cases
    elif arguments.overhead:
        overhead(arguments)
    else:
        table(arguments)
        if len(sys.argv) == 1:
            overhead(arguments)


if __name__ == "__main__":
    main()
