"""What is real holds the clock back: a jump never breaks a real wait. Each test would time out if time jumped."""

from __future__ import annotations

import asyncio
import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import anyio.from_thread
import anyio.to_thread
import pytest

SHORT = 0.05  # real seconds that the real work takes
LIMIT = 5  # virtual seconds that it may take; nobody waits for them


@pytest.fixture(autouse=True)
async def clock(virtual_clock):
    """Other timers that the clock would like to jump to, all the time."""

    async def ticking():
        while True:
            await asyncio.sleep(1)

    task = asyncio.create_task(ticking())
    yield virtual_clock
    task.cancel()


async def test_to_thread(clock):
    async with asyncio.timeout(LIMIT):
        await asyncio.to_thread(time.sleep, SHORT)

    assert SHORT / 2 < clock.elapsed < LIMIT


async def test_a_time_out_that_is_shorter_than_the_work_is_real(clock):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await asyncio.to_thread(time.sleep, 0.3)


async def test_an_executor_of_the_app_and_wrap_future():
    with ThreadPoolExecutor(1) as executor:
        async with asyncio.timeout(LIMIT):
            await asyncio.get_running_loop().run_in_executor(executor, time.sleep, SHORT)
            await asyncio.wrap_future(executor.submit(time.sleep, SHORT))


async def test_anyio_threads():
    async with asyncio.timeout(LIMIT):
        await anyio.to_thread.run_sync(time.sleep, SHORT)


async def test_an_idle_worker_thread_holds_nothing(clock):
    await asyncio.to_thread(lambda: None)
    await anyio.to_thread.run_sync(lambda: None)
    begin = time.perf_counter()
    await asyncio.sleep(100)  # in a hundred jumps, each of a millisecond beside other idle threads

    assert time.perf_counter() - begin < 10


async def test_a_thread_of_the_app(clock):
    loop = asyncio.get_running_loop()
    answer = loop.create_future()

    def work():
        time.sleep(SHORT)
        loop.call_soon_threadsafe(answer.set_result, 42)

    thread = threading.Thread(target=work)
    thread.start()
    async with asyncio.timeout(LIMIT):
        assert await answer == 42
    thread.join()


async def test_a_thread_that_gets_its_work_through_a_queue():
    import queue

    loop = asyncio.get_running_loop()
    inbox: queue.Queue = queue.Queue()

    def worker():
        while (item := inbox.get()) is not None:
            time.sleep(SHORT)
            loop.call_soon_threadsafe(item.set_result, 42)

    thread = threading.Thread(target=worker)
    thread.start()
    for _ in range(5):
        answer = loop.create_future()
        inbox.put(answer)
        async with asyncio.timeout(LIMIT):
            assert await answer == 42
        await asyncio.sleep(100)  # the thread rests now: this jumps
    inbox.put(None)
    thread.join()


async def test_a_thread_that_waits_for_this_loop_holds_nothing():
    loop = asyncio.get_running_loop()

    async def on_the_loop():
        await asyncio.sleep(30)
        return 42

    def in_the_thread():
        time.sleep(SHORT)
        return asyncio.run_coroutine_threadsafe(on_the_loop(), loop).result()

    begin = time.perf_counter()
    assert await asyncio.to_thread(in_the_thread) == 42
    assert await anyio.to_thread.run_sync(anyio.from_thread.run, on_the_loop) == 42
    assert time.perf_counter() - begin < 5


async def test_aiosqlite():
    aiosqlite = pytest.importorskip("aiosqlite")

    async with asyncio.timeout(LIMIT), aiosqlite.connect(":memory:") as db:
        await db.create_function("slow", 0, lambda: time.sleep(SHORT))
        await db.execute("select slow()")
        async with db.execute("select slow(), 1") as cursor:
            assert await cursor.fetchall() == [(None, 1)]


async def test_an_open_aiosqlite_connection_holds_nothing():
    aiosqlite = pytest.importorskip("aiosqlite")

    async with aiosqlite.connect(":memory:") as db:
        await db.execute("select 1")
        begin = time.perf_counter()
        for _ in range(100):
            await asyncio.sleep(10)
        assert time.perf_counter() - begin < 10  # beside other idle threads a jump takes a millisecond


async def test_a_name_that_is_looked_up():
    async with asyncio.timeout(LIMIT):
        assert await asyncio.get_running_loop().getaddrinfo("localhost", 80)


async def test_a_child_process():
    code = f"import time; print('a', flush=True); time.sleep({2 * SHORT}); print('b')"
    async with asyncio.timeout(LIMIT):
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=subprocess.PIPE)
        out, _ = await process.communicate()

    assert out.split() == [b"a", b"b"]


