"""The client beside httpx, httpx2, Starlette's TestClient and async-asgi-testclient: ``python -m benchmarks client``.

Requests a CPU second on small FastAPI endpoints, what the fixture costs a test, and the memory of a large stream.
"""

import asyncio
import gc
import multiprocessing
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import httpx
import httpx2
from async_asgi_testclient import TestClient as AsyncTestClient
from fastapi import FastAPI
from fastapi.responses import Response, StreamingResponse
from starlette.testclient import TestClient

from benchmarks._timing import Ratio, ratio
from pytest_asyncapi.client.async_client import client_class

OURS = ("ours",)  # the rows whose getting worse is named
CHUNK = bytes(64 * 1024)
BASE_URL = "http://testserver"

app = FastAPI()


@app.get("/")
async def trivial() -> dict[str, str]:
    return {}


@app.get("/large")
async def large() -> Response:
    return Response(CHUNK * 16)


@app.get("/chunks")
async def chunks() -> StreamingResponse:
    async def generate() -> Any:
        for _ in range(16):
            yield CHUNK

    return StreamingResponse(generate())


@app.get("/paced")
async def paced() -> StreamingResponse:
    async def generate() -> Any:
        for _ in range(16):
            yield CHUNK
            await asyncio.sleep(0)

    return StreamingResponse(generate())


async def hundred_megabytes(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(1600):
        await send({"type": "http.response.body", "body": bytes(64 * 1024), "more_body": True})
    await send({"type": "http.response.body"})


ENDPOINTS = {  # the path, and whether each request has a URL of its own
    "a trivial endpoint": ("/", False),
    "the same, each at a URL of its own": ("/", True),
    "1 MB in one piece": ("/large", False),
    "a stream of 16 chunks": ("/chunks", False),
    "a stream of 16 chunks, each awaited for": ("/paced", False),
}
REQUESTS = 100  # of one turn


CLIENTS: dict[str, Callable[[], Any]] = {
    "httpx2.ASGITransport": lambda: httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=BASE_URL),
    "ours on httpx2": lambda: client_class(httpx2)(app),
    "httpx.ASGITransport": lambda: httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE_URL),
    "ours on httpx": lambda: client_class(httpx)(app),
    "async-asgi-testclient": lambda: AsyncTestClient(app),
}
SYNC = "Starlette's TestClient"  # it has its own thread
BASELINE = "httpx2.ASGITransport"
PROCESSES = 4  # of each client
ROUNDS = 6  # of each process and endpoint


def _serve(orders: Any, name: str) -> None:
    """A process with one client: `path, apart` are its orders, CPU seconds its answers."""
    loop = asyncio.new_event_loop()

    async def requests(client: Any, urls: list[str]) -> None:
        for url in urls:
            response = await client.get(url)
            assert response.status_code == 200

    client = TestClient(app) if name == SYNC else CLIENTS[name]()
    if name == SYNC:
        client.__enter__()
    else:
        loop.run_until_complete(client.__aenter__())
    turn = 0
    while (order := orders.recv()) is not None:
        path, apart = order
        turn += 1
        urls = [f"{path}?n={turn}.{n}" if apart else path for n in range(REQUESTS)]
        gc.collect()
        begin = time.process_time()
        if name == SYNC:
            for url in urls:
                assert client.get(url).status_code == 200
        else:
            loop.run_until_complete(requests(client, urls))
        orders.send(time.process_time() - begin)
    os._exit(0)  # async-asgi-testclient leaves tasks, of which asyncio would complain


def speed() -> None:
    """Requests a CPU second, as a ratio to httpx2's own transport.

    Each client has a process of its own, and they take turns: in one process, the interpreter would fit the code that
    they share, httpx2's, to the types of one of them, at the cost of the other. Where a process has its memory makes a
    difference too, so each client has several of them, one after the other.
    """
    names = (*CLIENTS, SYNC)
    spent: dict[str, dict[str, list[float]]] = {title: {name: [] for name in names} for title in ENDPOINTS}
    for _ in range(PROCESSES):
        workers = _start_workers()
        for title, order in ENDPOINTS.items():
            _take_turns(workers, order, spent[title])
        for worker in workers.values():
            worker.send(None)
    print("### Requests a CPU second, as a ratio to httpx2.ASGITransport (higher is better)\n")
    print(f"| | {' | '.join(ENDPOINTS)} |")
    print(f"|---|{'---|' * len(ENDPOINTS)}")
    for name in names:
        cells = (ratio(name, each[name], each[BASELINE]).inverse.cell for each in spent.values())
        print(f"| {name} | {' | '.join(cells)} |")
    print()


