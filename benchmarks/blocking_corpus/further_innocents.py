"""Further innocents: threads of all kinds beside the loop, and code that looks closely at what a detector patches."""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import io
import json
import logging
import logging.handlers
import multiprocessing
import os
import pathlib
import pickle
import queue
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid

import anyio
import anyio.from_thread
import anyio.to_thread
import sqlalchemy as sa
from fastapi import BackgroundTasks, Depends, FastAPI
from fastapi.responses import StreamingResponse

from . import Tools, innocent
from .files import get
from .further import Author, Base


@innocent
async def ok_sync_generator_stream(t: Tools):
    def gen():
        for _ in range(3):
            time.sleep(t.seconds / 3)
            yield b"x"

    app = FastAPI()

    @app.get("/")
    async def e():
        return StreamingResponse(gen())

    await get(app)


@innocent
async def ok_sync_dep_yield(t: Tools):
    def dep():
        time.sleep(t.seconds / 2)
        yield 1
        time.sleep(t.seconds / 2)

    app = FastAPI()

    @app.get("/")
    async def e(x: int = Depends(dep)):
        return {}

    await get(app)


@innocent
async def ok_sync_background(t: Tools):
    app = FastAPI()

    @app.get("/")
    async def e(bg: BackgroundTasks):
        bg.add_task(time.sleep, t.seconds)
        return {}

    await get(app)


@innocent
async def ok_process_pool_sleep(t: Tools):
    loop = asyncio.get_running_loop()
    ex = await asyncio.to_thread(concurrent.futures.ProcessPoolExecutor, 1, multiprocessing.get_context("spawn"))
    await loop.run_in_executor(ex, time.sleep, 0.01)
    await asyncio.to_thread(ex.shutdown)


@innocent
async def ok_pickle_patched(t: Tools):
    for f in (
        time.sleep,
        os.system,
        socket.getaddrinfo,
        subprocess.run,
        open,
        select.select,
        threading.Lock,
        queue.SimpleQueue,
        threading.RLock,
    ):
        assert pickle.loads(pickle.dumps(f)) is f
        assert copy.deepcopy(f) is f


@innocent
async def ok_class_attribute_of_builtin(t: Tools):
    class X:
        sleep = time.sleep
        sel = select.select

    X().sleep(0)
    assert X().sel([], [], [], 0) == ([], [], [])


@innocent
async def ok_lock_types(t: Tools):
    lock = threading.Lock()
    with lock:
        assert lock.locked()
        assert not lock.acquire(blocking=False)
        assert not lock.acquire(timeout=0)
    assert lock.acquire(True, 1)
    lock.release()
    assert "lock" in repr(lock)
    r = threading.RLock()
    with r, r:
        pass
    c = threading.Condition(threading.Lock())
    with c:
        c.notify_all()
    c = threading.Condition(r)
    with c:
        c.notify_all()
    q = queue.SimpleQueue()
    q.put(1)
    assert q.get() == 1
    assert q.empty()
    assert isinstance(q, queue.SimpleQueue)
    queue.SimpleQueue[int]
    if sys.version_info >= (3, 13):
        assert isinstance(lock, threading.Lock)
        threading.Lock | None


@innocent
async def ok_pure_python_hogs(t: Tools):
    stop = threading.Event()

    def hog():
        x = 0
        while not stop.is_set():
            for i in range(1000):
                x += i

    ths = [threading.Thread(target=hog, daemon=True) for _ in range(4)]
    for th in ths:
        th.start()
    for _ in range(15):
        await asyncio.sleep(0.002)
        sum(i for i in range(2000))
        os.stat(__file__)
    stop.set()
    for th in ths:
        await asyncio.to_thread(th.join)


@innocent
async def ok_files_with_hog_threads(t: Tools):
    stop = threading.Event()

    def hog():
        while not stop.is_set():
            sum(range(300))

    ths = [threading.Thread(target=hog, daemon=True) for _ in range(2)]
    for th in ths:
        th.start()
    with tempfile.TemporaryDirectory() as folder:
        for n in range(10):
            p = pathlib.Path(folder, str(n))
            p.write_text("x" * 100)
            p.read_text()
            p.unlink()
            await asyncio.sleep(0)
    stop.set()
    for th in ths:
        await asyncio.to_thread(th.join)


