"""What the plugin adds to a run that does not use it: `python -m benchmarks.startup`.

Child processes run pytest on one empty test in turns, with the plugin and without it; the figure is the difference of
their CPU times (user and system, of the child and all of its children), in milliseconds. CPU time and not wall time, so
that other work on the machine weighs little; the order changes each round, so that a slow moment falls on both; the
fastest runs are those that nothing disturbed. Other plugins than those of pytest-asyncio and anyio are left out: their
start-up is noise here.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks._timing import ratio

ROUNDS = 25
PLUGINS = ("-p", "asyncio", "-p", "anyio", "-p", "no:cacheprovider")
CASES = {
    "pytest --version": ("--version",),
    "one empty test": ("-q",),
    "one empty test, collected only": ("-q", "--collect-only"),
}


def cpu_milliseconds(directory: Path, *arguments: str) -> float:
    """The CPU time of one run of pytest in a fresh interpreter."""
    environment = {**os.environ, "PYTHONPATH": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # a fresh install has its bytecode after the first run
    command = [sys.executable, "-m", "pytest", *PLUGINS, *arguments]
    process = subprocess.Popen(
        command, cwd=directory, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 5):
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return (usage.ru_utime + usage.ru_stime) * 1000


def measure(directory: Path, arguments: tuple[str, ...], rounds: int = ROUNDS) -> tuple[list[float], list[float]]:
    """The CPU times of the runs with the plugin and of those without it."""
    with_plugin, without = ("-p", "asyncapi"), ()
    taken: dict[tuple[str, ...], list[float]] = {with_plugin: [], without: []}
    for case in taken:
        cpu_milliseconds(directory, *case, *arguments)
    for turn in range(rounds):
        for case in list(taken) if turn % 2 else reversed(list(taken)):
            taken[case].append(cpu_milliseconds(directory, *case, *arguments))
    return taken[with_plugin], taken[without]


def main() -> None:
    print(f"### Start-up, installed and unused: milliseconds of CPU time that the plugin adds ({ROUNDS} rounds)\n")
    print(
        "| run | added, fastest runs | added, medians | ratio to that without | that one, ms |\n|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
        (directory / "test_empty.py").write_text("def test_nothing():\n    pass\n")
        for title, arguments in CASES.items():
            with_plugin, without = measure(directory, arguments)
            fastest = min(with_plugin) - min(without)
            medians = statistics.median(with_plugin) - statistics.median(without)
            cell = ratio(title, with_plugin, without).cell
            print(
                f"| {title} | {fastest:.1f} | {medians:.1f} | {cell} | {statistics.median(without):.0f} |", flush=True
            )


if __name__ == "__main__":
    main()
