"""Innocents: nothing here holds the loop by a fault of its own, however long it takes on the clock."""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import contextvars
import ctypes
import datetime
import gc
import hashlib
import io
import json
import logging
import os
import pathlib
import queue
import re
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import uuid

import httpx
from fastapi import BackgroundTasks, Depends, FastAPI
from fastapi.testclient import TestClient
from starlette.responses import StreamingResponse

from . import Tools, innocent


@innocent
async def ok_sleep(t: Tools):
    await asyncio.sleep(t.seconds)


@innocent
async def ok_sleep_zero(t: Tools):
    time.sleep(0)


@innocent
async def ok_to_thread_sleep(t: Tools):
    await asyncio.to_thread(time.sleep, t.seconds)


@innocent
async def ok_executor_sleep(t: Tools):
    await asyncio.get_running_loop().run_in_executor(None, time.sleep, t.seconds)


def spin(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(200))


@innocent
async def ok_to_thread_compute(t: Tools):
    await asyncio.to_thread(spin, t.seconds * 2)


@innocent
async def ok_other_threads_compute(t: Tools):
    threads = [threading.Thread(target=spin, args=(t.seconds * 2,), daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(int(t.seconds * 200)):
        await asyncio.sleep(0.005)
        sum(range(3000))
    await asyncio.to_thread(lambda: [thread.join() for thread in threads])


@innocent
async def ok_other_thread_holds_the_gil(t: Tools):
    def hold():
        time.sleep(0.005)
        ctypes.PyDLL(None).usleep(int(t.seconds * 2e6))

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    for _ in range(20):
        await asyncio.sleep(0.001)
        sum(range(20000))
    await asyncio.to_thread(thread.join)


@innocent
async def ok_other_thread_in_c(t: Tools):
    def parse():
        text = json.dumps([{"a": i, "b": [i] * 3} for i in range(60000)])
        for _ in range(4):
            json.loads(text)

    await asyncio.sleep(0)
    thread = threading.Thread(target=parse, daemon=True)
    thread.start()
    for _ in range(30):
        await asyncio.sleep(0.001)
        sum(range(10000))
    await asyncio.to_thread(thread.join)


class Node:
    def __init__(self):
        self.me = self


_garbage: list = []


@innocent
async def ok_collection(t: Tools):
    def litter():
        gc.disable()
        for _ in range(int(t.seconds * 4_000_000)):
            Node()

    await asyncio.to_thread(litter)
    gc.enable()
    gc.collect()


@innocent
async def ok_first_import(t: Tools):
    name = f"corpus_module_{uuid.uuid4().hex}"
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, f"{name}.py").write_text(
            f"import time\nend = time.thread_time() + {t.seconds * 2}\nwhile time.thread_time() < end:\n    pass\n"
        )
        sys.path.insert(0, folder)
        try:
            __import__(name)
        finally:
            sys.path.remove(folder)


@innocent
async def ok_import_that_sleeps(t: Tools):
    name = f"corpus_module_{uuid.uuid4().hex}"
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, f"{name}.py").write_text(f"import time\ntime.sleep({t.seconds})\n")
        sys.path.insert(0, folder)
        try:
            __import__(name)
        finally:
            sys.path.remove(folder)


@innocent
async def ok_many_small_tasks(t: Tools):
    async def small():
        spin(t.seconds / 100)

    await asyncio.gather(*(small() for _ in range(300)))


@innocent
async def ok_many_callbacks(t: Tools):
    loop = asyncio.get_running_loop()
    for _ in range(200):
        loop.call_soon(spin, t.seconds / 100)
    await asyncio.sleep(0.01)


@innocent
async def ok_cooperative(t: Tools):
    for _ in range(30):
        spin(t.seconds / 20)
        await asyncio.sleep(0)


@innocent
async def ok_under_the_limit(t: Tools):
    spin(t.seconds * 0.2)


@innocent
async def ok_small_files(t: Tools):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "a.txt")
        path.write_text("hello\n" * 100)
        assert path.read_text().startswith("hello")
        with open(path) as file:
            file.readline()
        path.rename(path.with_suffix(".old"))


@innocent
async def ok_stat(t: Tools):
    for _ in range(50):
        os.stat(__file__)
        os.path.exists(__file__)
    os.listdir(os.path.dirname(__file__))
    os.getcwd()


@innocent
async def ok_free_locks(t: Tools):
    lock, again = threading.Lock(), threading.RLock()
    for _ in range(100):
        with lock, again:
            pass
    assert lock.acquire(timeout=1)
    lock.release()


