"""The detector beside its peers: what it finds, what it cries wolf for, and what it costs.

    python -m benchmarks.blocking                    the table (one repetition) and the overhead
    python -m benchmarks.blocking --corpus --repetitions 3 --hogs 0 4
                                                     the table, in a quiet run and beside four processes that spin
    python -m benchmarks.blocking --overhead         CPU of FastAPI requests, as ratios to no detector
    python -m benchmarks.blocking --instructions     the same in instructions, by valgrind: ours beside none

Each tool runs in its own process, one repetition after another. `--tools`, `--cases`, `--uvloop` narrow or change it;
`--verbose` names each wrong answer of the peers too. Peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib.util
import json
import linecache
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass

from benchmarks._detectors import WATCHES, Line, requests_under
from benchmarks.blocking_corpus import Case, Tools, load

TOOLS = tuple(WATCHES)
OURS = ("ours",)  # the rows whose getting worse is named


# ---- running the corpus


@dataclass
class Outcome:
    name: str
    kind: str
    found: bool
    exact: bool
    note: str = ""


def run_cases(tool: str, cases: list[Case], threshold: float, uvloop: bool) -> list[Outcome]:
    watch = WATCHES[tool](threshold)
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


def table(arguments: argparse.Namespace, hogs: int) -> None:
    cases = _chosen(arguments.cases)
    kinds = Counter(case.kind for case in cases)
    culprits = len(cases) - kinds["innocent"]
    names = [tool for tool in arguments.tools if tool == "ours" or importlib.util.find_spec(tool)]
    beside = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(hogs)]
    results: dict[str, list[dict]] = {}
    try:
        for turn in range(arguments.repetitions):
            for tool in names:
                results.setdefault(tool, []).extend(_in_process(tool, arguments, cases))
                print(f"  {tool}, repetition {turn + 1}", file=sys.stderr, flush=True)
    finally:
        for hog in beside:
            hog.kill()
            hog.wait()
    loop = "uvloop" if arguments.uvloop else "asyncio"
    where = f"beside {hogs} spinning processes" if hogs else "on the machine as it was"
    print(f"### What is found, {loop}, Python {sys.version.split()[0]}, {where}\n")
    print(
        f"{culprits} culprits ({kinds['wait']} wait, {kinds['cpu']} compute, {kinds['fast']} short by nature) and"
        f" {kinds['innocent']} innocents, threshold {arguments.threshold * 1000:.0f} ms,"
        f" {arguments.repetitions} repetition{'s' * (arguments.repetitions != 1)}\n"
    )
    print("| | recall | exact line | waits | computing | short calls | false alarms |")
    print("|---|---|---|---|---|---|---|")
    for tool, outcomes in results.items():
        guilty = [each for each in outcomes if each["kind"] != "innocent"]
        harmless = [each for each in outcomes if each["kind"] == "innocent"]

        def share(outcomes: list[dict], key: str = "found") -> str:
            return f"{sum(each[key] for each in outcomes)}/{len(outcomes)}"

        def percent(key: str, guilty: list[dict] = guilty) -> str:
            return f"{100 * sum(each[key] for each in guilty) / max(1, len(guilty)):.1f} %"

        by_kind = [share([each for each in guilty if each["kind"] == kind]) for kind in ("wait", "cpu", "fast")]
        print(f"| {tool} | {percent('found')} | {percent('exact')} | {' | '.join(by_kind)} | {share(harmless)} |")
    print(flush=True)
    for tool, outcomes in results.items():
        if tool == "ours" or arguments.verbose:
            for each in outcomes:
                wrong = each["found"] if each["kind"] == "innocent" else not each["exact"]
                if wrong or (each["note"] and arguments.verbose):
                    what = "false alarm" if each["kind"] == "innocent" else "inexact" if each["found"] else "missed"
                    print(f"  {tool}: {what}: {each['name']} {each['note']}", file=sys.stderr)


_AT_ONCE = 60  # cases in one process: a tool that leaves something behind spoils few of them


def _in_process(tool: str, arguments: argparse.Namespace, cases: list[Case]) -> list[dict]:
    outcomes: list[dict] = []
    for first in range(0, len(cases), _AT_ONCE):
        names = [f"={case.name}" for case in cases[first : first + _AT_ONCE]]
        command = [sys.executable, "-m", "benchmarks.blocking", "--worker", tool, "--cases", *names]
        command += ["--threshold", str(arguments.threshold)] + ["--uvloop"] * arguments.uvloop
        done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
        line = next((each for each in done.stdout.splitlines() if each.startswith("[{")), None)
        if line is None:
            print(f"  {tool} ended with {done.returncode}: {done.stderr[-800:]}", file=sys.stderr)
        else:
            outcomes += json.loads(line)
    return outcomes


def _chosen(names: list[str]) -> list[Case]:
    """Those whose name has one of these in it, or is what stands after a `=`."""
    return [
        case for name, case in load().items() if not names or any(part in name or part == f"={name}" for part in names)
    ]


# ---- overhead


def overhead(arguments: argparse.Namespace) -> None:
    """Processes in turns, each with its own tool; the ratio of each to its neighbour without one."""
    tools = ["no detector", *(tool for tool in arguments.tools if tool == "ours" or importlib.util.find_spec(tool))]
    taken: dict[str, list[float]] = {tool: [] for tool in tools}
    for turn in range(arguments.rounds):
        for tool in tools if turn % 2 else reversed(tools):
            command = [sys.executable, "-m", "benchmarks.blocking", "--requests", str(arguments.requests)]
            done = subprocess.run([*command, "--spend", tool], capture_output=True, text=True, check=True)
            taken[tool].append(float(done.stdout))
    print(f"### CPU time of {arguments.requests} FastAPI requests, Python {sys.version.split()[0]}\n")
    print(f"| | ratio of CPU time, median of {arguments.rounds} rounds, lower is better | quartiles |\n|---|---|---|")
    for tool, times in taken.items():
        ratios = [mine / base for mine, base in zip(times, taken["no detector"], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        print(f"| {tool} | {middle:.3f} | {low:.3f} to {high:.3f} |")
    print(flush=True)


def instructions(arguments: argparse.Namespace) -> None:
    """What valgrind counts, the same in every run. It makes all fifty times as slow, and so the clock's periods too."""
    if shutil.which("valgrind") is None:
        print("valgrind is not installed", file=sys.stderr)
        return
    counted = {}
    few, many = 50, 50 + arguments.requests // 10
    with tempfile.TemporaryDirectory() as folder:
        for tool in ("no detector", "ours"):
            for count in (few, many):
                command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", sys.executable]
                command += ["-m", "benchmarks.blocking", "--spend", tool, "--requests", str(count), "--slow"]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                counted[tool, count] = int(done.stderr.partition("Collected : ")[2].split()[0])
    base, ours = (counted[tool, many] - counted[tool, few] for tool in ("no detector", "ours"))
    print(f"### Instructions of {many - few} FastAPI requests, Python {sys.version.split()[0]}\n")
    print("| | ratio of instructions, lower is better |\n|---|---|\n| no detector | 1.000 |")
    print(f"| ours | {ours / base:.3f} |\n", flush=True)


