"""The databases of one test run, as one worker sees them: made when they are first needed, removed at the end."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import ref

from pytest_asyncapi.database import naming, pools, schema
from pytest_asyncapi.database.naming import Key
from pytest_asyncapi.database.opening import Opening, Wishes, after, server_of
from pytest_asyncapi.database.store import Store
from pytest_asyncapi.database.targets import Address, Redirect, Target, Unanswered
from pytest_asyncapi.errors import ConfigurationError, DatabaseError, SchemaError
from pytest_asyncapi.masking import masked

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["Home", "Wishes"]

DIALECTS = ("postgresql", "sqlite")


class Home:
    """Gives each database that the app names one of the harness, and the redirect that sends its connections there."""

    def __init__(self, wishes: Wishes, tables: Any = None) -> None:
        self.wishes = wishes
        self._tables = tables
        self._entries: list[naming.Entry] | None = None
        self._firsts: dict[str, naming.Entry] = {}
        self._main: dict[str, str] = {}  # dialect -> the app's name of its main database
        self._stores: dict[Key, Store] = {}
        self._failures: dict[Key, Exception] = {}  # what comes after the first
        self._untold: dict[Key, Exception] = {}
        self._opening = Opening(wishes)
        self._lock = threading.RLock()
        self._clones: dict[Key, Target] | None = None  # while a test has databases of its own
        self._whole = False  # they are copies of the workers' databases, not of the templates
        self.generation = 0  # it changes when the databases have closed all connections
        self._holders = 0
        self._closing = False
        self._committing = False
        self._engines: list[ref[Engine]] = []
        self.dirty = False  # a test in commit isolation has begun, and the databases have not been put back
        self.settled = True  # False when a fixture of many tests has connected: what it wrote is to stay
        self.seeded = False  # such a fixture has been there
        self._imported = {"asyncpg", "psycopg"} & set(sys.modules)  # by the app: later we import one ourselves
        self._allowed = self._read_wishes()
        self._default: str | None = self._allowed[0] if len(self._allowed) == 1 else None
        pools.listen()
        hint = (
            f"The test database is {masked(wishes.database)} (asyncapi_database): "
            "set it to auto, or to what the app speaks."
        )
        self.redirect = Redirect(self.target_of, enabled=wishes.redirect, hint=hint if self._default else "")

    def _read_wishes(self) -> tuple[str, ...]:
        """The dialects that `asyncapi_database` allows."""
        database = self.wishes.database
        if database == "auto":
            return DIALECTS
        return ("sqlite",) if database.startswith("sqlite") else ("postgresql",)

    # ---- which database

    @property
    def has_schema(self) -> bool:
        """Whether the project says where the tables come from."""
        return self._tables not in (None, "", [], (), {})

    @property
    def entries(self) -> list[naming.Entry]:
        """The schema's databases, where it is a mapping."""
        if self._entries is None:
            self._entries = naming.entries_of(self._tables)
        return self._entries

    @property
    def default(self) -> str:
        """The dialect of the test's own sessions: as set, else what the app's engine speaks, else what is installed."""
        if self._default is None:
            spoken = [engine.dialect.name for engine in self.app_engines() if engine.dialect.name in DIALECTS]
            if self.entries and self.entries[0].dialect in DIALECTS:
                self._default = self.entries[0].dialect
            elif spoken:
                self._default = spoken[0]
            elif server_of(self.wishes.server) or (
                ("asyncpg" in sys.modules or "psycopg" in sys.modules) and "aiosqlite" not in sys.modules
            ):
                self._default = "postgresql"
            else:
                self._default = "sqlite"
        return self._default

    def key_of(self, address: Address) -> Key:
        """Which of the databases answers an address. Raises Unanswered when the schema, a mapping, has none for it."""
        dialect, name = address.dialect, naming.name_of(address)
        if not self.wishes.redirect:
            return Key(dialect)  # the app has to name it itself
        for key, store in list(self._stores.items()):
            own = (store.target, (self._clones or {}).get(key, store.target))
            if any(target.dialect == dialect and target.database == name for target in own):
                return key  # an engine of ours
        if self.entries:
            for entry in self.entries:
                if entry.answers(dialect, name):
                    return Key(dialect, "" if entry is self._first(dialect) else entry.label)
            labels = " and ".join(entry.label for entry in self.entries)
            raise Unanswered(
                f"the schema of the test databases names {labels} only. Give it a line: "
                f"{naming.shown(name)} = package.module:Base.metadata"
            )
        main = self._main_name(dialect)
        if not main:
            self._main[dialect] = main = name
        return Key(dialect, "" if name == main else name)

    def _first(self, dialect: str) -> naming.Entry | None:
        """The entry of the main database of a dialect."""
        if dialect in self._firsts:
            return self._firsts[dialect]
        engines = [naming.address_of_url(engine.url) for engine in self.app_engines()]
        for entry in self.entries:
            spoken = {each.dialect for each in engines if entry.answers(each.dialect, naming.name_of(each))}
            if entry.dialect == dialect or (not entry.dialect and (dialect in spoken or not spoken)):
                self._firsts[dialect] = entry
                return entry
        return None

    def _main_name(self, dialect: str) -> str:
        """The app's name of its main database: what its first engine connects to, else what is connected to first."""
        if dialect not in self._main:
            for engine in self.app_engines():
                address = naming.address_of_url(engine.url)
                if address.dialect == dialect and not address.in_memory:
                    self._main[dialect] = naming.name_of(address)
                    break
        return self._main.get(dialect, "")

    def find(self, database: Any) -> Key:
        """The database that a test calls by a name, or by the app's engine."""
        if not isinstance(database, str):
            return self.key_of(naming.address_of_url(database.url))
        names: set[tuple[str, str]] = {(engine.dialect.name, self._name(engine)) for engine in self.app_engines()}
        names |= {(key.dialect, key.label or self._main.get(key.dialect, "")) for key in self._stores}
        for dialect, name in sorted(names):
            if naming.called(database, dialect, name) and dialect in DIALECTS:
                return self.key_of(Address(dialect, database=name))
        for entry in self.entries:
            if entry.label == database:
                dialect = entry.dialect or self.default
                return Key(dialect, "" if entry is self._first(dialect) else entry.label)
        known = {naming.shown(name) for _, name in names if name} | {entry.label for entry in self.entries}
        raise DatabaseError(f"the app has no database {database!r}; there is {', '.join(sorted(known)) or 'none yet'}")

    @staticmethod
    def _name(engine: Engine) -> str:
        return naming.name_of(naming.address_of_url(engine.url))

    @property
    def names(self) -> list[str]:
        """The databases that were made, as the app calls them; the main one first."""
        keys = sorted(self._stores, key=lambda key: (key.dialect != self._default, key.label))
        labels = (key.label or self._main.get(key.dialect) or self._label(key.dialect) for key in keys)
        return [naming.shown(label) for label in labels]

    def _label(self, dialect: str) -> str:
        first = self._first(dialect) if self.entries else None
        return first.label if first is not None else "main"

    def _tables_of(self, key: Key) -> Any:
        if not self.entries:
            return self._tables
        first = self._first(key.dialect)
        found = [entry for entry in self.entries if (entry is first if not key.label else entry.label == key.label)]
        return found[0].tables if found else None

    # ---- where connections go

    def target_of(self, address: Address) -> Target | None:
        """Where connections to an address go in this moment; None when nothing of ours speaks its dialect."""
        if address.dialect not in self._allowed:
            return None
        return self.target(self.key_of(address))

    def target(self, key: Key) -> Target:
        """A database of the harness: the worker's, or this test's own copy of it."""
        store = self.open(key)
        if self._clones is None:
            return store.target
        if key not in self._clones:
            self._clones[key] = store.clone(whole=self._whole)
        return self._clones[key]

    def begin_clones(self, whole: bool) -> None:
        """A test gets databases of its own: each is copied when it is first used.

        `whole`: with what shared fixtures, or a lifespan that tests share, have written beside the schema.
        """
        self._clones, self._whole = {}, whole or self.seeded
        self.generation += self._whole

    @contextmanager
    def beside_clones(self) -> Iterator[None]:
        """What connects in the block reaches the worker's databases; then the clones are copied from those again."""
        clones, self._clones = self._clones or {}, None
        try:
            yield
        finally:
            self.begin_clones(whole=True)
            self._clones = {key: self._stores[key].clone(whole=True, into=clone) for key, clone in clones.items()}

    def end_clones(self) -> None:
        """The test is over."""
        clones, self._clones = self._clones or {}, None
        for key, clone in clones.items():
            self._stores[key].discard(clone)

    def store(self, dialect: str | None = None) -> Store:
        """The main database of a dialect, made when it is first asked for."""
        return self.open(Key(dialect or self.default))

    def open(self, key: Key) -> Store:
        """A database, made when it is first asked for."""
        with self._lock:
            self._raise_failure(key)
            if key not in self._stores:
                try:
                    self._stores[key] = self._opening.open(key, self._tables_of(key), own_schema=bool(self.entries))
                except Exception as error:
                    self._failures[key] = after(error, self.wishes.worker)
                    raise
                if self._committing:
                    self._stores[key].watch()
            return self._stores[key]

    def _raise_failure(self, key: Key) -> None:
        if key in self._untold:
            raise self._untold.pop(key)
        if key in self._failures:
            raise self._failures[key]

    def prepare(self) -> None:
        """Make the databases of the app's engines.

        A schema that is wrong is told at once. That there is no server is kept for the first test that needs it.
        """
        for engine in self.app_engines():
            address = naming.address_of_url(engine.url)
            if address.dialect not in self._allowed:
                continue
            try:
                key = Key(address.dialect) if address.in_memory else self.key_of(address)
            except Unanswered:
                continue  # told where it is connected to
            if key in self._stores or key in self._untold:
                continue
            try:
                self.open(key)
            except (SchemaError, ConfigurationError):
                raise
            except Exception as error:
                if not isinstance(error, DatabaseError):
                    raise
                self._untold[key] = error

    def begin_commits(self) -> None:
        """A test is about to make real commits: have the databases put back after it."""
        self._committing = self.dirty = True
        for store in self.stores:
            store.watch()

    # ---- the app's engines

    def app_engines(self) -> list[Engine]:
        """SQLAlchemy's engines in this process, those that the test's sessions should resemble first."""
        found = [engine for engine in (each() for each in self._engines) if engine is not None]
        if not found:
            found = pools.engines()
            self._engines = [ref(engine) for engine in found]
        return sorted(found, key=lambda engine: (not engine.dialect.is_async, engine.dialect.name != self._default))

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

    # ---- the end

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
        for store in reversed(self.stores):  # the one that started the server waits for its end
            store.close()
        self._stores.clear()
        pools.unlisten()
        self._opening.close()