@innocent
async def ok_counter_lock(t: Tools):
    lock = threading.Lock()
    n = [0]

    def add():
        for _ in range(2000):
            with lock:
                n[0] += 1

    tasks = [asyncio.to_thread(add) for _ in range(3)]

    async def mine():
        for _ in range(200):
            with lock:
                n[0] += 1
            await asyncio.sleep(0)

    await asyncio.gather(mine(), *tasks)


@innocent
async def ok_log_file_line(t: Tools):
    path = os.path.join(tempfile.gettempdir(), uuid.uuid4().hex)
    log = logging.getLogger("corpus.small")
    log.propagate = False
    log.setLevel(10)
    log.addHandler(h := logging.FileHandler(path))
    log.addHandler(s := logging.handlers.QueueHandler(queue.Queue()))
    for i in range(100):
        log.info("request %d", i)
    log.removeHandler(h)
    log.removeHandler(s)
    h.close()
    os.unlink(path)


@innocent
async def ok_rmtree_small(t: Tools):
    folder = tempfile.mkdtemp()
    for i in range(5):
        pathlib.Path(folder, str(i)).write_text("x")
    shutil.rmtree(folder)


@innocent
async def ok_run_sync_create_all(t: Tools):
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

    engine = create_async_engine("sqlite+aiosqlite://")
    async with engine.begin() as c:
        await c.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine) as s:
        s.add(Author(name="x"))
        await s.commit()
        (await s.execute(sa.select(Author))).scalars().all()
    await engine.dispose()


@innocent
async def ok_json_hog_threads(t: Tools):
    stop = threading.Event()

    def hog():
        d = [{"a": i} for i in range(20000)]
        while not stop.is_set():
            json.dumps(d)

    ths = [threading.Thread(target=hog, daemon=True) for _ in range(3)]
    for th in ths:
        th.start()
    for _ in range(12):
        await asyncio.sleep(0.001)
        json.dumps({"a": 1})
        uuid.uuid4()
    stop.set()
    for th in ths:
        await asyncio.to_thread(th.join)


@innocent
async def ok_web_under_hog_threads(t: Tools):
    stop = threading.Event()

    def hog():
        while not stop.is_set():
            sum(i * i for i in range(500))

    ths = [threading.Thread(target=hog, daemon=True) for _ in range(3)]
    for th in ths:
        th.start()
    app = FastAPI()

    @app.get("/{n}")
    async def e(n: int):
        await asyncio.sleep(0.001)
        return {"n": n}

    for i in range(5):
        await get(app, f"/{i}")
    stop.set()
    for th in ths:
        await asyncio.to_thread(th.join)


@innocent
async def ok_queue_listener(t: Tools):
    q = queue.Queue()
    log = logging.getLogger("corpus.ql")
    log.propagate = False
    log.setLevel(10)
    h = logging.handlers.QueueHandler(q)
    log.addHandler(h)
    listener = logging.handlers.QueueListener(q, logging.StreamHandler(io.StringIO()))
    listener.start()
    for _ in range(50):
        log.info("x")
    await asyncio.to_thread(listener.stop)
    log.removeHandler(h)


@innocent
async def ok_eager_many(t: Tools):
    async def w(i):
        return i

    if sys.version_info >= (3, 12):
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    await asyncio.gather(*(w(i) for i in range(500)))
    asyncio.get_running_loop().set_task_factory(None)


@innocent
async def ok_from_thread(t: Tools):
    def work():
        time.sleep(0.05)
        return anyio.from_thread.run(anyio.sleep, 0.01)

    await anyio.to_thread.run_sync(work)


@innocent
async def ok_web_asyncio_subprocess(t: Tools):
    app = FastAPI()

    @app.get("/")
    async def endpoint():
        process = await asyncio.create_subprocess_exec("echo", "x", stdout=asyncio.subprocess.PIPE)
        await process.communicate()

    await get(app)