def _slow_down() -> None:
    """Periods for a machine that is fifty times as slow."""
    from pytest_asyncapi.blocking.watchdog import Watchdog

    def scale(self: Watchdog, threshold: int) -> None:
        self.tick, self.push_every, self.lead = 250_000_000, 250_000_000, 750_000_000

    Watchdog.scale = scale  # type: ignore[method-assign]


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", action="store_true", help="only what is found")
    parser.add_argument("--overhead", action="store_true", help="only what it costs, in CPU time")
    parser.add_argument("--instructions", action="store_true", help="only what it costs, in instructions")
    parser.add_argument("--hogs", type=int, nargs="*", default=[0], help="processes that spin beside; a table for each")
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=11, help="of the overhead")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--uvloop", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--threshold", type=float, default=0.05)
    parser.add_argument("--tools", nargs="*", default=list(TOOLS), choices=TOOLS)
    parser.add_argument("--cases", nargs="*", default=[])
    for internal in ("--worker", "--spend"):
        parser.add_argument(internal, help=argparse.SUPPRESS)
    parser.add_argument("--slow", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.worker:
        outcomes = run_cases(given.worker, _chosen(given.cases), given.threshold, given.uvloop)
        print(json.dumps([vars(each) for each in outcomes]), flush=True)
        os._exit(0)  # daemon threads of the cases
    if given.spend:
        if given.slow:
            _slow_down()
        print(requests_under(given.spend, given.requests))
        return
    chosen = given.corpus or given.overhead or given.instructions
    for hogs in (given.hogs or [0]) if given.corpus or not chosen else ():
        table(given, hogs)
    if given.overhead or not chosen:
        overhead(given)
    if given.instructions:
        instructions(given)


if __name__ == "__main__":
    main(sys.argv[1:])
