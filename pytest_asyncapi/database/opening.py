"""Makes the databases of a run: one worker builds a schema, or fails at it, and the others of the run hear of it."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pytest_asyncapi.database import schema, workers
from pytest_asyncapi.database.naming import Key
from pytest_asyncapi.database.rundir import RunDirectory, memory_base
from pytest_asyncapi.database.store import Store
from pytest_asyncapi.database.targets import Target
from pytest_asyncapi.errors import SchemaError, ServerError

NEAR_HOSTS = r"(localhost|127\.[\d.]+|::1|0\.0\.0\.0|host\.docker\.internal|postgres(ql)?|db|database|pg|)"
OPENING_NOTE = "schema-failed"


@dataclass(frozen=True)
class Wishes:
    """What the settings say of the test database. `database` is auto, postgresql, sqlite or a URL."""

    database: str = "auto"
    server: str = ""  # a URL whose server may be used
    server_named_by: str = "DATABASE_URL"
    redirect: bool = True
    reuse: bool = False
    create: bool = False
    root: Path = field(default_factory=Path.cwd)
    run: str = field(default_factory=workers.run_id)
    worker: str = "main"


class Opening:
    """Opens the stores of this worker."""

    def __init__(self, wishes: Wishes) -> None:
        self.wishes = wishes
        self._run: RunDirectory | None = None
        self._failed = False
        self._opened: dict[str, int] = {}  # how many of each dialect

    def open(self, key: Key, tables: Any, *, own_schema: bool) -> Store:
        """The database `key`, with these tables. `own_schema`: others of its dialect have other tables."""
        self._run = self._run or RunDirectory(memory_base(run=self.wishes.run), self.wishes.run)
        tag = hashlib.sha256(key.label.encode()).hexdigest()[:4] if own_schema and key.label else ""
        note = self._run.path / f"{OPENING_NOTE}-{key.dialect}{tag}"
        with self._run.locked():
            if note.exists():
                self._failed = True
                worker, _, gist = note.read_text(encoding="utf-8").partition("\n")
                raise told_before(gist, worker)
            try:
                read = schema.read(tables, self.wishes.root)
                number = self._opened.get(key.dialect, 0)
                store = (
                    self._sqlite(key, read, tag, number)
                    if key.dialect == "sqlite"
                    else self._postgresql(key, read, tag, number)
                )
            except Exception as error:
                if not isinstance(error, ServerError):  # which says itself what it has noted
                    self._failed = True
                    note.write_text(f"{self.wishes.worker}\n{gist_of(error)}", encoding="utf-8")
                raise
            self._opened[key.dialect] = number + 1
            return store

    def close(self) -> None:
        """All stores have been closed.

        A worker leaves the note of a failure for those that have not begun yet; the next run removes it.
        """
        if self._run is not None:
            self._run.leave(remove=not self._failed or self.wishes.worker == "main")

    def _sqlite(self, key: Key, tables: schema.Schema, tag: str, number: int) -> Store:
        from pytest_asyncapi.database.sqlite import SQLiteStore

        assert self._run is not None
        wishes = self.wishes
        name = f"{wishes.worker}-{number + 1}" if number else wishes.worker
        return SQLiteStore(
            tables, self._run, name, tag=tag, main=not key.label, reuse=wishes.reuse, create=wishes.create
        )

    def _postgresql(self, key: Key, tables: schema.Schema, tag: str, number: int) -> Store:
        from pytest_asyncapi.database.postgres import PostgresStore

        wishes = self.wishes
        address, named_by = server_of(wishes.database, far=True), "asyncapi_database"
        if address is None and wishes.server_named_by != "DATABASE_URL":
            address, named_by = server_of(wishes.server, far=True), wishes.server_named_by
        elif address is None:
            address, named_by = server_of(wishes.server), wishes.server_named_by
        return PostgresStore(
            tables,
            wishes.run,
            f"{wishes.worker}d{number + 1}" if number else wishes.worker,
            base=key.label,
            tag=tag,
            owner=wishes.worker == "main",
            address=address,
            named_by=named_by if address else "",
            reuse=wishes.reuse,
            create=wishes.create,
        )


def told_before(gist: str, worker: str) -> SchemaError:
    """The short error for every test and worker that comes after the one that was told the whole."""
    return SchemaError(f"there is no test database (an error before this one, of {worker}, tells it in full): {gist}")


def after(error: Exception, worker: str) -> Exception:
    """What comes after an error that a test was told."""
    told = str(error).startswith("there is no test database (an error before")
    return error if told else told_before(gist_of(error), worker)


def gist_of(error: Exception) -> str:
    """One line of an error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    if isinstance(error, SchemaError) and lines[0].endswith(":") and len(lines) > 1:
        return lines[1]
    line = lines[0].removesuffix(" It can be:")
    return line if type(error).__module__.startswith("pytest_asyncapi") else f"{type(error).__name__}: {line}"


def server_of(url: str, far: bool = False) -> Target | None:
    """The PostgreSQL server of a URL. One that is not near is used only if `far`: if the project itself names it."""
    if not re.match(r"postgres(ql)?(\+\w+)?://", url):
        return None
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    host = unquote(parts.hostname or "") or query.get("host", ["localhost"])[0]
    if not far and not re.fullmatch(NEAR_HOSTS, host) and not host.startswith("/") and not os.environ.get("CI"):
        return None
    port = parts.port or int(query.get("port", ["5432"])[0])
    user = unquote(parts.username or "") or os.environ.get("PGUSER", "postgres")
    password = unquote(parts.password) if parts.password else None
    return Target("postgresql", host, port, user, password, unquote(parts.path.lstrip("/")))