@innocent
async def ok_locks_that_do_not_wait(t: Tools):
    lock = threading.Lock()
    lock.acquire()
    assert not lock.acquire(blocking=False)
    semaphore = threading.Semaphore(2)
    with semaphore:
        assert semaphore.acquire(blocking=False)


@innocent
async def ok_set_event(t: Tools):
    event = threading.Event()
    assert not event.wait(0)
    event.set()
    event.wait()
    event.wait(5)


@innocent
async def ok_full_queue(t: Tools):
    items: queue.Queue = queue.Queue()
    for number in range(50):
        items.put(number)
    for _ in range(50):
        items.get()
    simple: queue.SimpleQueue = queue.SimpleQueue()
    simple.put(1)
    simple.get()
    try:
        items.get_nowait()
    except queue.Empty:
        pass


@innocent
async def ok_done_future(t: Tools):
    pool = concurrent.futures.ThreadPoolExecutor(1)
    future = pool.submit(len, "abc")
    await asyncio.wrap_future(future)
    assert future.result() == 3
    concurrent.futures.wait([future])
    pool.shutdown(wait=False)


@innocent
async def ok_ended_thread(t: Tools):
    thread = threading.Thread(target=int)
    thread.start()
    while thread.is_alive():
        await asyncio.sleep(0.001)
    thread.join()


@innocent
async def ok_starting_threads(t: Tools):
    threads = [threading.Thread(target=time.sleep, args=(0.001,), daemon=True) for _ in range(30)]
    for thread in threads:
        thread.start()
    await asyncio.gather(*(asyncio.to_thread(int) for _ in range(30)))


@innocent
async def ok_asyncio_subprocess(t: Tools):
    process = await asyncio.create_subprocess_exec("sleep", str(t.seconds), stdout=asyncio.subprocess.PIPE)
    await process.communicate()
    shell = await asyncio.create_subprocess_shell("true")
    await shell.wait()


@innocent
async def ok_subprocess_in_thread(t: Tools):
    await asyncio.to_thread(subprocess.run, ["sleep", str(t.seconds)])


@innocent
async def ok_sqlite_in_memory(t: Tools):
    connection = sqlite3.connect(":memory:")
    connection.execute("create table t (x)")
    connection.executemany("insert into t values (?)", [(i,) for i in range(100)])
    assert connection.execute("select count(*) from t").fetchone() == (100,)
    connection.close()


@innocent
async def ok_small_json(t: Tools):
    for number in range(200):
        json.loads(json.dumps({"id": number, "name": "x" * 50}))


@innocent
async def ok_small_things(t: Tools):
    for _ in range(100):
        uuid.uuid4()
        hashlib.sha256(b"x" * 100).hexdigest()
        re.match(r"\d+", "123")
        datetime.datetime.now(datetime.UTC).isoformat()
        os.urandom(16)


@innocent
async def ok_asyncio_primitives(t: Tools):
    lock, event, items = asyncio.Lock(), asyncio.Event(), asyncio.Queue()

    async def consumer():
        await event.wait()
        async with lock:
            return await items.get()

    task = asyncio.create_task(consumer())
    await asyncio.sleep(t.seconds / 4)
    event.set()
    await items.put(1)
    assert await task == 1
    async with asyncio.Semaphore(1), asyncio.timeout(5):
        pass


@innocent
async def ok_streams(t: Tools):
    async def serve(reader, writer):
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    writer.write(b"x" * 50_000 + b"\n")
    assert len(await reader.readline()) == 50_001
    writer.close()
    await writer.wait_closed()
    server.close()
    await asyncio.sleep(0)


@innocent
async def ok_sock_methods(t: Tools):
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(ours, b"hello")
    assert await loop.sock_recv(theirs, 5) == b"hello"
    ours.close()
    theirs.close()


@innocent
async def ok_non_blocking_socket(t: Tools):
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    try:
        ours.recv(1)
    except BlockingIOError:
        pass
    ours.send(b"x")
    select.select([theirs], [], [], 0)
    ours.close()
    theirs.close()


@innocent
async def ok_name_lookup(t: Tools):
    await asyncio.get_running_loop().getaddrinfo("localhost", 80)
    socket.getaddrinfo("127.0.0.1", 80)


@innocent
async def ok_logging(t: Tools):
    log = logging.getLogger("corpus.ok")
    log.addHandler(handler := logging.StreamHandler(io.StringIO()))
    log.setLevel(logging.INFO)
    log.propagate = False
    for number in range(50):
        log.info("line %d", number)
    log.removeHandler(handler)


