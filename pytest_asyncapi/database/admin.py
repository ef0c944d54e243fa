"""The harness's own connections to PostgreSQL: in a thread with a loop of its own, by whichever driver is installed.

They belong to the run, not to a test's loop. Sync code uses `Admin.run`, code in a test's loop `Admin.arun`.
"""

from __future__ import annotations

import asyncio
import importlib.util
import re
import threading
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

from pytest_asyncapi.database.queries import unlogged
from pytest_asyncapi.database.targets import Direct, Target, routed
from pytest_asyncapi.errors import MissingDependency

T = TypeVar("T")


class Session(Protocol):
    """A connection. Statements are run as they are, outside of any transaction that they do not begin."""

    async def execute(self, sql: str) -> None:
        """Run one or more statements."""

    async def fetch(self, sql: str) -> list[tuple[Any, ...]]:
        """Run one query."""

    async def close(self) -> None: ...


class AsyncpgSession:
    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._turn = asyncio.Lock()

    async def execute(self, sql: str) -> None:
        async with self._turn:
            await self._connection.execute(sql)

    async def fetch(self, sql: str) -> list[tuple[Any, ...]]:
        async with self._turn:
            return [tuple(row) for row in await self._connection.fetch(sql)]

    async def close(self) -> None:
        await self._connection.close()


class PsycopgSession:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def execute(self, sql: str) -> None:
        await self._connection.execute(sql)

    async def fetch(self, sql: str) -> list[tuple[Any, ...]]:
        return list(await (await self._connection.execute(sql)).fetchall())

    async def close(self) -> None:
        await self._connection.close()


async def connect(target: Target) -> Session:
    """Connect by asyncpg, else by psycopg. For code that runs by `Admin`."""
    with routed(Direct()):
        if importlib.util.find_spec("asyncpg"):
            import asyncpg

            return AsyncpgSession(
                await asyncpg.connect(
                    host=target.host or None,
                    port=target.port,
                    user=target.user or None,
                    password=target.password,
                    database=target.database,
                    statement_cache_size=0,
                )
            )
        if importlib.util.find_spec("psycopg"):
            import psycopg

            return PsycopgSession(
                await psycopg.AsyncConnection.connect(
                    host=target.host or None,
                    port=target.port,
                    user=target.user or None,
                    password=target.password,
                    dbname=target.database,
                    autocommit=True,
                )
            )
    raise MissingDependency(
        "the test database is PostgreSQL, but neither asyncpg nor psycopg is installed: "
        "pip install 'pytest-asyncapi[postgres]'"
    )


def sqlstate(error: BaseException) -> str:
    """The SQLSTATE of a driver's error, or an empty text."""
    return str(getattr(error, "sqlstate", None) or "")


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as an SQL literal, whatever standard_conforming_strings says."""
    return (" E'" if "\\" in text else "'") + re.sub(r"(['\\])", r"\1\1", text) + "'"


async def _apart(work: Coroutine[Any, Any, T]) -> T:
    """`work`, with connections of its own, whatever holds for those of the test."""
    with routed(Direct()), unlogged():
        return await work


class Admin:
    """A thread with an event loop, in which the harness's connections live."""

    def __init__(self) -> None:
        self._loop = asyncio.SelectorEventLoop()  # psycopg takes no other on Windows
        self._thread = threading.Thread(target=self._serve, name="pytest-asyncapi database", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` in the thread and wait for it."""
        return asyncio.run_coroutine_threadsafe(_apart(work), self._loop).result()

    async def arun(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` in the thread while the caller's loop goes on."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_apart(work), self._loop))

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run `work` in the thread; `close` waits for it."""
        asyncio.run_coroutine_threadsafe(_apart(work), self._loop)

    def close(self) -> None:
        """Wait for what was started, and end the thread."""

        async def finish() -> None:
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.gather(*rest, return_exceptions=True)

        self.run(finish())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
