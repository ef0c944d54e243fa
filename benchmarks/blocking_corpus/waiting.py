"""Culprits that wait: locks, queues, futures, sockets, processes, files, and sleeps in unexpected places."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import ctypes
import fcntl
import http.client
import http.server
import linecache
import logging
import multiprocessing
import os
import queue
import select
import selectors
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from time import sleep

from . import Tools, culprit


def later(seconds: float, do) -> threading.Thread:
    timer = threading.Timer(seconds, do)
    timer.daemon = True
    timer.start()
    return timer


def once_it_waits(then) -> None:
    """Call it when the calling thread has stood at a marked line for a while.

    For short waits: on a busy machine whatever happens after some milliseconds may happen before the wait.
    """
    thread = threading.get_ident()

    def at() -> tuple | None:
        frame = sys._current_frames().get(thread)
        while frame is not None:
            if "# BLOCKS" in linecache.getline(frame.f_code.co_filename, frame.f_lineno):
                return frame.f_code, frame.f_lasti
            frame = frame.f_back
        return None

    def watch() -> None:
        place, since = None, time.monotonic()
        while place is None or time.monotonic() - since < 0.02:
            before, place = place, at()
            if place != before:
                since = time.monotonic()
            time.sleep(0.002)
        then()

    threading.Thread(target=watch, daemon=True).start()


# ---- sleeps


@culprit("wait")
async def sleep_in_coroutine(t: Tools):
    time.sleep(t.seconds)  # BLOCKS


def nap(seconds: float):
    time.sleep(seconds)  # BLOCKS


@culprit("wait", nap)
async def sleep_in_helper(t: Tools):
    nap(t.seconds)


@culprit("wait")
async def sleep_by_name(t: Tools):
    sleep(t.seconds)  # BLOCKS


@culprit("fast")
async def sleep_short(t: Tools):
    time.sleep(0.001)  # BLOCKS


@culprit("wait")
async def sleep_often(t: Tools):
    for _ in range(20):
        time.sleep(t.seconds / 20)  # BLOCKS


class Enter:
    def __init__(self, seconds):
        self.seconds = seconds

    async def __aenter__(self):
        time.sleep(self.seconds)  # BLOCKS
        return self

    async def __aexit__(self, *args):
        return None

    def __del__(self):
        return None


@culprit("wait", Enter)
async def sleep_in_aenter(t: Tools):
    async with Enter(t.seconds):
        await asyncio.sleep(0)


@contextlib.contextmanager
def managed(seconds):
    time.sleep(seconds)  # BLOCKS
    yield


@culprit("wait", managed)
async def sleep_in_enter(t: Tools):
    with managed(t.seconds):
        await asyncio.sleep(0)


async def numbers(seconds):
    yield 1
    time.sleep(seconds)  # BLOCKS
    yield 2


@culprit("wait", numbers)
async def sleep_in_async_generator(t: Tools):
    async for _ in numbers(t.seconds):
        await asyncio.sleep(0)


class Dying:
    seconds = 0.0

    def __del__(self):
        time.sleep(self.seconds)  # BLOCKS


@culprit("wait", Dying)
async def sleep_in_del(t: Tools):
    dying = Dying()
    dying.seconds = t.seconds
    await asyncio.sleep(0)
    del dying
    await asyncio.sleep(0)


class Lazy:
    seconds = 0.0

    @property
    def value(self):
        time.sleep(self.seconds)  # BLOCKS
        return 1

    def __repr__(self):
        time.sleep(self.seconds)  # BLOCKS
        return "lazy"


@culprit("wait", Lazy)
async def sleep_in_property(t: Tools):
    lazy = Lazy()
    lazy.seconds = t.seconds
    return lazy.value


@culprit("wait", Lazy)
async def sleep_in_repr_of_a_log_line(t: Tools):
    lazy = Lazy()
    lazy.seconds = t.seconds
    log = logging.getLogger("corpus")
    log.addHandler(handler := logging.NullHandler())
    log.setLevel(logging.INFO)
    log.propagate = False
    handler.handle = lambda record: record.getMessage()
    log.info("%r", lazy)
    log.removeHandler(handler)


@culprit("wait", nap)
async def sleep_in_call_soon(t: Tools):
    asyncio.get_running_loop().call_soon(nap, t.seconds)
    await asyncio.sleep(0.005)


@culprit("wait", nap)
async def sleep_in_call_later(t: Tools):
    asyncio.get_running_loop().call_later(0.002, nap, t.seconds)
    await asyncio.sleep(0.01)


@culprit("wait")
async def sleep_in_done_callback(t: Tools):
    def done(_):
        time.sleep(t.seconds)  # BLOCKS

    future = asyncio.get_running_loop().create_future()
    future.add_done_callback(done)
    future.set_result(1)
    await asyncio.sleep(0.005)


@culprit("wait")
async def sleep_in_background_task(t: Tools):
    async def work():
        await asyncio.sleep(0)
        time.sleep(t.seconds)  # BLOCKS

    await asyncio.create_task(work())


@culprit("wait")
async def sleep_in_task_group(t: Tools):
    async def work():
        time.sleep(t.seconds)  # BLOCKS

    async with asyncio.TaskGroup() as group:
        group.create_task(work())


class Receiver(asyncio.Protocol):
    seconds = 0.0

    def data_received(self, data):
        time.sleep(self.seconds)  # BLOCKS


@culprit("wait", Receiver)
async def sleep_in_data_received(t: Tools):
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    receiver = Receiver()
    receiver.seconds = t.seconds
    transport, _ = await asyncio.get_running_loop().create_connection(lambda: receiver, sock=ours)
    theirs.send(b"x")  # a byte in a socket's buffer; named all the same  # BLOCKS
    await asyncio.sleep(0.01)
    transport.close()
    theirs.close()
    await asyncio.sleep(0)


@culprit("wait")
async def sleep_in_signal_handler(t: Tools):
    def handler():
        time.sleep(t.seconds)  # BLOCKS

    loop = asyncio.get_running_loop()
    if threading.current_thread() is not threading.main_thread():
        handler()
        return
    loop.add_signal_handler(signal.SIGUSR2, handler)
    os.kill(os.getpid(), signal.SIGUSR2)
    await asyncio.sleep(0.02)
    loop.remove_signal_handler(signal.SIGUSR2)


# ---- locks and the like


@culprit("wait")
async def lock_acquire(t: Tools):
    lock = threading.Lock()
    lock.acquire()
    later(t.seconds, lock.release)
    lock.acquire()  # BLOCKS


@culprit("wait")
async def lock_with(t: Tools):
    lock = threading.Lock()
    lock.acquire()
    later(t.seconds, lock.release)
    with lock:  # BLOCKS
        pass


@culprit("wait")
async def lock_with_timeout(t: Tools):
    lock = threading.Lock()
    lock.acquire()
    lock.acquire(timeout=t.seconds)  # BLOCKS


@culprit("wait")
async def rlock(t: Tools):
    lock = threading.RLock()
    held = threading.Event()

    def hold():
        with lock:
            held.set()
            time.sleep(t.seconds + 0.01)

    threading.Thread(target=hold, daemon=True).start()
    while not held.is_set():
        await asyncio.sleep(0.001)
    with lock:  # BLOCKS
        pass


@culprit("wait")
async def condition_wait(t: Tools):
    condition = threading.Condition()
    with condition:
        condition.wait(timeout=t.seconds)  # BLOCKS


@culprit("wait")
async def condition_wait_for(t: Tools):
    condition = threading.Condition()
    with condition:
        condition.wait_for(lambda: False, timeout=t.seconds)  # BLOCKS


@culprit("wait")
async def event_wait(t: Tools):
    threading.Event().wait(t.seconds)  # BLOCKS


@culprit("fast")
async def event_wait_short(t: Tools):
    event = threading.Event()
    once_it_waits(event.set)
    event.wait()  # BLOCKS


@culprit("wait")
async def semaphore(t: Tools):
    threading.Semaphore(0).acquire(timeout=t.seconds)  # BLOCKS


@culprit("wait")
async def barrier(t: Tools):
    with contextlib.suppress(threading.BrokenBarrierError):
        threading.Barrier(2).wait(t.seconds)  # BLOCKS


@culprit("wait")
async def queue_get(t: Tools):
    with contextlib.suppress(queue.Empty):
        queue.Queue().get(timeout=t.seconds)  # BLOCKS


@culprit("fast")
async def queue_get_short(t: Tools):
    waiting: queue.Queue = queue.Queue()
    once_it_waits(lambda: waiting.put(1))
    waiting.get()  # BLOCKS


@culprit("wait")
async def queue_put(t: Tools):
    full: queue.Queue = queue.Queue(1)
    full.put(1)
    with contextlib.suppress(queue.Full):
        full.put(2, timeout=t.seconds)  # BLOCKS


@culprit("wait")
async def simple_queue(t: Tools):
    with contextlib.suppress(queue.Empty):
        queue.SimpleQueue().get(timeout=t.seconds)  # BLOCKS


@culprit("wait")
async def future_result(t: Tools):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        future = pool.submit(time.sleep, t.seconds)
        future.result()  # BLOCKS


@culprit("fast")
async def future_result_short(t: Tools):
    pool = concurrent.futures.ThreadPoolExecutor(1)
    done = threading.Event()
    future = pool.submit(done.wait)
    once_it_waits(done.set)
    future.result()  # BLOCKS
    pool.shutdown(wait=False)


@culprit("wait")
async def futures_wait(t: Tools):
    pool = concurrent.futures.ThreadPoolExecutor(1)
    concurrent.futures.wait([pool.submit(time.sleep, t.seconds)])  # BLOCKS
    pool.shutdown(wait=False)


@culprit("wait")
async def futures_as_completed(t: Tools):
    pool = concurrent.futures.ThreadPoolExecutor(1)
    for _ in concurrent.futures.as_completed([pool.submit(time.sleep, t.seconds)]):  # BLOCKS
        pass
    pool.shutdown(wait=False)


@culprit("wait")
async def pool_map(t: Tools):
    pool = concurrent.futures.ThreadPoolExecutor(2)
    list(pool.map(time.sleep, [t.seconds, t.seconds]))  # BLOCKS
    pool.shutdown(wait=False)


@culprit("wait")
async def pool_exit(t: Tools):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:  # BLOCKS
        pool.submit(time.sleep, t.seconds)


@culprit("wait")
async def thread_join(t: Tools):
    thread = threading.Thread(target=time.sleep, args=(t.seconds,))
    thread.start()
    thread.join()  # BLOCKS


@culprit("wait")
async def other_loop_result(t: Tools):
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(asyncio.sleep(t.seconds), loop).result()  # BLOCKS
    loop.call_soon_threadsafe(loop.stop)
    await asyncio.to_thread(thread.join)
    loop.close()


# ---- processes


@culprit("wait")
async def subprocess_run(t: Tools):
    subprocess.run(["sleep", str(t.seconds)])  # BLOCKS


@culprit("fast")
async def subprocess_run_short(t: Tools):
    subprocess.run(["true"])  # BLOCKS


@culprit("wait")
async def subprocess_wait(t: Tools):
    process = subprocess.Popen(["sleep", str(t.seconds)])  # BLOCKS
    process.wait()  # BLOCKS


@culprit("wait")
async def subprocess_communicate(t: Tools):
    process = await asyncio.to_thread(subprocess.Popen, ["sleep", str(t.seconds)], stdout=subprocess.PIPE)
    process.communicate()  # BLOCKS


@culprit("wait")
async def subprocess_check_output(t: Tools):
    subprocess.check_output(["sleep", str(t.seconds)])  # BLOCKS


@culprit("wait")
async def os_system(t: Tools):
    os.system(f"sleep {t.seconds}")  # BLOCKS


@culprit("wait")
async def os_popen(t: Tools):
    with os.popen(f"sleep {t.seconds}; echo done") as pipe:  # BLOCKS
        pipe.read()  # BLOCKS


@culprit("wait")
async def os_waitpid(t: Tools):
    process = await asyncio.to_thread(subprocess.Popen, ["sleep", str(t.seconds)])
    os.waitpid(process.pid, 0)  # BLOCKS
    process.returncode = 0


@culprit("wait")
async def multiprocessing_poll(t: Tools):
    ours, theirs = multiprocessing.Pipe()
    ours.poll(t.seconds)  # BLOCKS
    ours.close()
    theirs.close()


@culprit("wait")
async def multiprocessing_recv(t: Tools):
    ours, theirs = multiprocessing.Pipe()
    later(t.seconds, lambda: theirs.send(1))
    ours.recv()  # BLOCKS
    ours.close()
    theirs.close()


# ---- sockets


def sockets() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair()


@culprit("wait")
async def socket_recv(t: Tools):
    ours, theirs = sockets()
    later(t.seconds, lambda: theirs.send(b"x"))
    ours.recv(1)  # BLOCKS
    ours.close()
    theirs.close()


@culprit("wait")
async def socket_recv_timeout(t: Tools):
    ours, theirs = sockets()
    ours.settimeout(t.seconds)
    with contextlib.suppress(TimeoutError):
        ours.recv(1)  # BLOCKS
    ours.close()
    theirs.close()


@culprit("wait")
async def socket_makefile(t: Tools):
    ours, theirs = sockets()
    later(t.seconds, lambda: theirs.send(b"line\n"))
    file = ours.makefile("rb")
    file.readline()  # BLOCKS
    file.close()
    ours.close()
    theirs.close()


@culprit("wait")
async def socket_accept(t: Tools):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(t.seconds)
        with contextlib.suppress(TimeoutError):
            server.accept()  # BLOCKS


@culprit("wait")
async def socket_sendall(t: Tools):
    ours, theirs = sockets()
    later(t.seconds, theirs.close)
    with contextlib.suppress(OSError):
        ours.sendall(b"x" * 10_000_000)  # BLOCKS
    ours.close()


@culprit("fast")
async def socket_connect(t: Tools):
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.socket()
        client.connect(server.getsockname())  # BLOCKS
        client.close()


@culprit("fast")
async def name_lookup(t: Tools):
    socket.getaddrinfo("localhost", 80)  # BLOCKS


@culprit("fast")
async def name_lookup_old(t: Tools):
    socket.gethostbyname("localhost")  # BLOCKS


@culprit("wait")
async def select_select(t: Tools):
    ours, theirs = sockets()
    select.select([ours], [], [], t.seconds)  # BLOCKS
    ours.close()
    theirs.close()


@culprit("wait")
async def select_poll(t: Tools):
    ours, theirs = sockets()
    poll = select.poll()
    poll.register(ours, select.POLLIN)
    poll.poll(t.seconds * 1000)  # BLOCKS
    ours.close()
    theirs.close()


@culprit("wait")
async def selector_select(t: Tools):
    with selectors.DefaultSelector() as selector:
        selector.select(t.seconds)  # BLOCKS


# ---- HTTP


class _Server:
    """A web server that answers after a while, in a thread."""

    def __init__(self, seconds: float) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                time.sleep(seconds)
                self.send_response(200)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    async def close(self) -> None:
        await asyncio.to_thread(self.server.shutdown)
        self.server.server_close()


@culprit("wait")
async def http_urllib(t: Tools):
    server = await asyncio.to_thread(_Server, t.seconds)
    urllib.request.urlopen(server.url).read()  # BLOCKS
    await server.close()


@culprit("wait")
async def http_client(t: Tools):
    server = await asyncio.to_thread(_Server, t.seconds)
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("GET", "/")  # BLOCKS
    connection.getresponse().read()  # BLOCKS
    connection.close()
    await server.close()


@culprit("wait")
async def http_httpx(t: Tools):
    import httpx

    server = await asyncio.to_thread(_Server, t.seconds)
    with httpx.Client(trust_env=False, verify=False) as client:
        client.get(server.url)  # BLOCKS
    await server.close()


@culprit("fast")
async def http_httpx_mocked(t: Tools):
    import httpx

    transport = httpx.MockTransport(lambda request: httpx.Response(200))
    with httpx.Client(transport=transport) as client:
        client.get("https://api.example.com/")  # BLOCKS


@culprit("fast")
async def http_requests_mocked(t: Tools):
    import requests

    class Adapter(requests.adapters.BaseAdapter):
        def send(self, request, **kwargs):
            response = requests.Response()
            response.status_code, response.request, response.url = 200, request, request.url
            response._content = b"ok"
            return response

        def close(self):
            pass

    session = requests.Session()
    session.trust_env = False
    session.mount("https://", Adapter())
    session.get("https://api.example.com/")  # BLOCKS


# ---- databases


@culprit("fast")
async def sqlalchemy_sync(t: Tools):
    import sqlalchemy

    engine = sqlalchemy.create_engine("sqlite://")
    with engine.connect() as connection:  # BLOCKS
        connection.execute(sqlalchemy.text("select 1"))  # BLOCKS
    engine.dispose()


@culprit("wait")
async def sqlite_busy(t: Tools):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "a.db")
        first = sqlite3.connect(path, isolation_level=None, check_same_thread=False)  # BLOCKS
        first.execute("create table t (x)")
        first.execute("begin immediate")
        second = sqlite3.connect(path, timeout=t.seconds, isolation_level=None)  # BLOCKS
        with contextlib.suppress(sqlite3.OperationalError):
            second.execute("begin immediate")  # BLOCKS
        first.close()
        second.close()


# ---- files and pipes


@culprit("wait")
async def pipe_read(t: Tools):
    reader, writer = os.pipe()
    later(t.seconds, lambda: os.write(writer, b"x"))
    os.read(reader, 1)  # BLOCKS
    os.close(reader)
    os.close(writer)


@culprit("wait")
async def pipe_readline(t: Tools):
    reader, writer = os.pipe()
    later(t.seconds, lambda: os.write(writer, b"x\n"))
    with os.fdopen(reader, "rb") as file:
        file.readline()  # BLOCKS
    os.close(writer)


@culprit("wait")
async def fifo_open(t: Tools):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "fifo")
        os.mkfifo(path)
        later(t.seconds, lambda: os.close(os.open(path, os.O_WRONLY)))
        with open(path, "rb"):  # BLOCKS
            pass


@culprit("wait")
async def file_lock(t: Tools):
    with tempfile.NamedTemporaryFile() as first, open(first.name) as second:
        fcntl.flock(first, fcntl.LOCK_EX)
        later(t.seconds, lambda: fcntl.flock(first, fcntl.LOCK_UN))
        fcntl.flock(second, fcntl.LOCK_EX)  # BLOCKS


@culprit("fast")
async def fsync(t: Tools):
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"x")
        file.flush()
        os.fsync(file.fileno())  # BLOCKS


@culprit("fast")
async def terminal_input(t: Tools):
    reader, writer = os.pipe()
    os.write(writer, b"yes\n")
    before = sys.stdin
    sys.stdin = os.fdopen(reader)
    try:
        input()  # BLOCKS
    finally:
        sys.stdin.close()
        sys.stdin = before
        os.close(writer)


# ---- C code that waits


@culprit("wait")
async def c_wait(t: Tools):
    ctypes.CDLL(None).usleep(int(t.seconds * 1e6))  # BLOCKS


@culprit("wait")
async def c_wait_with_the_gil(t: Tools):
    ctypes.PyDLL(None).usleep(int(t.seconds * 1e6))  # BLOCKS


@culprit("wait")
async def signal_wait(t: Tools):
    signal.sigtimedwait([signal.SIGUSR1], t.seconds)  # BLOCKS