def _start_workers() -> dict[str, Any]:
    spawn = multiprocessing.get_context("spawn")
    workers: dict[str, Any] = {}
    for name in (*CLIENTS, SYNC):
        workers[name], theirs = spawn.Pipe()
        spawn.Process(target=_serve, args=(theirs, name), daemon=True).start()
    return workers


def _take_turns(workers: dict[str, Any], order: Any, spent: dict[str, list[float]]) -> None:
    for turn in range(-1, ROUNDS):  # the first is to warm up
        for name in workers if turn % 2 else reversed(workers):
            workers[name].send(order)
            seconds = workers[name].recv()
            if turn >= 0:
                spent[name].append(seconds)


TIMES = """
import time, pytest

times = []

@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    begin = time.process_time()
    result = yield
    times.append(time.process_time() - begin)
    return result

def pytest_unconfigure():
    import statistics
    with open("median.txt", "w") as file:
        file.write(str(statistics.median(times[5:])))
"""
HAND_WRITTEN = """
import httpx2, pytest_asyncio
from asgi_lifespan import LifespanManager
from shop import app

@pytest_asyncio.fixture
async def client():
    async with LifespanManager(app) as manager:
        transport = httpx2.ASGITransport(app=manager.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as client:
            yield client
"""
SHOP = """
from contextlib import asynccontextmanager
from fastapi import FastAPI

@asynccontextmanager
async def lifespan(app):
    yield

app = FastAPI(lifespan=lifespan)

@app.get("/")
async def root():
    return {}
"""
INI = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = {scope}
asyncio_default_test_loop_scope = {scope}
pythonpath = .
"""
TESTS = 300
RUNS = 6


def per_test() -> None:
    """CPU time of a test with one request: its set-up, call and teardown, the median of many, in runs of pytest."""
    print("### CPU time of a test with one request, as a ratio to a hand-written fixture (lower is better)\n")
    print("The hand-written fixture: asgi-lifespan's LifespanManager and httpx2.ASGITransport.\n")
    print("| | a loop a test | a loop a session |\n|---|---|---|")
    row = [_per_test(scope) for scope in ("function", "session")]
    print(f"| ours | {row[0].cell} | {row[1].cell} |\n")


def _per_test(scope: str) -> Ratio:
    with tempfile.TemporaryDirectory() as folder:
        projects = {}
        for name, conftest, ini in (("hand-written", HAND_WRITTEN, ""), ("ours", "", "asyncapi_app = shop:app\n")):
            root = projects[name] = pathlib.Path(folder) / name
            root.mkdir()
            tests = "".join(f"async def test_{n}(client):\n    await client.get('/')\n" for n in range(TESTS))
            (root / "shop.py").write_text(SHOP)
            (root / "conftest.py").write_text(TIMES + conftest)
            (root / "pytest.ini").write_text(INI.format(scope=scope) + ini)
            (root / "test_shop.py").write_text(tests)
        cost: dict[str, list[float]] = {name: [] for name in projects}
        for turn in range(RUNS):
            for name in projects if turn % 2 else reversed(projects):
                cost[name].append(_run(projects[name]))
        return ratio("ours", cost["ours"], cost["hand-written"])


def _run(root: pathlib.Path) -> float:
    """The median CPU seconds of a test, in one run of pytest."""
    plain = ["-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:xdist"]
    environment = os.environ | {"PYTEST_ADDOPTS": ""}
    subprocess.run(
        [sys.executable, "-m", "pytest", *plain], cwd=root, check=True, stdout=subprocess.DEVNULL, env=environment
    )
    return float((root / "median.txt").read_text())


def memory() -> None:
    """The most memory that reading a stream of 100 MB takes."""

    async def read(client: Any) -> int:
        async with client:
            gc.collect()
            tracemalloc.start()
            async with client.stream("GET", "/") as response:
                async for _ in response.aiter_raw():
                    pass
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return peak

    clients = {
        "ours on httpx2": client_class(httpx2)(hundred_megabytes, lifespan=False),
        "httpx2.ASGITransport": httpx2.AsyncClient(
            transport=httpx2.ASGITransport(hundred_megabytes), base_url=BASE_URL
        ),
    }
    print("### Memory to read a stream of 100 MB\n\n| | MB |\n|---|---|")
    for name, client in clients.items():
        print(f"| {name} | {asyncio.run(read(client)) / 1e6:.1f} |")
    print()


def main() -> None:
    speed()
    per_test()
    memory()


if __name__ == "__main__":
    main()
