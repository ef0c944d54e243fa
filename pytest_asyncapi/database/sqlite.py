"""The worker's SQLite database: a file in memory (or a temporary one), and the app's own `:memory:` databases.

They are put back by SQLite's own backup from the template: the app's connections stay open, and see the old rows,
tables and autoincrement counters. A `:memory:` database exists in its connection only, so it is filled when that
connection is made (`pools.py` tells), and restored in the thread that owns it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_asyncapi.database import pools, workers
from pytest_asyncapi.database.rundir import RunDirectory, cache_base
from pytest_asyncapi.database.schema import Schema
from pytest_asyncapi.database.store import Reset, Store, in_thread
from pytest_asyncapi.database.targets import Target

BUSY_LIMIT = 2.0  # seconds that a reset waits for a connection that the test left in a transaction


class SQLiteStore(Store):
    """One file a worker, copied from a template."""

    dialect = "sqlite"

    def __init__(
        self,
        schema: Schema,
        run: RunDirectory,
        name: str,
        *,
        tag: str = "",
        main: bool = True,
        reuse: bool = False,
        create: bool = False,
    ) -> None:
        """`main`: databases in memory get these tables."""
        self._main = main
        self._directory = run.path
        self._numbers = itertools.count(1)
        self._now: _Copy | None = None
        template = self._ready_template(schema, tag, reuse, create)
        self._file = run.path / f"{name}.db"
        shutil.copyfile(template, self._file)
        self.target = Target("sqlite", database=str(self._file))
        self.name = self._file.name
        self.description = f"SQLite {sqlite3.sqlite_version}"
        self._template_file = template
        self._template = _Copy(sqlite3.connect(template, check_same_thread=False), {})
        self._pristine = self._template
        if main:
            pools.fill_memory_databases(self._template.file)

    def _ready_template(self, schema: Schema, tag: str, reuse: bool, create: bool) -> Path:
        path = self._directory / f"template{tag}.db"
        if path.exists():  # of another worker of this run
            return path
        kept = None
        if reuse:
            kept = cache_base() / f"sqlite-{schema.fingerprint('sqlite')}-{workers.project_key()}{tag}.db"
            if kept.exists() and not create:
                shutil.copyfile(kept, path)
                return path
        new = self._directory / f"template{tag}-{os.getpid()}.db"
        new.unlink(missing_ok=True)
        sqlite3.connect(new).close()  # an empty file, should there be no schema
        new.touch()
        in_thread(lambda: schema.build(Target("sqlite", database=str(new))))
        new.rename(path)
        if kept is not None:
            with contextlib.suppress(OSError):
                kept.parent.mkdir(parents=True, exist_ok=True)
                for old in kept.parent.glob(f"sqlite-*-{workers.project_key()}{tag}.db"):
                    old.unlink()
                shutil.copyfile(path, kept)
        return path

    def watch(self) -> None:
        """Nothing to prepare: the template is all that is needed."""

    async def reset(self, original: bool = False) -> Reset:
        if original:
            self._forget(self._now)
            self._now = None
        left_open = await pools.roll_back_open_transactions()
        await (self._now or self._pristine).restore(self._file, self._main)
        return Reset(left_open)

    async def rebase(self) -> None:
        self._forget(self._now)
        self._now = await _Copy.of(self._file)

    async def settle(self) -> None:
        before = self._pristine, self._now
        self._pristine, self._now = await _Copy.of(self._file), None
        for copy in before:
            self._forget(copy)

    def _forget(self, copy: _Copy | None) -> None:
        if copy is not None and copy is not self._template:
            copy.close()

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[None]:
        before = await _Copy.of(self._file)
        try:
            yield
        finally:
            await before.restore(self._file, self._main)
            before.close()

    def clone(self, whole: bool = False, into: Target | None = None) -> Target:
        path = Path(into.database if into else self._directory / f"{self._file.stem}_c{next(self._numbers)}.db")
        if whole:
            with (
                contextlib.closing(sqlite3.connect(self._file)) as now,
                contextlib.closing(sqlite3.connect(path)) as new,
            ):
                now.backup(new)
        else:
            shutil.copyfile(self._template_file, path)
        return Target("sqlite", database=str(path))

    def discard(self, clone: Target) -> None:
        _remove(Path(clone.database))

    def close(self) -> None:
        if self._main:
            pools.fill_memory_databases(None)
        for copy in (self._now, self._pristine):
            self._forget(copy)
        self._template.close()
        _remove(self._file)


@dataclass
class _Copy:
    """What the file held at a moment, and each database in memory; one that is not among these held `file`."""

    file: sqlite3.Connection
    memory: Mapping[Any, sqlite3.Connection]

    @classmethod
    async def of(cls, file: Path) -> _Copy:
        copy = sqlite3.connect(":memory:", check_same_thread=False)
        live = sqlite3.connect(file)
        live.backup(copy)
        live.close()
        return cls(copy, await pools.copies_of_memory_databases())

    def close(self) -> None:
        for copy in (self.file, *self.memory.values()):
            copy.close()

    async def restore(self, file: Path, memory: bool) -> None:
        if memory:
            await pools.restore_memory_databases(self.file, self.memory)
        await asyncio.to_thread(_restore, self.file, file)


def _restore(source: sqlite3.Connection, file: Path) -> None:
    live = sqlite3.connect(file, isolation_level=None, timeout=BUSY_LIMIT)
    try:
        live.execute("PRAGMA synchronous = OFF")
        source.backup(live)
    finally:
        live.close()


def _remove(file: Path) -> None:
    for suffix in ("", "-journal", "-wal", "-shm"):
        Path(f"{file}{suffix}").unlink(missing_ok=True)