@pytest.fixture
def slow_server():
    """A real HTTP server in a thread, that answers late."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            time.sleep(SHORT)
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


async def test_a_real_server(slow_server):
    httpx2 = pytest.importorskip("httpx2")

    async with httpx2.AsyncClient(timeout=LIMIT) as client:
        for _ in range(3):
            assert (await client.get(slow_server)).text == "ok"
            await asyncio.sleep(100)


async def test_the_idle_connection_of_a_pool_holds_nothing(slow_server):
    aiohttp = pytest.importorskip("aiohttp")

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=LIMIT)) as session:
        async with session.get(slow_server) as response:
            assert await response.text() == "ok"
        begin = time.perf_counter()
        for _ in range(20):
            await asyncio.sleep(0.5)  # shorter than the keep-alive of the pool
        assert time.perf_counter() - begin < 5


async def test_a_client_and_a_server_in_this_loop_hold_nothing(clock):
    async def serve(reader, writer):
        await reader.readline()
        await asyncio.sleep(60)
        writer.write(b"late\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"hello\n")
        begin = time.perf_counter()
        assert await reader.readline() == b"late\n"
        writer.close()
    assert time.perf_counter() - begin < 5
    assert clock.elapsed >= 60


async def test_a_socket_that_someone_waits_for():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    threading.Timer(SHORT, theirs.send, (b"x",)).start()
    async with asyncio.timeout(LIMIT):
        assert await asyncio.get_running_loop().sock_recv(ours, 1) == b"x"
    ours.close()
    theirs.close()


async def test_hold_is_for_what_the_clock_cannot_see(clock):
    loop = asyncio.get_running_loop()
    answer = loop.create_future()
    timer = threading.Timer(SHORT, lambda: loop.call_soon_threadsafe(answer.set_result, 1))  # timers are not watched
    timer.start()
    with clock.hold("a timer of a thread"):
        async with asyncio.timeout(LIMIT):
            await answer


async def test_a_call_in_another_loop_holds_nothing(clock):
    """It is that loop which waits for it."""
    begun, over = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        over.wait(30)

    other = threading.Thread(target=asyncio.run, args=(anyio.to_thread.run_sync(work),))
    other.start()
    try:
        while not begun.is_set():
            time.sleep(0.001)
        assert "anyio" not in clock.held_by
    finally:
        over.set()
        other.join()


async def test_held_by_names_what_holds(clock):
    with clock.hold("my queue"):
        assert clock.held_by == "my queue"
    task = asyncio.create_task(asyncio.to_thread(time.sleep, SHORT))
    await asyncio.sleep(0)
    assert clock.held_by == "a call in a thread"
    await task
    while clock.held_by.startswith("thread"):  # the worker is on its way back to its queue
        time.sleep(0.001)
    assert clock.held_by == ""


@pytest.fixture
def postgresql(postgresql_server, monkeypatch):
    """The same, for a test that has no database of the harness, and so would be refused."""
    from pytest_asyncapi.database.interception import hooks

    monkeypatch.setattr(hooks, "redirect", None)
    return postgresql_server


@pytest.fixture(scope="session")
def postgresql_server():
    """Where a PostgreSQL server for these tests is, in asyncpg's terms."""
    pytest.importorskip("asyncpg")
    from pytest_asyncapi.database import binaries, server
    from pytest_asyncapi.errors import ServerError

    try:
        binaries.find()
    except ServerError as error:
        pytest.skip(str(error))
    started = server.start(f"clock-{os.getpid()}")
    yield {"host": str(started.directory), "port": server.PORT, "user": "postgres", "database": "postgres"}
    started.stop()


async def test_a_query_of_asyncpg(clock, postgresql):
    import asyncpg

    async with asyncio.timeout(10):
        connection = await asyncpg.connect(**postgresql)
        assert await connection.fetchval("select 42 from pg_sleep(0.2)") == 42
        await connection.close()

    assert 0.1 < clock.elapsed < 10


async def test_an_idle_connection_of_asyncpg_holds_nothing(clock, postgresql):
    import asyncpg

    connection = await asyncpg.connect(**postgresql)
    await connection.fetchval("select 1")
    begin = time.perf_counter()
    await asyncio.sleep(100)  # in a hundred jumps, each of a millisecond beside other idle threads

    assert time.perf_counter() - begin < 10
    await connection.close()


async def test_a_time_out_of_asyncpg_that_is_shorter_than_the_query_is_real(clock, postgresql):
    import asyncpg

    connection = await asyncpg.connect(**postgresql)
    with pytest.raises(TimeoutError):
        await connection.fetchval("select pg_sleep(5)", timeout=0.05)
    await connection.close()

    assert clock.elapsed < 5


async def test_a_query_of_psycopg(clock, postgresql):
    psycopg = pytest.importorskip("psycopg")
    where = {**postgresql, "dbname": postgresql["database"]}
    del where["database"]

    async with asyncio.timeout(10), await psycopg.AsyncConnection.connect(**where) as connection:
        cursor = await connection.execute("select 42 from pg_sleep(0.2)")
        assert await cursor.fetchone() == (42,)

    assert 0.1 < clock.elapsed < 10
