"""The databases of one test run, as one worker sees them: made when they are first needed, removed at the end."""

from __future__ import annotations

import os
import re
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit
from weakref import WeakSet

from pytest_asyncapi.database import pools, schema, workers
from pytest_asyncapi.database.rundir import RunDirectory, memory_base
from pytest_asyncapi.database.store import Store
from pytest_asyncapi.database.targets import Address, Redirect, Target
from pytest_asyncapi.errors import ConfigurationError, DatabaseError, SchemaError
from pytest_asyncapi.masking import masked

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

DIALECTS = ("postgresql", "sqlite")
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


class Home:
    """Gives the database of each dialect that is spoken, and the redirect that sends the app's connections there."""

    def __init__(self, wishes: Wishes, tables: Any = None) -> None:
        self.wishes = wishes
        self._tables = tables
        self._stores: dict[str, Store] = {}
        self._failures: dict[str, Exception | None] = {}  # None when it has been told
        self._told: Exception = DatabaseError("there is no test database")
        self._run: RunDirectory | None = None
        self._lock = threading.RLock()
        self._swapped: dict[str, Target] = {}
        self._holders = 0
        self._closing = False
        self._committing = False
        self._engines: WeakSet[Engine] = WeakSet()
        self.dirty = False  # a test in commit isolation has begun, and the databases have not been put back
        self._imported = {"asyncpg", "psycopg"} & set(sys.modules)  # by the app: later we import one ourselves
        self._allowed = self._read_wishes()
        self._default: str | None = self._allowed[0] if len(self._allowed) == 1 else None
        pools.listen()
        hint = f"The test database is {masked(wishes.database)} (asyncapi_database): set it to auto, or to what the app speaks."
        self.redirect = Redirect(self.target_of, enabled=wishes.redirect, hint=hint if self._default else "")

    def _read_wishes(self) -> tuple[str, ...]:
        database = self.wishes.database
        if database == "auto":
            return DIALECTS
        dialect = re.split(r"[+:]", database)[0].replace("postgres", "postgresql").replace("sqlql", "sql")
        if dialect not in DIALECTS:
            raise ConfigurationError(
                f"asyncapi_database = {masked(database)}: the harness has databases of {' and '.join(DIALECTS)}"
            )
        return (dialect,)

    @property
    def has_schema(self) -> bool:
        """Whether the project says where the tables come from."""
        return self._tables not in (None, "", [], ())

    @property
    def default(self) -> str:
        """The dialect of the test's own sessions: as set, else what the app's engine speaks, else what is installed."""
        if self._default is None:
            spoken = [engine.dialect.name for engine in self.app_engines() if engine.dialect.name in DIALECTS]
            if spoken:
                self._default = spoken[0]
            elif _address(self.wishes.server) or (
                ("asyncpg" in sys.modules or "psycopg" in sys.modules) and "aiosqlite" not in sys.modules
            ):
                self._default = "postgresql"
            else:
                self._default = "sqlite"
        return self._default

    def target_of(self, dialect: str) -> Target | None:
        """Where connections of a dialect go in this moment; None when nothing of ours speaks it."""
        if dialect not in self._allowed:
            return None
        return self._swapped.get(dialect) or self.store(dialect).target

    def swap(self, dialect: str, target: Target | None) -> None:
        """Send the connections of a dialect to a clone, or back."""
        if target is None:
            self._swapped.pop(dialect, None)
        else:
            self._swapped[dialect] = target

    def store(self, dialect: str | None = None) -> Store:
        """The database of a dialect, made when it is first asked for."""
        dialect = dialect or self.default
        with self._lock:
            if dialect in self._failures:
                error, self._failures[dialect] = self._failures[dialect], None
                raise error or self._told
            if dialect not in self._stores:
                try:
                    self._stores[dialect] = self._open(dialect)
                except Exception as error:
                    self._failures[dialect] = None
                    self._told = error if isinstance(error, ToldBefore) else told_before(str(error), self.wishes.worker)
                    raise
                if self._committing:
                    self._stores[dialect].watch()
            return self._stores[dialect]

    def prepare(self) -> None:
        """Make the database of the app's engine; a failure is kept for the first who needs it."""
        if self._stores or self._failures or not self.app_engines():
            return
        try:
            self.store()
        except Exception as error:
            self._failures[self.default] = error

    def begin_commits(self) -> None:
        """A test is about to make real commits: have the databases put back after it."""
        self._committing = self.dirty = True
        for store in self.stores:
            store.watch()

    def app_engines(self) -> list[Engine]:
        """SQLAlchemy's engines in this process, those that the test's sessions should resemble first."""
        if not len(self._engines):
            self._engines = WeakSet(pools.engines())
        return sorted(
            self._engines, key=lambda engine: (not engine.dialect.is_async, engine.dialect.name != self._default)
        )

    def memory_engine(self) -> AsyncEngine | None:
        """The app's async engine on a SQLite database in memory, which no other engine could reach."""
        if "sqlalchemy" not in sys.modules:
            return None
        from sqlalchemy.ext.asyncio import AsyncEngine

        for engine in self.app_engines():
            database = engine.url.database or ""
            if engine.dialect.is_async and Address(engine.dialect.name, database=database).in_memory:
                return AsyncEngine(engine)
        return None

    def driver(self, dialect: str) -> str:
        """The driver that the app uses, or one that is installed."""
        for engine in self.app_engines():
            if engine.dialect.name == dialect and engine.dialect.is_async:
                return engine.dialect.driver
        if dialect == "postgresql" and self._imported == {"psycopg"}:
            return "psycopg"  # an app without SQLAlchemy
        return schema.driver_of(dialect)

    @property
    def stores(self) -> list[Store]:
        """Those that have been made."""
        return list(self._stores.values())

    def _open(self, dialect: str) -> Store:
        wishes = self.wishes
        self._run = self._run or RunDirectory(memory_base(), wishes.run)
        note = self._run.path / f"{OPENING_NOTE}-{dialect}"
        with self._run.locked():  # one worker builds the schema, or fails at it
            if note.exists():
                worker, _, told = note.read_text(encoding="utf-8").partition("\n")
                raise told_before(told, worker)
            try:
                tables = schema.read(self._tables, wishes.root)
                if dialect == "sqlite":
                    from pytest_asyncapi.database.sqlite import SQLiteStore

                    return SQLiteStore(tables, self._run, wishes.worker, reuse=wishes.reuse, create=wishes.create)
                return self._open_postgresql(tables)
            except SchemaError as error:
                note.write_text(f"{wishes.worker}\n{error}", encoding="utf-8")
                raise

    def _open_postgresql(self, tables: schema.Schema) -> Store:
        from pytest_asyncapi.database.postgres import PostgresStore

        wishes = self.wishes
        address, named_by = _address(wishes.database, far=True), "asyncapi_database"
        if address is None and wishes.server_named_by != "DATABASE_URL":
            address, named_by = _address(wishes.server, far=True), wishes.server_named_by
        elif address is None:
            address, named_by = _address(wishes.server), wishes.server_named_by
        return PostgresStore(
            tables,
            wishes.run,
            wishes.worker,
            address=address,
            named_by=named_by if address else "",
            reuse=wishes.reuse,
            create=wishes.create,
        )

    def hold(self) -> None:
        """An event loop needs the databases, until it calls `release`."""
        self._holders += 1

    def release(self) -> None:
        """An event loop that has called `hold` ends."""
        self._holders -= 1
        if self._closing and not self._holders:
            self._remove()

    def close(self) -> None:
        """Remove all databases of this worker, as soon as no event loop needs them any more."""
        self._closing = True
        if not self._holders:
            self._remove()

    def _remove(self) -> None:
        for store in self.stores:
            store.close()
        self._stores.clear()
        pools.unlisten()
        if self._run is not None:
            self._run.leave()


class ToldBefore(SchemaError):
    """The short error for every test and worker that comes after the one that was told the whole."""


def told_before(error: str, worker: str) -> ToldBefore:
    """The short error from the long one."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    why = lines[min(1, len(lines) - 1)] if lines else ""
    return ToldBefore(f"there is no test database (an error before this one, of {worker}, tells it in full): {why}")


def _address(url: str, far: bool = False) -> Target | None:
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