@innocent
async def ok_stopped_process(t: Tools):
    """The whole process is stopped in the middle of a slice, as by a debugger or a suspended machine."""
    script = (
        "import os, signal, sys, time; p = int(sys.argv[1]); s = float(sys.argv[2]); time.sleep(0.05);"
        "os.kill(p, signal.SIGSTOP); time.sleep(s); os.kill(p, signal.SIGCONT)"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-S", "-c", script, str(os.getpid()), str(t.seconds))
    while process.returncode is None:
        spin(t.seconds / 20)
        await asyncio.sleep(0)
    await process.wait()


@innocent
async def ok_busy_machine(t: Tools):
    """Other processes hold the cores."""
    script = f"import time\nend = time.monotonic() + {t.seconds * 3}\nwhile time.monotonic() < end: pass"
    hogs = [await asyncio.create_subprocess_exec(sys.executable, "-S", "-c", script) for _ in range(6)]
    while any(hog.returncode is None for hog in hogs):
        spin(t.seconds / 10)
        await asyncio.sleep(0.001)


@innocent
async def ok_async_database(t: Tools):
    import sqlalchemy
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

    engine = create_async_engine("sqlite+aiosqlite://")
    async with AsyncSession(engine) as session:
        for _ in range(5):
            assert await session.scalar(sqlalchemy.text("select 1")) == 1
    await engine.dispose()


@innocent
async def ok_async_http(t: Tools):
    import httpx

    transport = httpx.MockTransport(lambda request: httpx.Response(200, json={"a": 1}))
    async with httpx.AsyncClient(transport=transport) as client:
        for _ in range(10):
            assert (await client.get("https://api.example.com/")).json() == {"a": 1}


@innocent
async def ok_web_sync_endpoint(t: Tools):
    """FastAPI runs `def` endpoints and dependencies in threads."""
    app = FastAPI()

    def dependency():
        time.sleep(t.seconds / 2)

    @app.get("/", dependencies=[Depends(dependency)])
    def endpoint():
        time.sleep(t.seconds / 2)
        return {}

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://corpus") as client:
        assert (await client.get("/")).status_code == 200


@innocent
async def ok_web_requests(t: Tools):
    app = FastAPI()

    @app.get("/items/{item}")
    async def endpoint(item: int, tasks: BackgroundTasks):
        tasks.add_task(asyncio.sleep, 0.001)
        return {"item": item}

    @app.get("/stream")
    async def stream():
        async def lines():
            for _ in range(5):
                yield "x\n"
                await asyncio.sleep(0.001)

        return StreamingResponse(lines())

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://corpus") as client:
        await asyncio.gather(*(client.get(f"/items/{i}") for i in range(20)), client.get("/stream"))


@innocent
async def ok_web_test_client(t: Tools):
    app = FastAPI()

    @app.get("/")
    async def endpoint():
        await asyncio.sleep(0.001)
        return {}

    def use():
        with TestClient(app) as client:
            for _ in range(5):
                assert client.get("/").status_code == 200

    await asyncio.to_thread(use)


@innocent
async def ok_gather(t: Tools):
    async def one(number):
        await asyncio.sleep(0.001)
        return number

    assert sum(await asyncio.gather(*(one(i) for i in range(300)))) == 44850


@innocent
async def ok_context(t: Tools):
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("x", default=0)

    async def child():
        variable.set(1)
        await asyncio.sleep(0)
        return variable.get()

    assert await asyncio.create_task(child()) == 1
    collections.deque((i for i in range(1000)), maxlen=0)


@innocent
async def ok_anyio(t: Tools):
    import anyio
    import anyio.to_thread

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(anyio.sleep, 0.005)
    await anyio.to_thread.run_sync(time.sleep, t.seconds)
    with anyio.move_on_after(0.001):
        await anyio.sleep(1)


@innocent
async def ok_process_pool(t: Tools):
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    loop = asyncio.get_running_loop()
    pool = await asyncio.to_thread(concurrent.futures.ProcessPoolExecutor, 1, context)
    assert await loop.run_in_executor(pool, abs, -1) == 1
    pool.shutdown(wait=False)


@innocent
async def ok_signals(t: Tools):
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    caught = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR2, caught.set)
    os.kill(os.getpid(), signal.SIGUSR2)
    await asyncio.wait_for(caught.wait(), 5)
    loop.remove_signal_handler(signal.SIGUSR2)


@innocent
async def ok_idle_pool(t: Tools):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        await asyncio.wrap_future(pool.submit(int))
        await asyncio.sleep(0.02)


@innocent
async def ok_ended_process(t: Tools):
    process = await asyncio.to_thread(subprocess.Popen, ["true"])
    await asyncio.to_thread(process.wait)
    process.wait()
    process.communicate()
