"""Further culprits: originals taken before, locks of C, callbacks of C code, databases, logging, the loop's own ways.

Each was once missed, named by a wrong line, or a false alarm, or is akin to one that was.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import functools
import hashlib
import io
import logging
import logging.handlers
import multiprocessing
import operator
import os
import pathlib
import queue
import random
import re
import shutil
import socket
import sys
import tempfile
import threading
import time
import uuid
from functools import partial

import anyio
import anyio.from_thread
import anyio.to_thread
import psycopg
import sqlalchemy as sa
from fastapi import FastAPI
from psycopg import connect as pg_connect
from pydantic import BaseModel, model_validator
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from . import Tools, culprit
from .files import get
from .waiting import once_it_waits

DEFAULT_SLEEP = time.sleep
short_partial = partial(time.sleep, 0.004)


def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:  # BLOCKS
        pass  # BLOCKS


class Retry:
    sleep = time.sleep

    def wait(self):
        self.sleep(0.003)  # BLOCKS


def retry(sleep=time.sleep):
    sleep(0.003)  # BLOCKS


@dataclasses.dataclass
class Store:
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)


DSN = "postgresql://u:p@127.0.0.1:9/db"


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "authors"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    books: Mapped[list[Book]] = relationship(back_populates="author")


class Book(Base):
    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(sa.ForeignKey("authors.id"))
    author: Mapped[Author] = relationship(back_populates="books")


def _engine(t: Tools):
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool, connect_args={"check_same_thread": False})
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Author(name="x", books=[Book()]))
        session.commit()
    return engine


def _many_files(n=4000):
    folder = tempfile.mkdtemp()
    for number in range(n):
        pathlib.Path(folder, str(number)).touch()
    return folder


def grow(make, use, start=1000):
    return lambda t: t.grow(make, use, start)


def _pairs(n):
    return [(random.random(), number) for number in range(n)]


def _sort_pairs(pairs):
    return sorted(pairs, key=operator.itemgetter(0))


def negative(e):
    return -e


class Checked(BaseModel):
    seconds: float

    @model_validator(mode="after")
    def check(self):
        burn(self.seconds)
        return self


@culprit("fast")
async def further_partial_short(t: Tools):
    short_partial()  # BLOCKS


@culprit("fast")
async def further_alias_variable(t: Tools):
    DEFAULT_SLEEP(0.002)  # BLOCKS


@culprit("fast", Retry)
async def further_class_attribute(t: Tools):
    Retry().wait()


@culprit("fast", retry)
async def further_default_argument(t: Tools):
    retry()


@culprit("fast")
async def further_map_sleep(t: Tools):
    list(map(time.sleep, [0.001, 0.001]))  # BLOCKS


@culprit("fast")
async def further_psycopg_by_name(t: Tools):
    with contextlib.suppress(psycopg.OperationalError):
        pg_connect(DSN, connect_timeout=2)  # BLOCKS


@culprit("fast", prepare=_engine)
async def further_session_query(t: Tools, engine):
    with Session(engine) as session:
        session.query(Author).filter(Author.name == "x").all()  # BLOCKS


@culprit("fast", prepare=_engine)
async def further_create_all(t: Tools, engine):
    app = FastAPI()

    @app.get("/")
    async def endpoint():
        Base.metadata.create_all(engine)  # BLOCKS

    await get(app)


@culprit("fast", prepare=_engine)
async def further_lazy_load(t: Tools, engine):
    def first():
        s = Session(engine)
        return s, s.query(Author).first()

    session, author = await asyncio.to_thread(first)
    len(author.books)  # BLOCKS
    await asyncio.to_thread(session.close)


@culprit("fast", prepare=_engine)
async def further_inspect(t: Tools, engine):
    sa.inspect(engine).get_table_names()  # BLOCKS


@culprit("fast")
async def further_socket_handler(t: Tools):
    log = logging.getLogger("corpus.socket")
    log.propagate = False
    log.setLevel(10)
    server = socket.create_server(("127.0.0.1", 0))
    log.addHandler(h := logging.handlers.SocketHandler(*server.getsockname()[:2]))
    log.info("hello")  # BLOCKS
    log.removeHandler(h)
    h.close()
    server.close()


@culprit("fast")
async def further_queue_handler_full(t: Tools):
    log = logging.getLogger("corpus.queue")
    log.propagate = False
    log.setLevel(10)
    q = queue.Queue(1)
    q.put(1)

    class Handler(logging.handlers.QueueHandler):
        def enqueue(self, record):
            self.queue.put(record)  # BLOCKS

    log.addHandler(h := Handler(q))
    once_it_waits(q.get)
    log.info("hello")
    log.removeHandler(h)


@culprit("fast")
async def further_file_big(t: Tools):
    path = os.path.join(tempfile.gettempdir(), uuid.uuid4().hex)
    log = logging.getLogger("corpus.file")
    log.propagate = False
    log.setLevel(10)
    log.addHandler(h := logging.FileHandler(path))
    log.info("x" * 3_000_000)  # BLOCKS
    log.removeHandler(h)
    h.close()
    os.unlink(path)


@culprit("wait")
async def further_lock_of_handler(t: Tools):
    h = logging.StreamHandler(io.StringIO())
    log = logging.getLogger("corpus.lock")
    log.propagate = False
    log.setLevel(10)
    log.addHandler(h)
    held = threading.Event()

    def hold():
        with h.lock:
            held.set()
            time.sleep(t.seconds + 0.02)

    threading.Thread(target=hold, daemon=True).start()
    while not held.is_set():
        await asyncio.sleep(0.001)
    log.info("x")  # BLOCKS
    log.removeHandler(h)


@culprit("cpu", burn)
async def further_add_writer(t: Tools):
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def writable():
        loop.remove_writer(ours)
        burn(t.seconds)
        done.set_result(1)

    loop.add_writer(ours, writable)
    await done
    ours.close()
    theirs.close()


@culprit("cpu", burn)
async def further_call_at(t: Tools):
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    loop.call_at(loop.time() + 0.003, lambda: (burn(t.seconds), done.set_result(1)))
    await done


@culprit("cpu", burn)
async def further_exception_handler(t: Tools):
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, ctx: burn(t.seconds))

    def fail():
        raise ValueError

    loop.call_soon(fail)
    await asyncio.sleep(0.01)
    loop.set_exception_handler(None)


@culprit("wait")
async def further_eager(t: Tools):
    async def work():
        time.sleep(t.seconds)  # BLOCKS

    if sys.version_info >= (3, 12):
        await asyncio.Task(work(), loop=asyncio.get_running_loop(), eager_start=True)
    else:
        await work()


@culprit("cpu", burn)
async def further_eager_factory(t: Tools):
    async def work():
        burn(t.seconds)

    loop = asyncio.get_running_loop()
    if sys.version_info >= (3, 12):
        loop.set_task_factory(asyncio.eager_task_factory)

    async def parent():
        await asyncio.gather(work(), asyncio.sleep(0))

    await asyncio.create_task(parent())
    loop.set_task_factory(None)


@culprit("wait")
async def further_blocking_portal(t: Tools):
    with anyio.from_thread.start_blocking_portal() as portal:
        portal.call(anyio.sleep, t.seconds)  # BLOCKS


@culprit("wait")
async def further_agen_aclose(t: Tools):
    async def g():
        try:
            yield 1
        finally:
            time.sleep(t.seconds)  # BLOCKS

    it = g()
    await it.__anext__()
    await it.aclose()


@culprit("wait")
async def further_await_dunder(t: Tools):
    class A:
        def __await__(self):
            time.sleep(t.seconds)  # BLOCKS
            yield from asyncio.sleep(0).__await__()

    await A()


@culprit("fast")
async def further_lock_short(t: Tools):
    lock = threading.Lock()
    lock.acquire()
    once_it_waits(lock.release)
    lock.acquire()  # BLOCKS


@culprit("fast")
async def further_lock_with_short(t: Tools):
    lock = threading.Lock()
    lock.acquire()
    once_it_waits(lock.release)
    with lock:  # BLOCKS
        pass


@culprit("fast")
async def further_rlock_short(t: Tools):
    lock = threading.RLock()
    held = threading.Event()

    def hold():
        with lock:
            held.set()
            time.sleep(0.04)

    threading.Thread(target=hold, daemon=True).start()
    while not held.is_set():
        await asyncio.sleep(0.001)
    with lock:  # BLOCKS
        pass


@culprit("fast")
async def further_simple_queue_short(t: Tools):
    q = queue.SimpleQueue()
    once_it_waits(lambda: q.put(1))
    q.get()  # BLOCKS


@culprit("fast")
async def further_lock_of_dataclass(t: Tools):
    s = Store()
    s.lock.acquire()
    once_it_waits(s.lock.release)
    with s.lock:  # BLOCKS
        pass


@culprit("fast")
async def further_barrier_short(t: Tools):
    b = threading.Barrier(2)
    once_it_waits(b.wait)
    b.wait()  # BLOCKS


@culprit("wait")
async def further_executor_map(t: Tools):
    ex = concurrent.futures.ThreadPoolExecutor(2)
    for _ in ex.map(time.sleep, [t.seconds] * 2):  # BLOCKS
        pass
    ex.shutdown(wait=False)


@culprit("wait")
async def further_mp_lock(t: Tools):
    lock = multiprocessing.get_context("spawn").Lock()
    lock.acquire()
    lock.acquire(timeout=t.seconds)  # BLOCKS


@culprit("fast", prepare=lambda t: _many_files())
async def further_rmtree(t: Tools, folder):
    shutil.rmtree(folder)  # BLOCKS


@culprit("cpu", prepare=lambda t: _many_files(20000))
async def further_glob(t: Tools, folder):
    for _ in range(8):
        sum(p.stat().st_size for p in pathlib.Path(folder).glob("*"))  # BLOCKS
    await asyncio.to_thread(shutil.rmtree, folder)


@culprit("cpu", prepare=grow(lambda n: [random.random() for _ in range(n)], lambda x: sorted(x, key=negative)))
async def further_sorted_function(t: Tools, x):
    x.sort(key=negative)  # BLOCKS


@culprit(
    "cpu", prepare=grow(lambda n: "".join(random.choices("abc ", k=n)), lambda x: re.sub(r"(a|b)+c", lambda m: "", x))
)
async def further_re_sub_callback(t: Tools, text):
    def replace(match):
        return ""

    re.sub(r"(a|b)+c", replace, text)  # BLOCKS


@culprit("cpu", prepare=grow(lambda n: list(range(n)), lambda x: functools.reduce(lambda a, b: a + b, x)))
async def further_reduce(t: Tools, x):
    functools.reduce(lambda a, b: a + b, x)  # BLOCKS


@culprit("cpu", prepare=grow(lambda n: n, lambda n: hashlib.pbkdf2_hmac("sha256", b"p", b"s", n), 1000))
async def further_c_in_callback(t: Tools, n):
    def check(match):
        return hashlib.pbkdf2_hmac("sha256", match[0].encode(), b"s", n).hex()  # BLOCKS

    re.sub("a", check, "a")


@culprit("cpu", burn)
async def further_sort_slow_cpu_key(t: Tools):
    def key(x):
        burn(t.seconds / 3)
        return x

    sorted([3, 2, 1], key=key)


@culprit("cpu", burn)
async def further_model_validator(t: Tools):
    Checked(seconds=t.seconds)


@culprit("cpu", burn)
async def further_asgi_send_wrapper(t: Tools):
    class M:
        def __init__(self, app):
            self.app = app

        async def __call__(self, scope, receive, send):
            async def wrapped(message):
                if message["type"] == "http.response.start":
                    burn(t.seconds)
                await send(message)

            await self.app(scope, receive, wrapped)

    app = FastAPI()
    app.add_middleware(M)

    @app.get("/")
    async def e():
        return {}

    await get(app)


@culprit("wait")
async def further_mounted(t: Tools):
    sub = FastAPI()

    @sub.get("/x")
    async def e():
        time.sleep(t.seconds)  # BLOCKS

    app = FastAPI()
    app.mount("/sub", sub)
    await get(app, "/sub/x")


@culprit("cpu", prepare=grow(_pairs, _sort_pairs))
async def further_sort_then_await(t: Tools, pairs):
    rows = sorted(pairs, key=operator.itemgetter(0))  # BLOCKS
    await asyncio.sleep(0)
    return rows


@culprit("cpu", prepare=grow(_pairs, _sort_pairs))
async def further_sort_by_lambda_then(t: Tools, pairs):
    rows = sorted(pairs, key=lambda pair: pair[0])  # BLOCKS
    return len(rows[:10])
