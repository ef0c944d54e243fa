"""Names, marks and liveness of the databases on a PostgreSQL server that several runs and workers share.

A worker's database is `<base>_aapi_<run>_<worker>` (`<worker>d2` for a second one); a template is
`<base>_aapi_tpl<tag>_<fingerprint>`, where the tag tells schemas of several databases apart. Their comment is
our mark. As long as a worker lives, its keeper connection holds an advisory lock of the database's name; the server
drops the lock when the worker dies, however it dies. A database whose lock can be had is nobody's, and is dropped.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from pytest_asyncapi.database.admin import Session, literal, quoted
from pytest_asyncapi.database.targets import MARK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NAME_LIMIT = 63
WORKER_NAME = r"_aapi_[0-9a-f]{8}_[a-z0-9]+(_c[0-9]+)?$"


def run_id(uid: str | None = None) -> str:
    """Eight characters that all processes of a test run share (`uid` is xdist's name of it), and no other run has."""
    return hashlib.sha256((uid or f"{os.getpid()} {time.time_ns()}").encode()).hexdigest()[:8]


def project_key() -> str:
    """Eight characters of the directory that the tests run in."""
    return hashlib.sha256(os.getcwd().encode()).hexdigest()[:8]


def safe(base: str) -> str:
    """`base` with nothing in it but what needs no quotes."""
    return re.sub(r"[^a-z0-9_]", "_", base.lower()) or "test"


def fitted(base: str, tail: str) -> str:
    """`base` and `tail`, within PostgreSQL's limit of a name."""
    return safe(base)[: NAME_LIMIT - len(tail)] + tail


def worker_database(base: str, run: str, worker: str) -> str:
    return fitted(base, f"_aapi_{run}_{worker}")


def template_database(base: str, fingerprint: str, tag: str = "") -> str:
    return fitted(base, f"_aapi_tpl{tag}_{fingerprint}")


def lock_key(name: str) -> int:
    """The advisory lock that stands for a name."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)


@asynccontextmanager
async def lock(session: Session, name: str) -> AsyncIterator[None]:
    """Hold the advisory lock of `name`; waits for who holds it."""
    await session.fetch(f"SELECT pg_advisory_lock({lock_key(name)})")
    try:
        yield
    finally:
        await session.fetch(f"SELECT pg_advisory_unlock({lock_key(name)})")


async def mark(session: Session, database: str, **facts: Any) -> None:
    """Mark a database as ours."""
    await session.execute(f"COMMENT ON DATABASE {quoted(database)} IS {literal(MARK + json.dumps(facts))}")


async def mark_of(session: Session, database: str) -> dict[str, Any] | None:
    """What we noted on a database; None when it is not there, or not ours."""
    query = f"SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = {literal(database)}"
    rows = await session.fetch(query)
    if not rows or not str(rows[0][0]).startswith(MARK):
        return None
    facts: dict[str, Any] = json.loads(rows[0][0][len(MARK) :])
    return facts


async def drop(session: Session, database: str) -> None:
    """Drop a database, whoever is connected to it."""
    await session.execute(f"DROP DATABASE IF EXISTS {quoted(database)} WITH (FORCE)")


async def reap(session: Session) -> list[str]:
    """Drop the databases of workers that are gone; give their names.

    One whose worker was killed before it could leave its mark is known by its name.
    """
    rows = await session.fetch(
        "SELECT datname FROM (SELECT datname, shobj_description(oid, 'pg_database') AS note FROM pg_database) AS d"
        f" WHERE note LIKE {literal(MARK + '%')} AND note LIKE '%\"worker\"%'"
        f" OR note IS NULL AND datname ~ {literal(WORKER_NAME)}"
    )
    gone = []
    for (name,) in rows:
        owner = re.sub(r"_c[0-9]+$", "", name)  # a clone goes with its worker
        if (await session.fetch(f"SELECT pg_try_advisory_lock({lock_key(owner)})"))[0][0]:
            try:
                await drop(session, name)
                gone.append(name)
            finally:
                await session.fetch(f"SELECT pg_advisory_unlock({lock_key(owner)})")
    return gone


async def drop_unused_templates(
    session: Session, base: str, *, tag: str = "", but: str = "", kept: bool = False
) -> None:
    """Drop the templates of `base`, and of one schema, that no worker uses.

    Those that wait for another run only if `kept`.
    """
    prefix = fitted(base, f"_aapi_tpl{tag}_")
    query = f"SELECT datname FROM pg_database WHERE starts_with(datname, {literal(prefix)})"
    for (name,) in await session.fetch(query):
        facts = await mark_of(session, name) or {}
        if name == but or (facts.get("keep") and not kept):
            continue
        use = lock_key(name + "/use")
        if (await session.fetch(f"SELECT pg_try_advisory_lock({use})"))[0][0]:
            try:
                await drop(session, name)
            finally:
                await session.fetch(f"SELECT pg_advisory_unlock({use})")
