"""10,000 generated tests in one run of pytest: `python -m benchmarks.scale [--tests N] [--database sqlite]`.

Each test has a client, a session, an upstream and Redis, and uses all four. What is printed: memory after the first
thousand tests and at the end; the CPU time of the last thousand beside that of the first; the tasks, threads, sockets
and files that there are at both points; the databases and temporary files that the run left behind; and how much faster
`-n 2` is. Linux only, since it reads /proc.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pytest_asyncapi.database import admin, server
from pytest_asyncapi.database.targets import Target

TESTS = 10_000
A_FILE = 100  # tests in a generated module
LIMIT = 1.1  # the last thousand beside the first
SPEED_UP = 1.7  # -n 2 beside one process

APP = """
import os
from contextlib import asynccontextmanager

import aiohttp
import redis.asyncio
from fastapi import FastAPI
from sqlalchemy import select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    price: Mapped[float]


engine = create_async_engine(os.environ["SCALE_ENGINE"])
sessions = async_sessionmaker(engine, expire_on_commit=False)
cache = redis.asyncio.Redis(host="localhost")


@asynccontextmanager
async def lifespan(app):
    async with aiohttp.ClientSession() as app.state.http:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/orders/{name}")
async def create(name: str):
    async with app.state.http.get("https://rates.example.com/usd") as answer:
        rate = (await answer.json())["rate"]
    async with sessions.begin() as session:
        order = Order(name=name, price=rate * 2)
        session.add(order)
    await cache.set(f"order:{order.id}", name, ex=60)
    return {"id": order.id}


@app.get("/orders")
async def listing():
    async with sessions() as session:
        return list(await session.scalars(select(Order.name).order_by(Order.id)))
"""
TEST = """

async def test_{number}(client, db_session, upstream, redis_cache):
    upstream.get("https://rates.example.com/usd").reply({{"rate": {number}}})
    db_session.add(Order(name="first", price=1))
    await db_session.commit()

    created = (await client.post("/orders/second")).json()

    assert (await client.get("/orders")).json() == ["first", "second"]
    assert await redis_cache.get(f"order:{{created['id']}}") == b"second"
"""
CONFTEST = '''
import asyncio
import gc
import json
import os
import threading
import time
from pathlib import Path

import pytest

THOUSAND, TESTS = int(os.environ["SCALE_THOUSAND"]), int(os.environ["SCALE_TESTS"])
times = []
walls = []
found = []


def look():
    """What the process holds now."""
    gc.collect()
    links = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            links.append(os.readlink(link))
        except OSError:  # the one that listed them
            pass
    sockets = [link for link in links if link.startswith("socket:")]
    return {
        "memory": int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6,
        "tasks": sum(issubclass(type(each), asyncio.Task) and not each.done() for each in gc.get_objects()),
        "threads": threading.active_count(),
        "sockets": len(sockets),
        "files": len(links) - len(sockets),
    }


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    begin, wall = time.process_time(), time.perf_counter()
    result = yield
    times.append(time.process_time() - begin)
    walls.append(time.perf_counter() - wall)
    if len(times) in (THOUSAND, TESTS - 1):  # before the last, with whose teardown the session's fixtures end
        found.append(look())
    return result


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session):
    told = {"cpu": times, "wall": walls, "looks": found, "whole": time.process_time()}
    Path(f"found-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}.json").write_text(json.dumps(told))
'''
INI = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
pythonpath = .
asyncapi_app = shop:app
asyncapi_schema = shop:Base.metadata
"""
ENGINES = {
    "postgresql": "postgresql+asyncpg://user:password@localhost/shop",
    "sqlite": "sqlite+aiosqlite:///shop.db",
}


def write(root: Path, tests: int) -> None:
    """The project: an app, a conftest that measures, and `tests` tests in modules of a hundred."""
    (root / "shop.py").write_text(APP)
    (root / "conftest.py").write_text(CONFTEST)
    (root / "pytest.ini").write_text(INI)
    for begin in range(0, tests, A_FILE):
        body = "".join(TEST.format(number=number) for number in range(begin, min(begin + A_FILE, tests)))
        (root / f"test_{begin // A_FILE:04}.py").write_text("from shop import Order\n" + body)


def run(root: Path, database: str, tests: int, *arguments: str, **environment: str) -> float:
    """One run of pytest, which has to pass. Wall seconds."""
    plain = ["-q", "-p", "no:randomly", "-p", "no:cacheprovider", "--no-header"]
    settings = {
        "PYTEST_ADDOPTS": "",
        "SCALE_ENGINE": ENGINES[database],
        "SCALE_TESTS": str(tests),
        "SCALE_THOUSAND": str(min(1000, tests // 2)),
    }
    # a worker of xdist may have called, which the run is none of
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plain, *arguments],
        cwd=root,
        env=outside | settings | environment,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"the run failed:\n{done.stdout[-4000:]}")
    return time.perf_counter() - begin


