"""`python -m benchmarks [room ...]`: run the benchmarks of the named rooms, or of all, and print their tables."""

import importlib
import pkgutil
import sys

import benchmarks


def main(wanted: list[str]) -> int:
    rooms = [module.name for module in pkgutil.iter_modules(benchmarks.__path__) if not module.name.startswith("_")]
    unknown = [name for name in wanted if name not in rooms]
    if unknown:
        print(f"no benchmark {unknown[0]!r}; there are {', '.join(rooms)}", file=sys.stderr)
        return 2
    for name in wanted or rooms:
        importlib.import_module(f"benchmarks.{name}").main()
    return 0


raise SystemExit(main(sys.argv[1:]))
