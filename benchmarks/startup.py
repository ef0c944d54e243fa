"""What the plugin adds to a run that does not use it: `python -m benchmarks.startup [rounds]`.

Child processes run pytest in turns, with the plugin and without it, in one of two orders that alternate. A few
milliseconds drown in what else a machine does, even in CPU time. So two figures are printed:

* instructions that the plugin adds, counted by valgrind where that is installed: the same in every run but for a few
  thousandths of a per cent. As milliseconds they are that share of the CPU time of the fastest run without the plugin,
  which is the one that nothing disturbed;
* the median of the differences of neighbouring runs' CPU times (user and system, of the child), with their quartiles.

The plugin is found as pytest finds it, by its entry point, and left out by `-p no:asyncapi`. Of the others only
pytest-asyncio and anyio are let in: what the rest do at start-up is noise here.
"""

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import entry_points
from pathlib import Path

ROUNDS = 40
LIMIT = 10.0
"""Milliseconds that the plugin may add."""
WITH: tuple[str, ...] = ()
WITHOUT = ("-p", "no:asyncapi")
KEPT = {"asyncapi", "asyncio", "anyio"}
OTHERS = sorted({each.name for each in entry_points(group="pytest11")} - KEPT | {"cacheprovider"})
CASES = {
    "pytest --version": ("--version",),
    "pytest --version --version": ("--version", "--version"),
    "pytest --help": ("--help",),
    "one empty test, collected only": ("-q", "--collect-only"),
    "one empty test": ("-q",),
}
DROPPED = {"PYTHONDONTWRITEBYTECODE", "PYTEST_DISABLE_PLUGIN_AUTOLOAD", "PYTEST_ADDOPTS", "DATABASE_URL"}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pytest", *(f"-pno:{name}" for name in OTHERS), *arguments]


def environment() -> dict[str, str]:
    """The same hashes in every run; bytecode as after the first run of a fresh install."""
    theirs = {name: value for name, value in os.environ.items() if name not in DROPPED}
    return {**theirs, "PYTHONPATH": "", "PYTHONHASHSEED": "0"}


def cpu_milliseconds(directory: Path, *arguments: str) -> float:
    """The CPU time of one run of pytest in a fresh interpreter."""
    process = subprocess.Popen(
        command(*arguments),
        cwd=directory,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command(*arguments))} ended with {process.returncode}")
    return (usage.ru_utime + usage.ru_stime) * 1000


def instructions(directory: Path, *arguments: str) -> int:
    """How many instructions one run of pytest executes; 0 where valgrind is not installed."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        return 0
    counting = [valgrind, "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    run = subprocess.run(
        [*counting, *command(*arguments)],
        cwd=directory,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"I\s+refs:\s+([\d,]+)", run.stderr)
    assert found, run.stderr
    return int(found[1].replace(",", ""))


def measure(directory: Path, arguments: tuple[str, ...], rounds: int) -> tuple[list[float], list[float]]:
    """What the plugin added in each round, and the CPU times of the runs without it."""
    added, without = [], []
    for turn in range(-1, rounds):
        taken = {}
        for case in (WITHOUT, WITH) if turn % 2 else (WITH, WITHOUT):
            taken[case] = cpu_milliseconds(directory, *case, *arguments)
        if turn >= 0:  # the first round writes the bytecode
            added.append(taken[WITH] - taken[WITHOUT])
            without.append(taken[WITHOUT])
    return added, without


def main(rounds: int = ROUNDS) -> None:
    """Print the table, and the one figure that is promised."""
    print(f"### Start-up, installed and unused: what the plugin adds ({rounds} rounds)\n")
    print("| run | instructions added | as ms of CPU time | CPU time added, median (quartiles), ms | without it, ms |")
    print("|---|---|---|---|---|")
    worst = 0.0
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
        (directory / "test_empty.py").write_text("def test_nothing():\n    pass\n")
        for title, arguments in CASES.items():
            added, times = measure(directory, arguments, rounds)
            low, median, high = statistics.quantiles(added, n=4)
            base = min(times)
            counted = "| no valgrind | "
            figure = median
            if plain := instructions(directory, *WITHOUT, *arguments):
                share = (instructions(directory, *WITH, *arguments) - plain) / plain
                figure = share * base
                counted = f"| {share * plain / 1e6:.1f} million, {share:.2%} | {figure:.1f} "
            worst = max(worst, figure)
            print(f"| {title} {counted}| {median:.1f} ({low:.1f} to {high:.1f}) | {base:.0f} |", flush=True)
    verdict = "under" if worst < LIMIT else "NOT under"
    print(f"\nInstalled and unused it adds {worst:.1f} ms at most: {verdict} {LIMIT:.0f} ms.")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
