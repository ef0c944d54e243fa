"""`python -m benchmarks`: run all benchmarks beside their peers, and write their tables into docs/performance.md.

`python -m benchmarks client database` runs those two and only prints; `--write` writes theirs. What is more than a
fifth worse than on the page is named at the end, and fails nothing: a figure depends on the machine and its work.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import pkgutil
import sys

import benchmarks
from benchmarks._page import PAGE, regressions, tables, with_tables


class Tee(io.StringIO):
    """Keeps what is printed, and prints it."""

    def write(self, text: str) -> int:
        sys.__stdout__.write(text)
        sys.__stdout__.flush()
        return super().write(text)


def main(arguments: list[str]) -> int:
    rooms = [module.name for module in pkgutil.iter_modules(benchmarks.__path__) if not module.name.startswith("_")]
    rooms.remove("blocking_corpus")
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rooms", nargs="*", choices=[*rooms, []], metavar="room", help=f"of {', '.join(rooms)}")
    write = parser.add_mutually_exclusive_group()
    write.add_argument("--write", action="store_true", help=f"write docs/{PAGE.name}, also for some rooms")
    write.add_argument("--no-write", action="store_true", help="only print, also for all rooms")
    given = parser.parse_args(arguments)

    worse = []
    for name in given.rooms or rooms:
        module = importlib.import_module(f"benchmarks.{name}")
        sys.argv = [f"benchmarks.{name}"]  # some have options of their own
        with contextlib.redirect_stdout(Tee()) as printed:
            module.main()
        page = PAGE.read_text()
        before = tables(page, name) or ""
        ours = getattr(module, "OURS", ())
        worse += [f"{name}: {line}" for line in regressions(before, printed.getvalue(), ours)]
        if given.write or not (given.rooms or given.no_write):
            PAGE.write_text(with_tables(page, name, printed.getvalue()))
    if worse:
        print("Worse than on the page by more than a fifth:", *worse, sep="\n  ")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
