"""Functions, locks and queues that code took before the detector came, or that look at what the detector put there."""

import asyncio
import concurrent.futures
import copy
import dataclasses
import functools
import multiprocessing
import os
import pickle
import queue
import re
import select
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pytest_asyncapi.blocking import detect_blocking
from pytest_asyncapi.blocking.attribution import locate
from pytest_asyncapi.errors import ForeignDatabase

nap = time.sleep
half_asleep = functools.partial(time.sleep, 0.002)
TABLE = {"sleep": time.sleep}


class Retry:
    sleep = time.sleep
    pause = staticmethod(time.sleep)

    def wait(self, how=time.sleep):
        how(0.002)


def retry(*, sleep=time.sleep):
    sleep(0.002)


@dataclasses.dataclass
class Store:
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)


@pytest.mark.parametrize(
    "call",
    [
        lambda: nap(0.002),
        half_asleep,
        lambda: TABLE["sleep"](0.002),
        lambda: Retry().sleep(0.002),
        lambda: Retry.pause(0.002),
        lambda: Retry().wait(),
        retry,
    ],
    ids=["by name", "partial", "table", "class", "static method", "default of a method", "keyword default"],
)
async def test_who_has_taken_the_original_gets_the_patched_one_and_gives_it_back(call):
    kept = (nap, TABLE["sleep"], Retry.__dict__["sleep"], half_asleep.func, Retry.wait.__defaults__)
    async with detect_blocking() as blocks:
        call()

    assert [block.call for block in blocks] == ["time.sleep"]
    assert kept == (nap, TABLE["sleep"], Retry.__dict__["sleep"], half_asleep.func, Retry.wait.__defaults__)
    assert half_asleep.func is time.sleep
    assert retry.__kwdefaults__ == {"sleep": time.sleep}


async def test_psycopg_that_was_imported_before():
    psycopg = pytest.importorskip("psycopg")
    async with detect_blocking() as blocks:
        with pytest.raises(ForeignDatabase):  # refused, as in every test without a database; named all the same
            psycopg.connect("postgresql://nobody@127.0.0.1:9/none", connect_timeout=2)

    assert [block.call for block in blocks] == ["psycopg.connect"]


async def test_a_patched_builtin_is_pickled_by_its_name_and_becomes_no_method():
    async with detect_blocking() as blocks:
        for each in (time.sleep, os.system, select.select, subprocess.run, open, threading.Lock, threading.RLock,
                     queue.SimpleQueue, concurrent.futures.wait):  # fmt: skip
            assert pickle.loads(pickle.dumps(each)) is each
            assert copy.deepcopy(each) is each

        class Client:
            sleep = time.sleep

        Client().sleep(0)

    assert list(blocks) == []


def test_a_patched_builtin_goes_to_a_process_pool():
    async def main() -> list:
        loop = asyncio.get_running_loop()
        async with detect_blocking() as blocks:
            pool = concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
            await loop.run_in_executor(pool, time.sleep, 0.001)
            await asyncio.to_thread(pool.shutdown)
        return list(blocks)

    assert asyncio.run(main()) == []


# ---- locks and queues of C


def wants_a_core(native):
    try:
        return Path(f"/proc/self/task/{native}/stat").read_text().rpartition(")")[2].split()[0] == "R"
    except OSError:  # no Linux
        return False


def once_it_waits(then):
    """Call it as soon as this thread, the caller's, has stood in one place for a while."""
    thread, native = threading.get_ident(), threading.get_native_id()

    def watch():
        place, looks = None, 0
        while looks < 20:
            frame = sys._current_frames()[thread]
            same = place == (frame.f_code, frame.f_lasti) and not wants_a_core(native)
            place, looks = (frame.f_code, frame.f_lasti), looks + 1 if same else 0
            time.sleep(0.002)
        then()

    threading.Thread(target=watch, daemon=True).start()


@pytest.mark.parametrize("how", ["with", "acquire", "timeout", "of a dataclass"])
async def test_a_lock_that_is_held(how):
    async with detect_blocking(threshold=10) as blocks:
        lock = Store().lock if how == "of a dataclass" else threading.Lock()
        lock.acquire()
        once_it_waits(lock.release)
        if how == "acquire":
            lock.acquire()
        elif how == "timeout":
            assert lock.acquire(timeout=30)
        else:
            with lock:
                pass

    assert [(block.call, block.kind) for block in blocks] == [("threading.Lock.acquire", "waiting")]
    assert "asyncio.Lock" in blocks[0].remedy
    assert blocks[0].site.file == __file__


