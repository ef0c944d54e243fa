"""Parallel workers never meet, nothing listens on TCP, and the Redis that the app's settings name is never reached."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_asyncapi.cache.resp import encode_command
from pytest_asyncapi.cache.server import find_program

PASSWORD = "production"


class Production:
    """A real Redis on a TCP port, as an app's settings may name one."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"redis://:{PASSWORD}@127.0.0.1:{port}/0"

    def ask(self, *fields: str) -> str:
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            for each in (("AUTH", PASSWORD), fields):
                connection.sendall(encode_command([field.encode() for field in each]))
                answer = connection.recv(65536).decode()
            return answer

    @property
    def connections(self) -> int:
        """How many have come, this one left out."""
        lines = self.ask("INFO", "stats").splitlines()
        return int(next(line for line in lines if line.startswith("total_connections_received")).split(":")[1]) - 1


@pytest.fixture
def production(tmp_path: Path) -> Iterator[Production]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--requirepass", PASSWORD, "--save", "", "--dir", tmp_path]
    process = subprocess.Popen([find_program(), *options], stdout=subprocess.DEVNULL)
    try:
        found = Production(port)
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError):
                assert found.ask("SET", "precious", "1").startswith("+OK")
                break
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield found
    finally:
        process.terminate()
        process.wait()


PROJECT = '''
import asyncio
import os
import time
from pathlib import Path

import pytest
import redis
import redis.asyncio

URL = os.environ["APP_REDIS_URL"]
CLIENT = redis.asyncio.from_url(URL)
SYNC = redis.from_url(URL)
HERE = Path(os.environ["MEETING_PLACE"])
WORKER = os.environ["PYTEST_XDIST_WORKER"]
PROCESSES = [os.getpid()]


def listening(pid):
    """The TCP ports that a process listens on."""
    own = {os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir() if each.is_symlink()}
    lines = [line.split() for name in ("tcp", "tcp6") for line in open(f"/proc/{pid}/net/{name}")]
    return [line[1] for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in own]


def meet(name):
    """Go on when both workers have come here."""
    (HERE / f"{name}-{WORKER}").touch()
    deadline = time.monotonic() + 20
    while len(list(HERE.glob(f"{name}-*"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.parametrize("turn", range(4))
async def test_nobody_else_is_here(redis_cache, turn):
    assert await redis_cache.keys() == []
    async with CLIENT.pubsub() as pubsub:
        await pubsub.subscribe("news")
        assert (await pubsub.get_message(timeout=10))["type"] == "subscribe"
        meet(f"before-{turn}")
        assert await CLIENT.publish("news", WORKER) == 1  # ours alone
        for n in range(20):
            SYNC.incr("counter")
            await CLIENT.rpush("list", WORKER)
        meet(f"after-{turn}")
        assert await redis_cache.get("counter") == b"20"
        assert set(await redis_cache.lrange("list", 0, -1)) == {WORKER.encode()}
        assert (await pubsub.get_message(timeout=10))["data"] == WORKER.encode()
    server = (await redis_cache.info("server"))
    assert server["tcp_port"] == 0
    for pid in {os.getpid(), server["process_id"]}:
        assert listening(pid) == []
    (HERE / f"process-{server['process_id']}").touch()
    await CLIENT.aclose()
'''


@pytest.mark.parametrize("engine", ["memory", "server"])
def test_parallel_workers_never_meet(pytester, monkeypatch, production, engine):
    monkeypatch.setenv("APP_REDIS_URL", production.url)
    monkeypatch.setenv("MEETING_PLACE", str(pytester.mkdir("meeting")))
    pytester.makepyfile(PROJECT)
    before = production.connections

    result = pytester.runpytest_subprocess(
        *("-n", "2", "--dist", "each", "-p", "no:randomly"),  # both run each test, at the same time
        *("-o", "asyncio_mode=auto", "-o", "asyncapi_names=true", "-o", f"asyncapi_redis_engine={engine}"),
    )

    result.assert_outcomes(passed=8)
    assert len(list((pytester.path / "meeting").glob("process-*"))) == 2  # a server for each worker
    assert production.connections == before + 1  # the question after them
    assert ":1\r\n" in production.ask("DBSIZE")
    assert "$1\r\n1" in production.ask("GET", "precious")


KILLED = """
import os, signal, sys
from pytest_asyncapi.cache.server import RealServer

server = RealServer()
server.engine()
print(server._folder, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_nothing_of_the_server_survives_a_killed_run():
    ended = subprocess.run([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    folder = Path(ended.stdout.strip())

    assert ended.returncode == -signal.SIGKILL
    assert folder.name.startswith("asyncapi-redis-")
    deadline = time.monotonic() + 20
    while folder.exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)  # the server saves nothing and ends at once; then its folder goes
