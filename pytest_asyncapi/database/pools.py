"""What the harness has to know of the app's real connections: SQLAlchemy's own events, for all engines at once.

Two uses: SQLite databases that are in memory exist in their connection only, so they are filled and put back there;
and engines that have made real connections in a loop are disposed before that loop goes.
"""

from __future__ import annotations

import asyncio
import functools
import sqlite3
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.pool import ConnectionPoolEntry

_OWN = "_asyncapi_own"
_template: sqlite3.Connection | None = None
_records: WeakSet[ConnectionPoolEntry] = WeakSet()
_engines: WeakSet[Engine] = WeakSet()
_bound: WeakKeyDictionary[ConnectionPoolEntry, asyncio.AbstractEventLoop] = WeakKeyDictionary()  # those of asyncpg
_watchers = 0
_listening = False


def listen() -> None:
    """Start to watch; each call needs an `unlisten()`."""
    global _watchers
    _watchers += 1
    refresh()


def refresh() -> None:
    """Watch SQLAlchemy if it has been imported by now; it is not imported for this."""
    global _listening
    if _watchers and not _listening and "sqlalchemy" in sys.modules:
        _listening = True
        _with_listeners("listen")


def unlisten() -> None:
    """Stop to watch, when nobody needs it any more."""
    global _watchers, _listening
    _watchers -= 1
    if not _watchers and _listening:
        _listening = False
        _with_listeners("remove")
        _engines.clear()


def _with_listeners(what: str) -> None:
    from sqlalchemy import event
    from sqlalchemy.engine import Engine
    from sqlalchemy.pool import Pool

    getattr(event, what)(Pool, "connect", _connected)
    getattr(event, what)(Engine, "engine_connect", _used)


def _used(connection: Connection) -> None:
    _engines.add(connection.engine)


def _connected(dbapi_connection: Any, record: ConnectionPoolEntry) -> None:
    if type(record.driver_connection).__module__.partition(".")[0] == "asyncpg":
        _bound[record] = asyncio.get_running_loop()
    if _raw(record.driver_connection) is None:
        return
    _records.add(record)
    template = _template
    if template is not None:
        _in_own_thread(dbapi_connection, lambda raw: _fill(raw, template))


def _raw(driver: Any) -> sqlite3.Connection | None:
    """The sqlite3 connection of a driver's connection, if it is one."""
    if isinstance(driver, sqlite3.Connection):
        return driver
    if type(driver).__module__.partition(".")[0] == "aiosqlite":
        with suppress(ValueError):  # closed
            raw: sqlite3.Connection = driver._conn
            return raw
    return None


def _in_own_thread(dbapi_connection: Any, work: Callable[[sqlite3.Connection], None]) -> None:
    if isinstance(dbapi_connection, sqlite3.Connection):
        work(dbapi_connection)
    else:
        dbapi_connection.run_async(lambda driver: driver._execute(lambda: work(driver._conn)))


async def _await_in_own_thread(driver: Any, work: Callable[[sqlite3.Connection], None]) -> None:
    if isinstance(driver, sqlite3.Connection):
        work(driver)
    else:
        await driver._execute(lambda: work(driver._conn))


def _in_memory(raw: sqlite3.Connection) -> bool:
    return not any(name == "main" and file for _, name, file in raw.execute("PRAGMA database_list"))


def _fill(raw: sqlite3.Connection, template: sqlite3.Connection) -> None:
    """Copy the template into a new database that has no file. One that is shared may hold tables already."""
    if _in_memory(raw) and not raw.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        template.backup(raw)


def fill_memory_databases(template: sqlite3.Connection | None) -> None:
    """Every SQLite database in memory begins with what `template` holds."""
    global _template
    _template = template


async def copies_of_memory_databases() -> WeakKeyDictionary[ConnectionPoolEntry, sqlite3.Connection]:
    """What the databases in memory hold now."""
    copies: WeakKeyDictionary[ConnectionPoolEntry, sqlite3.Connection] = WeakKeyDictionary()

    def copy(raw: sqlite3.Connection, record: ConnectionPoolEntry) -> None:
        if _in_memory(raw):
            copies[record] = sqlite3.connect(":memory:", check_same_thread=False)
            raw.backup(copies[record])

    for record in _open_records():
        await _await_in_own_thread(record.driver_connection, functools.partial(copy, record=record))
    return copies


async def restore_memory_databases(
    template: sqlite3.Connection, copies: Mapping[ConnectionPoolEntry, sqlite3.Connection]
) -> None:
    """Put each database in memory back to its copy, or to the template."""

    def restore(raw: sqlite3.Connection, original: sqlite3.Connection) -> None:
        if _in_memory(raw):
            original.backup(raw)

    for record in _open_records():
        work = functools.partial(restore, original=copies.get(record, template))
        await _await_in_own_thread(record.driver_connection, work)


def _open_records() -> list[ConnectionPoolEntry]:
    return [record for record in list(_records) if _raw(record.driver_connection) is not None]


async def roll_back_open_transactions() -> list[str]:
    """End the transactions that the test left open on SQLite, and name them."""
    left_open = []
    for record in list(_records):
        raw = _raw(record.driver_connection)
        if raw is None or not raw.in_transaction:
            continue
        if getattr(raw, "autocommit", None) is not False:  # of Python 3.12: there is always a transaction
            left_open.append(f"a SQLite connection left in a transaction ({raw.total_changes} changes)")
        with suppress(sqlite3.Error):
            await _await_in_own_thread(record.driver_connection, lambda raw: raw.rollback())
    return left_open


async def dispose_engines() -> None:
    """Close the real connections that the engines made in this loop. Databases in memory stay."""
    if not len(_engines):
        return
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.pool import SingletonThreadPool, StaticPool

    for engine in list(_engines):
        _engines.discard(engine)
        if isinstance(engine.pool, (StaticPool, SingletonThreadPool)):
            continue
        if engine.dialect.is_async:
            await AsyncEngine(engine).dispose()
        else:
            engine.dispose()


def leave_other_loops() -> None:
    """Drop the idle connections of asyncpg that were made in another loop than this one, where they are of no use."""
    here = asyncio.get_running_loop()
    for record, loop in list(_bound.items()):
        if loop is not here and record.driver_connection is not None and not record.in_use:
            with suppress(RuntimeError):  # that loop is closed
                record.invalidate()
            _bound.pop(record, None)


def our_own(engine: AsyncEngine) -> AsyncEngine:
    """Mark an engine of the harness, which tells nothing of the app."""
    engine.sync_engine.__dict__[_OWN] = True
    return engine


def engines() -> list[Engine]:
    """The engines of the app that exist in this process; it takes a while to find them."""
    if "sqlalchemy" not in sys.modules:
        return []
    import gc

    from sqlalchemy.engine import Engine

    found = [each for each in gc.get_objects() if issubclass(type(each), Engine)]  # isinstance() would wake proxies
    found = [engine for engine in found if _OWN not in engine.__dict__]
    return found if len(found) < 2 else _in_order_of_imports(found)


def _in_order_of_imports(engines: list[Engine]) -> list[Engine]:
    """As the modules that have them were imported: in every process alike, unlike the collector's order."""
    places: dict[int, int] = {}
    for module in list(sys.modules.values()):
        for value in list(getattr(module, "__dict__", {}).values()):
            engine = value.sync_engine if type(value).__name__ == "AsyncEngine" else value
            places.setdefault(id(engine), len(places))
    return sorted(engines, key=lambda engine: places.get(id(engine), len(places)))
