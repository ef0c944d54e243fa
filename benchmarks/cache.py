"""The in-memory Redis against a real server on TCP loopback, and against fakeredis in place of the client object.

CPU time, of this process and of the server's together. Run: python -m benchmarks.cache
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import fakeredis
import redis.asyncio

from benchmarks._timing import Ratio, ratios, table
from pytest_asyncapi.cache import RealServer, Sandbox
from pytest_asyncapi.cache.server import find_program

COUNT = 400
OURS = ("memory",)  # the rows whose getting worse is named
Work = Callable[[redis.asyncio.Redis], Awaitable[None]]


async def get(client: redis.asyncio.Redis) -> None:
    for _ in range(COUNT):
        await client.get("key")


async def set_with_ttl(client: redis.asyncio.Redis) -> None:
    for _ in range(COUNT):
        await client.set("key", "value", ex=60)


async def hashes_and_counters(client: redis.asyncio.Redis) -> None:
    for _ in range(COUNT // 4):
        await client.incr("counter")
        await client.hset("hash", "field", "value")
        await client.expire("hash", 60)
        await client.hgetall("hash")


async def pipeline(client: redis.asyncio.Redis) -> None:
    for _ in range(COUNT // 20):
        batch = client.pipeline(transaction=False)
        for _ in range(20):
            batch.get("key")
        await batch.execute()


@contextlib.contextmanager
def tcp_server() -> Iterator[tuple[int, int]]:
    """A real server on a free TCP port: (port, process id)."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [find_program(), "--port", str(port), "--save", "", "--appendonly", "no", "--dir", folder]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.01)
            yield port, process.pid
        finally:
            process.terminate()
            process.wait()


def processor_seconds(*others: int) -> float:
    """CPU time of this process and of others, by its full precision (Linux)."""
    total = time.process_time()
    for pid in others:
        total += int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    return total


def measure(loop: asyncio.AbstractEventLoop, work: Work, rounds: int) -> list[Ratio]:
    run = loop.run_until_complete
    with tcp_server() as (port, pid), Sandbox() as sandbox:
        swap = fakeredis.FakeAsyncRedis()
        with suspended(sandbox):
            real = redis.asyncio.Redis(port=port)
            run(real.set("key", "value"))
        memory = sandbox.client()
        run(memory.set("key", "value"))
        run(swap.set("key", "value"))
        cases = {
            "a real server on TCP loopback": lambda: run(work(real)),
            "redis_cache, in memory": lambda: run(work(memory)),
            "fakeredis in place of the client": lambda: run(work(swap)),
        }
        found = ratios(cases, rounds=rounds, clock=lambda: processor_seconds(pid))
        for client in (memory, swap, real):
            run(client.aclose())
    return found


@contextlib.contextmanager
def suspended(sandbox: Sandbox) -> Iterator[None]:
    """Connections made inside are real."""
    sandbox.close()
    try:
        yield
    finally:
        sandbox.open()


def one_test(server: RealServer | None, loop: asyncio.AbstractEventLoop) -> Callable[[], Any]:
    async def test() -> None:
        with Sandbox(server) as sandbox:
            async with sandbox.client() as client:
                await client.set("key", "value")

    return lambda: loop.run_until_complete(test())


def main(rounds: int = 15) -> None:
    loop = asyncio.new_event_loop()
    for title, work in (
        ("GET", get),
        ("SET with a TTL", set_with_ttl),
        ("INCR, HSET, EXPIRE, HGETALL", hashes_and_counters),
        ("GET, 20 in a pipeline", pipeline),
    ):
        print(table(title, measure(loop, work, rounds), unit="CPU time, ratio to a real server"))

    with Sandbox() as sandbox:
        sandbox.control  # noqa: B018 - imports fakeredis
    times = []
    for _ in range(200):
        begin = time.process_time()
        with Sandbox() as sandbox:
            sandbox.client()
        times.append(time.process_time() - begin)
    print(f"Enter and exit of the fixture: {sorted(times)[100] * 1e6:.0f} µs (limit: 1000)\n")

    server = RealServer()
    try:
        found = ratios(
            {"in memory": one_test(None, loop), "a real server": one_test(server, loop)}, rounds=rounds, number=20
        )
    finally:
        server.stop()
    print(table("A test: fixture, one connection, one SET", found))
    loop.close()


if __name__ == "__main__":
    main()
