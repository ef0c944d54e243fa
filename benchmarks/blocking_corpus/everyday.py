"""Culprits as they stand in services: clients, databases, hooks of libraries, callbacks and cleanup, work on data."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import email
import functools
import heapq
import ipaddress
import itertools
import json
import operator
import os
import queue
import random
import select
import shlex
import signal
import socket
import sqlite3
import statistics
import string
import subprocess
import sys
import tempfile
import threading
import time
import tokenize
import tomllib
import urllib.parse
import warnings
import weakref
from io import BytesIO, StringIO

import httpx
from fastapi import APIRouter, Depends, FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader
from pydantic import BaseModel, computed_field, model_serializer
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import Response

from . import Tools, culprit
from .computing import sized
from .files import get
from .waiting import later, once_it_waits


def hold(seconds: float) -> None:
    time.sleep(seconds)  # BLOCKS


# ---- dead-locks and waits for one's own loop


@culprit("wait")
async def own_loop_result(t: Tools):
    future = asyncio.run_coroutine_threadsafe(asyncio.sleep(0), asyncio.get_running_loop())
    with contextlib.suppress(concurrent.futures.TimeoutError):
        future.result(t.seconds)  # BLOCKS


@culprit("wait")
async def thread_that_waits_for_the_loop(t: Tools):
    loop = asyncio.get_running_loop()

    def ask():
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(t.seconds)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join()  # BLOCKS


@culprit("wait")
async def lock_held_by_a_worker(t: Tools):
    lock, taken = threading.Lock(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def work():
        with lock:
            loop.call_soon_threadsafe(taken.set)
            time.sleep(t.seconds + 0.01)

    worker = loop.run_in_executor(None, work)
    await taken.wait()
    with lock:  # BLOCKS
        pass
    await worker


@culprit("wait")
async def simple_queue_of_a_worker(t: Tools):
    answers: queue.SimpleQueue = queue.SimpleQueue()
    later(t.seconds, lambda: answers.put(1))
    answers.get()  # BLOCKS


@culprit("wait")
async def poll_a_flag(t: Tools):
    done = threading.Event()
    later(t.seconds, done.set)
    while not done.is_set():
        done.wait(0.005)  # BLOCKS


@culprit("fast")
async def short_sleeps(t: Tools):
    for _ in range(5):
        time.sleep(0.001)  # BLOCKS


@culprit("wait")
async def multiprocessing_event(t: Tools):
    import multiprocessing

    multiprocessing.get_context("spawn").Event().wait(t.seconds)  # BLOCKS


@culprit("wait")
async def signal_wait_info(t: Tools):
    signal.sigtimedwait({signal.SIGUSR1}, t.seconds)  # BLOCKS


# ---- sockets and processes


@culprit("wait")
async def epoll_of_ones_own(t: Tools):
    with select.epoll() as poll:
        poll.poll(t.seconds)  # BLOCKS


@culprit("wait")
async def udp_receive(t: Tools):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(t.seconds)
        with contextlib.suppress(TimeoutError):
            server.recvfrom(100)  # BLOCKS


@culprit("fast")
async def create_connection_short(t: Tools):
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()[:2]).close()  # BLOCKS


@culprit("fast")
async def popen_read(t: Tools):
    with subprocess.Popen(["echo", "x"], stdout=subprocess.PIPE) as process:  # BLOCKS
        assert process.stdout is not None
        process.stdout.read()  # BLOCKS


@culprit("fast")
async def subprocess_shell(t: Tools):
    subprocess.run("exit 0", shell=True, check=True)  # BLOCKS


@culprit("fast")
async def pipe_read_short(t: Tools):
    reader, writer = os.pipe()
    once_it_waits(lambda: os.write(writer, b"x"))
    os.read(reader, 1)  # BLOCKS
    os.close(reader)
    os.close(writer)


@culprit("fast")
async def reverse_lookup(t: Tools):
    with contextlib.suppress(OSError):
        socket.gethostbyaddr("127.0.0.1")  # BLOCKS


# ---- databases


def _database(t: Tools):
    return os.path.join(tempfile.mkdtemp(), "a.db")


@culprit("fast", prepare=_database)
async def sqlite_opened_in_a_thread(t: Tools, path):
    connection = await asyncio.to_thread(sqlite3.connect, path, check_same_thread=False)
    connection.execute("create table t (x)")  # BLOCKS
    connection.close()


@culprit("fast", prepare=_database)
async def sqlite_cursor(t: Tools, path):
    connection = await asyncio.to_thread(sqlite3.connect, path, check_same_thread=False)
    cursor = connection.cursor()
    cursor.execute("select 1")  # BLOCKS
    assert cursor.fetchall() == [(1,)]
    connection.close()


_ENDLESS = "with recursive c(x) as (select 1 union all select x + 1 from c) select max(x) from c"


@culprit("cpu", prepare=_database)
async def sqlite_long_query(t: Tools, path):
    connection = sqlite3.connect(":memory:")
    stop = time.thread_time() + t.seconds
    connection.set_progress_handler(lambda: time.thread_time() > stop, 10_000)
    with contextlib.suppress(sqlite3.OperationalError):
        connection.execute(_ENDLESS)  # BLOCKS
    connection.close()


@culprit("fast", prepare=_database)
async def sqlalchemy_session(t: Tools, path):
    import sqlalchemy
    from sqlalchemy.orm import Session

    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    with Session(engine) as session:
        session.execute(sqlalchemy.text("select 1"))  # BLOCKS
    await asyncio.to_thread(engine.dispose)


# ---- HTTP


@culprit("fast")
async def requests_under_responses_adapter(t: Tools):
    import requests

    class Adapter(requests.adapters.HTTPAdapter):
        def send(self, request, *args, **kwargs):
            response = requests.Response()
            response.status_code, response.request, response.url, response._content = 204, request, request.url, b""
            return response

    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", Adapter())
        session.post("http://billing.test/charge", json={"cents": 1})  # BLOCKS


@culprit("fast")
async def httpx_client_of_an_app(t: Tools):
    class Gateway:
        def __init__(self):
            self.client = httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(200, json={})))

        def fetch(self):
            return self.client.get("https://api.example.com/").json()

    gateway = Gateway()
    with contextlib.closing(gateway.client):
        gateway.client.get("https://api.example.com/")  # BLOCKS


# ---- hooks, callbacks, cleanup


@culprit("wait", hold)
async def hold_in_aexit(t: Tools):
    class Manager:
        async def __aenter__(self):
            return self

        async def __aexit__(self, *args):
            hold(t.seconds)

    async with Manager():
        await asyncio.sleep(0)


@culprit("wait", hold)
async def hold_in_exit_stack(t: Tools):
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(hold, t.seconds)
        await asyncio.sleep(0)


@culprit("wait", hold)
async def hold_in_finalizer(t: Tools):
    class Thing:
        pass

    thing = Thing()
    weakref.finalize(thing, hold, t.seconds)
    await asyncio.sleep(0)
    del thing


@culprit("wait", hold)
async def hold_in_cancelled_task(t: Tools):
    async def work():
        try:
            await asyncio.sleep(10)
        finally:
            hold(t.seconds)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])


@culprit("wait", hold)
async def hold_in_shielded_work(t: Tools):
    async def work():
        await asyncio.sleep(0)
        hold(t.seconds)

    await asyncio.wait_for(asyncio.shield(work()), 5)


@culprit("wait", hold)
async def hold_in_async_iterator(t: Tools):
    class Rows:
        count = 0

        def __aiter__(self):
            return self

        async def __anext__(self):
            self.count += 1
            if self.count > 2:
                raise StopAsyncIteration
            if self.count == 2:
                hold(t.seconds)
            return self.count

    assert [row async for row in Rows()] == [1, 2]


@culprit("wait", hold)
async def hold_in_getattr(t: Tools):
    class Lazy:
        def __getattr__(self, name):
            hold(t.seconds)
            return name

    return Lazy().value


@culprit("wait", hold)
async def hold_in_json_default(t: Tools):
    def default(value):
        hold(t.seconds)
        return str(value)

    json.dumps({"x": object()}, default=default)


@culprit("wait", hold)
async def hold_in_single_dispatch(t: Tools):
    @functools.singledispatch
    def handle(value):
        return value

    @handle.register
    def _(value: int):
        hold(t.seconds)

    handle(1)


@culprit("wait", hold)
async def hold_in_task_callback_of_a_group(t: Tools):
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(0)).add_done_callback(lambda task: hold(t.seconds))


@culprit("wait", hold)
async def hold_in_show_warning(t: Tools):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda *args, **kwargs: hold(t.seconds)
        warnings.warn("slow", stacklevel=1)


@culprit("wait", hold)
async def hold_in_anyio_task(t: Tools):
    import anyio

    async def work():
        hold(t.seconds)

    async with anyio.create_task_group() as group:
        group.start_soon(work)


@culprit("wait", hold)
async def hold_in_stream_reader(t: Tools):
    async def serve(reader, writer):
        await reader.readline()
        hold(t.seconds)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    writer.write(b"x\n")
    await reader.read()
    writer.close()
    server.close()


# ---- apps


@culprit("wait", hold)
async def app_security_dependency(t: Tools):
    class Key(APIKeyHeader):
        async def __call__(self, request: Request):
            hold(t.seconds)
            return await super().__call__(request)

    app = FastAPI()

    @app.get("/", dependencies=[Depends(Key(name="x-key", auto_error=False))])
    async def endpoint():
        return {}

    await get(app)


@culprit("wait", hold)
async def app_custom_route(t: Tools):
    class Timed(APIRoute):
        def get_route_handler(self):
            inner = super().get_route_handler()

            async def handler(request):
                hold(t.seconds)
                return await inner(request)

            return handler

    router = APIRouter(route_class=Timed)

    @router.get("/")
    async def endpoint():
        return {}

    app = FastAPI()
    app.include_router(router)
    await get(app)


@culprit("wait", hold)
async def app_dispatch_middleware(t: Tools):
    class Middleware(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):
            hold(t.seconds)
            return await call_next(request)

    app = FastAPI()
    app.add_middleware(Middleware)
    await get(app)


@culprit("wait", hold)
async def app_response_render(t: Tools):
    class Slow(Response):
        def render(self, content):
            hold(t.seconds)
            return b""

    app = FastAPI()

    @app.get("/")
    async def endpoint():
        return Slow()

    await get(app)


class Computed(BaseModel):
    seconds: float

    @computed_field
    def slow(self) -> int:
        hold(self.seconds)
        return 1


@culprit("wait", hold)
async def app_computed_field(t: Tools):
    app = FastAPI()

    @app.get("/", response_model=Computed)
    async def endpoint():
        return Computed(seconds=t.seconds)

    await get(app)


class Serialised(BaseModel):
    seconds: float

    @model_serializer
    def serialise(self) -> dict:
        hold(self.seconds / 2)
        return {}


@culprit("wait", hold)
async def app_model_serializer(t: Tools):
    Serialised(seconds=t.seconds).model_dump_json()


@culprit("wait", hold)
async def app_stream_of_events(t: Tools):
    app = FastAPI()

    @app.get("/")
    async def endpoint():
        async def events():
            yield "data: 1\n\n"
            await asyncio.sleep(0)
            hold(t.seconds)
            yield "data: 2\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    await get(app)


@culprit("wait", hold)
async def app_websocket_messages(t: Tools):
    from fastapi.testclient import TestClient

    app = FastAPI()

    @app.websocket("/")
    async def endpoint(websocket: WebSocket):
        await websocket.accept()
        async for message in websocket.iter_text():
            hold(t.seconds)
            await websocket.send_text(message)

    def use():
        with TestClient(app).websocket_connect("/") as session:
            session.send_text("x")
            session.receive_text()

    await asyncio.to_thread(use)


@culprit("wait", hold)
async def app_lifespan_shutdown(t: Tools):
    @contextlib.asynccontextmanager
    async def lifespan(app):
        yield
        hold(t.seconds)

    app = FastAPI(lifespan=lifespan)
    async with app.router.lifespan_context(app):
        await get(app, "/absent")


# ---- work on data


@culprit("cpu", prepare=sized(lambda n: list(heapq.merge(range(n), range(n))), 2000))
async def merge_sorted(t: Tools, n):
    list(heapq.merge(range(n), range(n)))  # BLOCKS


@culprit("cpu", prepare=sized(lambda n: list(itertools.permutations(range(9), 4)) * n, 1))
async def permute(t: Tools, n):
    for _ in range(n):  # BLOCKS
        list(itertools.permutations(range(9), 4))  # BLOCKS


@culprit("cpu", prepare=sized(lambda n: tomllib.loads("[a]\n" + "".join(f"k{i} = {i}\n" for i in range(n))), 100))
async def parse_toml(t: Tools, n):
    tomllib.loads("[a]\n" + "".join(f"k{i} = {i}\n" for i in range(n)))  # BLOCKS


@culprit("cpu", prepare=sized(lambda n: urllib.parse.parse_qs("&".join(f"a{i}=%20{i}" for i in range(n))), 100))
async def parse_query(t: Tools, n):
    urllib.parse.parse_qs("&".join(f"a{i}=%20{i}" for i in range(n)))  # BLOCKS


@culprit("cpu", prepare=sized(lambda n: list(ipaddress.ip_network("10.0.0.0/8").subnets(new_prefix=24))[:n], 100))
async def subnets(t: Tools, n):
    done = t.spun()
    while not done():  # BLOCKS
        for number in range(50):  # BLOCKS
            ipaddress.ip_network(f"10.{number}.0.0/16")  # BLOCKS


@culprit("cpu", prepare=sized(lambda n: shlex.split("a 'b c' " * n), 100))
async def split_shell(t: Tools, n):
    shlex.split("a 'b c' " * n)  # BLOCKS


@culprit("cpu", prepare=sized(lambda n: email.message_from_string("A: b\n" * n + "\nx"), 500))
async def parse_mail(t: Tools, n):
    email.message_from_string("A: b\n" * n + "\nx")  # BLOCKS


def _tokens(text):
    return list(tokenize.tokenize(BytesIO(text).readline))  # BLOCKS


@culprit("cpu", _tokens, prepare=lambda t: t.grow(lambda n: b"x = 1\n" * n, _tokens))
async def tokens(t: Tools, text):
    _tokens(text)


@culprit("cpu")
async def templates(t: Tools):
    done = t.spun()
    template = string.Template("$a and $b")
    while not done():  # BLOCKS
        template.substitute(a=1, b=2)  # BLOCKS


@culprit("cpu")
async def sort_by_comparison(t: Tools):
    done = t.spun()
    numbers = [random.random() for _ in range(500)]
    while not done():  # BLOCKS
        sorted(numbers, key=functools.cmp_to_key(operator.sub))  # BLOCKS


def sieve(limit):
    flags = bytearray([1]) * limit  # BLOCKS
    for number in range(2, int(limit**0.5) + 1):  # BLOCKS
        if flags[number]:  # BLOCKS
            flags[number * number :: number] = bytes(len(range(number * number, limit, number)))  # BLOCKS
    return sum(flags)  # BLOCKS


@culprit("cpu", sieve, prepare=sized(sieve, 10000))
async def primes(t: Tools, n):
    sieve(n)


def distance(left, right):
    before = list(range(len(right) + 1))  # BLOCKS
    for row, a in enumerate(left):  # BLOCKS
        now = [row + 1]  # BLOCKS
        for column, b in enumerate(right):  # BLOCKS
            now.append(min(before[column] + (a != b), now[column] + 1, before[column + 1] + 1))  # BLOCKS
        before = now  # BLOCKS
    return before[-1]  # BLOCKS


@culprit("cpu", distance, prepare=sized(lambda n: distance("ab" * n, "ba" * 20), 20))
async def edit_distance(t: Tools, n):
    distance("ab" * n, "ba" * 20)


@dataclasses.dataclass
class Row:
    number: int
    name: str
    parts: list[str]


def _dicts(rows):
    return [dataclasses.asdict(row) for row in rows]  # BLOCKS


@culprit("cpu", _dicts, prepare=lambda t: t.grow(lambda n: [Row(i, "x", ["y"]) for i in range(n)], _dicts))
async def rows_to_dicts(t: Tools, rows):
    _dicts(rows)


@culprit("cpu", prepare=sized(lambda n: statistics.stdev(range(n)), 500))
async def deviation(t: Tools, n):
    statistics.stdev(range(n))  # BLOCKS


@culprit("cpu")
async def template_rendering(t: Tools):
    import jinja2

    template = jinja2.Environment(autoescape=True).from_string("{% for r in rows %}<td>{{ r.a }}</td>{% endfor %}")
    rows = [{"a": "<x>"}] * 500
    done = t.spun()
    while not done():  # BLOCKS
        template.render(rows=rows)  # BLOCKS


class Item(BaseModel):
    number: int
    name: str
    tags: list[str]


def _items(numbers):
    return [Item(number=number, name="x", tags=["a"]) for number in numbers]  # BLOCKS


@culprit("cpu", _items, prepare=lambda t: t.grow(range, _items))
async def models(t: Tools, numbers):
    _items(numbers)


@culprit("cpu")
async def compute_in_many_awaited_coroutines(t: Tools):
    """Each is awaited, and none of them waits: it is one step of the task."""

    async def part(number):
        return sum(range(number))  # BLOCKS

    done = t.spun()
    while not done():  # BLOCKS
        await part(500)  # BLOCKS


@culprit("cpu")
async def print_much(t: Tools):
    done = t.spun()
    with contextlib.redirect_stdout(StringIO()):
        while not done():  # BLOCKS
            print("x" * 50, sys.version_info, sep=",")  # BLOCKS
