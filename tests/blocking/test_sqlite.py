"""sqlite3: queries of a file are told on whatever connection; in memory, and in threads, they are not."""

import asyncio
import sqlite3
from pathlib import Path

from pytest_asyncapi.blocking import detect_blocking


def calls(blocks) -> list[str]:
    return [block.call for block in blocks]


async def test_queries_of_a_connection_that_a_thread_opened_are_told(tmp_path: Path):
    async with detect_blocking(threshold=10) as blocks:
        connection = await asyncio.to_thread(sqlite3.connect, tmp_path / "a.db", check_same_thread=False)
        connection.execute("create table t (x)")
        cursor = connection.cursor()
        cursor.executemany("insert into t values (?)", [(1,), (2,)])
        assert cursor.execute("select x from t").fetchall() == [(1,), (2,)]
        connection.commit()
        await asyncio.to_thread(connection.execute, "select 1")
        connection.close()

    assert calls(blocks) == [
        "sqlite3.Connection.execute",
        "sqlite3.Cursor.executemany",
        "sqlite3.Cursor.execute",
        "sqlite3.Cursor.fetchall",
        "sqlite3.Connection.commit",
    ]
    assert blocks[0].remedy.startswith("aiosqlite")


async def test_in_memory_and_with_a_factory_of_its_own_nothing_changes(tmp_path: Path):
    class Own(sqlite3.Connection):
        pass

    async with detect_blocking(threshold=10) as blocks:
        memory = sqlite3.connect(":memory:")
        memory.execute("select 1").fetchall()
        own = await asyncio.to_thread(sqlite3.connect, tmp_path / "a.db", factory=Own, check_same_thread=False)
        assert (type(memory), type(own)) == (sqlite3.Connection, Own)
        memory.close()
        own.close()

    assert calls(blocks) == []


async def test_a_watched_connection_is_one(tmp_path: Path):
    before = (sqlite3.connect,)  # by a name of this module it would be replaced too
    async with detect_blocking(threshold=10) as blocks:
        connection = sqlite3.connect(tmp_path / "a.db")
    connection.row_factory = sqlite3.Row
    assert isinstance(connection, sqlite3.Connection)
    assert repr(connection).startswith("<sqlite3.Connection object at ")
    assert repr(connection.cursor()).startswith("<sqlite3.Cursor object at ")
    with connection:
        assert connection.execute("select 1 as one").fetchone()["one"] == 1

    class Counting(sqlite3.Cursor):
        pass

    assert type(connection.cursor(Counting)) is Counting
    connection.close()
    assert calls(blocks) == ["sqlite3.connect"]  # nothing after the end
    assert (sqlite3.connect,) == before