@pytest.mark.parametrize("how", ["with", "acquire"])
async def test_a_recursive_lock_that_is_held(how):
    held, release = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def hold():
        with lock:
            loop.call_soon_threadsafe(held.set)
            release.wait()

    async with detect_blocking(threshold=10) as blocks:
        lock = threading.RLock()
        threading.Thread(target=hold, daemon=True).start()
        await held.wait()
        once_it_waits(release.set)
        if how == "with":
            with lock, lock:
                pass
        else:
            assert lock.acquire()

    assert [block.call for block in blocks] == ["threading.RLock.acquire"]


async def test_a_simple_queue_that_is_empty():
    async with detect_blocking(threshold=10) as blocks:
        items = queue.SimpleQueue()
        once_it_waits(lambda: items.put(1))
        assert items.get() == 1

    assert [block.call for block in blocks] == ["queue.SimpleQueue.get"]


async def test_locks_and_queues_are_as_they_were():
    async with detect_blocking(threshold=10) as blocks:
        lock, again, items = threading.Lock(), threading.RLock(), queue.SimpleQueue[int]()
        with lock:
            assert lock.locked()
            assert not lock.acquire(False)
            assert not lock.acquire(timeout=0)
            assert repr(lock).startswith("<locked _thread.lock")
        for wrong in ((False, 1), (True, -2)):
            for each in (lock, again):
                with pytest.raises(ValueError, match="timeout"):
                    each.acquire(*wrong)
        with pytest.raises(RuntimeError):
            lock.release()
        for inner in (lock, again, None):
            condition = threading.Condition(inner)
            with condition:
                condition.notify_all()
        with again, again:
            pass
        items.put(1)
        assert (items.get(), items.empty(), items.qsize()) == (1, True, 0)
        with pytest.raises(queue.Empty):
            items.get_nowait()
        with pytest.raises(queue.Empty):
            items.get(timeout=0)
        assert isinstance(items, queue.SimpleQueue)
        assert isinstance(lock, threading.Lock)
        # The standard library has its own, at their speed.
        assert type(threading.Condition()._lock).__module__ == "_thread"
        assert type(concurrent.futures.ThreadPoolExecutor(1)._work_queue).__module__ == "_queue"

    assert list(blocks) == []
    with lock, again:  # and after the end
        pass
    assert type(threading.Lock()).__module__ == "_thread"


@pytest.mark.parametrize(("files", "told"), [(2500, True), (5, False)])
async def test_a_tree_of_many_files_is_removed(tmp_path, files, told):
    (tmp_path / "tree").mkdir()
    for number in range(files):
        (tmp_path / "tree" / str(number)).touch()
    async with detect_blocking(threshold=10) as blocks:
        shutil.rmtree(tmp_path / "tree")

    assert [block.call for block in blocks] == ["shutil.rmtree"] * told


# ---- callbacks of C code


def stand_in(match):
    return ""


@pytest.mark.parametrize("name", ["function", "lambda"])
async def test_c_code_that_calls_back_is_named_and_not_the_callback(name):
    text = "ab ba ab" * 200_000
    replace = stand_in if name == "function" else lambda match: ""
    async with detect_blocking(threshold=0.02) as blocks:
        re.sub("(a|b)+", replace, text)

    assert {(block.site.function, block.call) for block in blocks} == {
        ("test_c_code_that_calls_back_is_named_and_not_the_callback", "re.sub")
    }


async def test_a_callback_that_works_is_named_itself():
    def slow(match):
        end = time.thread_time() + 0.05
        while time.thread_time() < end:
            pass
        return ""

    async with detect_blocking(threshold=0.02) as blocks:
        re.sub("a", slow, "a")

    assert [block.site.function.rpartition(".")[2] for block in blocks] == ["slow"]


def test_a_function_that_python_code_has_called_is_named_where_it_begins():
    def inner():
        return sys._getframe()

    def outer():
        return inner()

    frame = outer()
    start = (frame.f_code, frame.f_code.co_firstlineno, 0)
    caller = (outer.__code__, outer.__code__.co_firstlineno + 1, frame.f_back.f_lasti if frame.f_back else 4)

    assert locate([start, caller], None).index == 0