async def databases(target: Target) -> set[str]:
    """The databases of a server."""
    session = await admin.connect(target)
    try:
        return {name for (name,) in await session.fetch("SELECT datname FROM pg_database")}
    finally:
        await session.close()


def found(root: Path, worker: str) -> dict[str, Any]:
    """What the conftest wrote down of one process of the last run."""
    told: dict[str, Any] = json.loads((root / f"found-{worker}.json").read_text())
    return told


def left_in(folder: Path) -> list[str]:
    """The files that lie in a folder, but for the caches that are meant to stay."""
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()]


def show(rows: dict[str, tuple[Any, ...]], *columns: str) -> None:
    print(f"| | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for name, cells in rows.items():
        print(f"| {name} | {' | '.join(map(str, cells))} |")
    print(flush=True)


def one_process(root: Path, database: str, tests: int, **environment: str) -> None:
    """Memory, speed and leaks of a run in one process."""
    thousand = min(1000, tests // 2)
    run(root, database, tests, "-p", "no:xdist", **environment)
    told = found(root, "main")
    then, now = told["looks"]
    speed = {}
    for title, kind in (("CPU", "cpu"), ("wall", "wall")):
        times = told[kind][10:]  # without the imports, the template and the first connections
        first, last = times[:thousand], times[-thousand:]
        ratio = sum(last) / sum(first)
        low, middle, high = statistics.quantiles(times, n=4)
        each = f"{middle * 1e3:.1f} ms ({low * 1e3:.1f} to {high * 1e3:.1f})"
        speed[f"{title} time of a test"] = (each, f"{ratio:.2f}", LIMIT if kind == "cpu" else "")
    print(f"### {tests:,} tests in one process, {database}\n")
    show(speed, "median (quartiles)", f"the last {thousand:,} beside the first", "limit")
    names = {
        "memory": "memory, MB",
        "tasks": "tasks",
        "threads": "threads",
        "sockets": "sockets",
        "files": "open files",
    }
    rows = {title: (f"{then[name]:.0f}", f"{now[name]:.0f}") for name, title in names.items()}
    show(rows, f"after {thousand:,}", f"after {tests:,}")


def two_processes(root: Path, database: str, tests: int, **environment: str) -> None:
    """How much faster two workers are, in turns with one process.

    By the clock on the wall, which says something where two cores are free; and by CPU time, that of the one process
    beside that of the busier worker, which other work on the machine does not change.
    """
    files = [f"test_{number:04}.py" for number in range(max(1, min(tests, 2000) // A_FILE))]
    ratios: dict[str, list[float]] = {"wall time": [], "CPU time of the busier worker": []}
    for _ in range(3):
        alone = run(root, database, tests, "-p", "no:xdist", *files, **environment)
        whole = found(root, "main")["whole"]
        ratios["wall time"].append(alone / run(root, database, tests, "-n", "2", *files, **environment))
        busier = max(found(root, worker)["whole"] for worker in ("gw0", "gw1"))
        ratios["CPU time of the busier worker"].append(whole / busier)
    print(f"### -n 2, {len(files) * A_FILE:,} tests, {database}: times faster than one process (higher is better)\n")
    rows = {
        name: (f"{statistics.median(each):.2f} ({min(each):.2f} to {max(each):.2f})", SPEED_UP)
        for name, each in ratios.items()
    }
    show(rows, "ratio (least to most)", "limit")


def measure(database: str, tests: int, workers: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root, temporary = Path(folder, "project"), Path(folder, "tmp")
        root.mkdir()
        temporary.mkdir()
        write(root, tests)
        environment = {"TMPDIR": str(temporary)}
        if database == "postgresql":
            started = server.start(f"scale-{os.getpid()}")
            target = started.target
            environment["DATABASE_URL"] = f"postgresql://{target.user}@/postgres?host={target.host}&port={target.port}"
            before = asyncio.run(databases(target))
        try:
            one_process(root, database, tests, **environment)
            left = {"temporary files": left_in(temporary)}
            if database == "postgresql":
                left["databases"] = sorted(asyncio.run(databases(target)) - before)
            print(
                *(f"left behind: {len(names)} {what} {', '.join(names)}".rstrip() for what, names in left.items()),
                sep="; ",
            )
            print(flush=True)
            if workers:
                two_processes(root, database, tests, **environment)
        finally:
            if database == "postgresql":
                started.stop()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--tests", type=int, default=TESTS, help="how many tests (%(default)s)")
    parser.add_argument("--database", choices=list(ENGINES), default="postgresql", help="(%(default)s)")
    parser.add_argument("--no-workers", action="store_true", help="leave out the runs with -n 2")
    given = parser.parse_args([] if arguments is None else arguments)
    measure(given.database, given.tests, not given.no_workers)


if __name__ == "__main__":
    main(sys.argv[1:])
