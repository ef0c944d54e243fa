"""How a PostgreSQL database is put back after real commits: by one message.

It calls a function that is kept beside the copies of the rows, for PostgreSQL then plans its statements only once.
DELETE beats TRUNCATE many times on small tables, since no file is made. `session_replication_role = replica` switches
foreign keys and triggers off, so the order does not matter; it needs a superuser. Others get one TRUNCATE of all.
"""

from __future__ import annotations

import graphlib
from dataclasses import dataclass
from typing import Any

from pytest_asyncapi.database.admin import Session, literal, sqlstate

BASELINE = "pytest_asyncapi_baseline"
LOCK_NOT_AVAILABLE = "55P03"
VACUUM_EVERY = 200  # resets; autovacuum is off
VACUUM_ABOVE = 256 * 1024  # bytes

_TABLES = f"""
SELECT c.oid::int8, c.oid::regclass::text, (
    SELECT string_agg(quote_ident(attname), ',' ORDER BY attnum) FROM pg_attribute
    WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
  AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE '{BASELINE}%'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
"""
_SEQUENCES = f"""
SELECT format('%I.%I', schemaname, sequencename), coalesce(last_value, start_value), last_value IS NOT NULL
FROM pg_sequences WHERE schemaname NOT LIKE '{BASELINE}%'
"""
_REFERENCES = "SELECT conrelid::int8, confrelid::int8 FROM pg_constraint WHERE contype = 'f' AND conrelid <> confrelid"
_SHAPE = f"""
SELECT count(*), coalesce(max(oid::int8), 0), coalesce(sum(relnatts), 0) FROM pg_class
WHERE oid >= 16384 AND relpersistence <> 't' AND relnamespace <> 'pg_toast'::regnamespace
  AND relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname LIKE '{BASELINE}%')
"""
_HOLDERS = """
SELECT pid, state, left(query, 200) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
  AND xact_start IS NOT NULL
"""


Sequences = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Holder:
    """A transaction that the test left open: its last statement."""

    pid: int
    state: str
    sql: str

    def __str__(self) -> str:
        return f"a connection left {self.state}, last SQL: {' '.join(self.sql.split())}"


class DatabaseChanged(Exception):
    """The test created, dropped or changed tables: only a new copy puts that back."""


class Resetter:
    """Puts a database back to what it held when this was prepared: rows, sequences."""

    def __init__(self, session: Session, message: str) -> None:
        self.session = session
        self._message = message
        self._count = 0

    @classmethod
    async def prepare(cls, session: Session, schema: str = BASELINE, sequences: Sequences | None = None) -> Resetter:
        """Read the tables, and keep a copy of the rows that are there (of migrations, of a lifespan) in `schema`.

        `sequences` as they shall be, if not as they are.
        """
        superuser = (await session.fetch("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"))[0][0]
        await session.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
        tables = await session.fetch(_TABLES)
        if not superuser:
            tables = _parents_first(tables, await session.fetch(_REFERENCES))
        filled = await _filled(session, [name for _, name, _ in tables])
        refill = []
        await session.execute(f"CREATE SCHEMA {schema}")
        for number, (_, name, columns) in enumerate(tables):
            if name in filled:
                copy = f"{schema}.b{number}"
                await session.execute(f"CREATE UNLOGGED TABLE {copy} AS SELECT {columns} FROM {name}")
                refill.append(f"INSERT INTO {name}({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {copy}")
        names = [name for _, name, _ in tables]
        parts = ["SET LOCAL lock_timeout = '1s'"]
        if superuser and names:
            parts.append(f"LOCK TABLE {','.join(names)} IN EXCLUSIVE MODE")  # waits for who is about to write
            parts.append("SET LOCAL session_replication_role = replica")
            parts += (f"IF EXISTS (SELECT FROM {name}) THEN DELETE FROM {name}; END IF" for name in names)
        elif names:
            parts.append(f"TRUNCATE {','.join(names)} CASCADE")
        parts += refill
        sequences = await sequences_of(session) if sequences is None else sequences
        if sequences:
            calls = (f"setval({literal(name)},{value},{str(called).lower()})" for name, value, called in sequences)
            parts.append(f"PERFORM {','.join(calls)}")
        shape = ",".join(f"{number}::int8" for number in (await session.fetch(_SHAPE))[0])
        now = f"SELECT ROW(a, b, c) FROM ({_SHAPE}) AS shape (a, b, c)"
        changed = f"IF ({now}) IS DISTINCT FROM ROW({shape}) THEN RETURN false; END IF"
        body = f"BEGIN {';'.join([changed, *parts])}; RETURN true; END"
        await session.execute(f"CREATE FUNCTION {schema}.reset() RETURNS boolean LANGUAGE plpgsql AS {literal(body)}")
        return cls(session, f"SELECT {schema}.reset()")

    async def reset(self) -> list[Holder]:
        """Put the rows back. Gives the transactions that stood in the way, which it has cut off.

        Raises DatabaseChanged when tables have been changed.
        """
        holders = []
        try:
            await self._run()
        except Exception as error:
            if sqlstate(error) != LOCK_NOT_AVAILABLE:
                raise
            holders = [Holder(*row) for row in await self.session.fetch(_HOLDERS)]
            for holder in holders:
                await self.session.fetch(f"SELECT pg_terminate_backend({holder.pid}, 2000)")
            await self._run()
        self._count += 1
        if self._count % VACUUM_EVERY == 0:
            await self._vacuum()
        return holders

    async def _run(self) -> None:
        if not (await self.session.fetch(self._message))[0][0]:
            raise DatabaseChanged

    async def _vacuum(self) -> None:
        for oid, name, _ in await self.session.fetch(_TABLES):
            if (await self.session.fetch(f"SELECT pg_total_relation_size({oid})"))[0][0] > VACUUM_ABOVE:
                await self.session.execute(f"VACUUM {name}")


async def sequences_of(session: Session) -> Sequences:
    """The sequences of a database, with their values."""
    return await session.fetch(_SEQUENCES)


async def _filled(session: Session, tables: list[str]) -> set[str]:
    if not tables:
        return set()
    query = " UNION ALL ".join(f"SELECT {literal(name)} WHERE EXISTS (SELECT FROM {name})" for name in tables)
    return {row[0] for row in await session.fetch(query)}


def _parents_first(tables: list[tuple[Any, ...]], references: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    known = {table[0]: table for table in tables}
    graph: dict[int, set[int]] = {oid: set() for oid in known}
    for child, parent in references:
        if child in known and parent in known:
            graph[child].add(parent)
    try:
        return [known[oid] for oid in graphlib.TopologicalSorter(graph).static_order()]
    except graphlib.CycleError:
        return tables
