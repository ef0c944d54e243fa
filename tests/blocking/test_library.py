"""The detector without pytest: `detect_blocking()`, `BlockingMonitor`, and the calls that they patch meanwhile."""

import asyncio
import concurrent.futures
import json
import logging
import os
import queue
import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest

from pytest_asyncapi.blocking import BlockingMonitor, detect_blocking
from pytest_asyncapi.blocking.calls import Call
from pytest_asyncapi.blocking.named import NamedCalls
from pytest_asyncapi.blocking.remedies import rule
from pytest_asyncapi.errors import ConfigurationError


def burn(seconds: float = 0.05) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def line_of(text: str) -> int:
    with open(__file__) as file:
        return next(number for number, line in enumerate(file, 1) if text in line and "line_of" not in line)


async def test_a_named_call_is_told_however_short():
    async with detect_blocking(threshold=10) as blocks:
        time.sleep(0.001)  # HERE

    (block,) = blocks
    assert (block.call, block.kind, block.named) == ("time.sleep", "waiting", True)
    assert (block.site.file, block.site.line) == (__file__, line_of("# HERE"))
    assert block.site.function == "test_a_named_call_is_told_however_short"
    assert block.wall_ms >= 1


async def test_work_is_told_above_the_threshold():
    async with detect_blocking(threshold=0.02) as blocks:
        burn()
        await asyncio.sleep(0)
        burn(0.002)

    (block,) = blocks
    assert (block.kind, block.named, block.limit_ms) == ("computing", False, 20)
    assert block.site.function == "burn"
    assert block.cpu_ms >= 40
    assert block.charged_ms <= block.wall_ms + 1


async def test_many_short_pieces_without_an_await_add_up():
    async with detect_blocking(threshold=0.02) as blocks:
        for _ in range(50):
            burn(0.001)

    assert [block.kind for block in blocks] == ["computing"]


async def test_awaits_between_make_pieces_that_pass():
    async with detect_blocking(threshold=0.04) as blocks:
        for _ in range(50):
            burn(0.001)
            await asyncio.sleep(0)

    assert list(blocks) == []


@pytest.mark.parametrize("name", ["genexpr", "listcomp", "lambda"])
async def test_what_has_no_name_is_told_by_the_function_around(name):
    def comprehend() -> object:
        end = time.thread_time() + 0.05
        spent = lambda: time.thread_time() >= end  # noqa: E731
        if name == "genexpr":
            return any(spent() for _ in iter(int, 1))
        if name == "listcomp":
            return [None for _ in iter(spent, True)]
        return (lambda: [None for _ in iter(spent, True)])()

    async with detect_blocking(threshold=0.02) as blocks:
        comprehend()

    (block,) = blocks
    assert block.site.function == "test_what_has_no_name_is_told_by_the_function_around.<locals>.comprehend"
    assert "await asyncio.to_thread(comprehend)" in block.remedy


async def test_the_remedy_hands_the_coroutines_own_call_to_a_thread():
    limit = 0.05
    async with detect_blocking(threshold=0.02) as blocks:
        burn(limit)

    assert blocks[0].remedy == (
        "await asyncio.to_thread(burn, limit), or a process pool where it is long and pure Python (that keeps the GIL)"
    )


async def test_work_of_the_coroutine_itself_wants_a_function_first():
    async with detect_blocking(threshold=0.02) as blocks:
        total = 0
        for number in range(3_000_000):
            total += number & 3

    assert blocks[0].site.function == "test_work_of_the_coroutine_itself_wants_a_function_first"
    assert blocks[0].remedy == (
        "move this work out of the coroutine into a function, and await asyncio.to_thread(function, ...)"
    )


async def test_ruffs_rule_is_named_only_where_ruff_looks():
    async with detect_blocking() as blocks:
        time.sleep(0.001)
    async with detect_blocking() as hidden:
        wait_in_a_function()

    assert "(ruff's rule ASYNC251 finds this one without a run)" in str(blocks)
    assert "finds this one without a run" not in str(hidden)


def wait_in_a_function():
    time.sleep(0.001)


def run_a_process():
    subprocess.run([sys.executable, "-S", "-c", ""], check=True)


def read_a_socket():
    one, other = socket.socketpair()
    with one, other:
        other.sendall(b"x")
        one.recv(1)


def wait_for_an_event():
    threading.Event().wait(0.001)


def wait_for_a_queue():
    with pytest.raises(queue.Empty):
        queue.Queue().get(timeout=0.001)


def wait_for_a_thread():
    thread = threading.Thread(target=time.sleep, args=(0.05,))
    thread.start()
    thread.join()


@pytest.mark.parametrize(
    ("function", "call", "remedy"),
    [
        (run_a_process, "subprocess.run", "await asyncio.create_subprocess_exec(...)"),
        (read_a_socket, "socket.recv", "await asyncio.open_connection(...)"),
        (wait_for_an_event, "threading.Event.wait", "asyncio.Event"),
        (wait_for_a_queue, "queue.Queue.get", "asyncio.Queue: await queue.get()"),
        (
            wait_for_a_thread,
            "threading.Thread.join",
            "await asyncio.to_thread(threading.Thread.join)",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", None) or "-",
)
async def test_calls_that_block_by_nature(function, call, remedy):
    async with detect_blocking(threshold=10) as blocks:
        function()

    found = {block.call: block for block in blocks}
    assert call in found
    assert found[call].site.function == function.__name__
    assert remedy in found[call].remedy


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
async def test_a_client_whose_network_is_mocked_is_named_by_its_entry_point(library):
    module = pytest.importorskip(library)
    async with detect_blocking(threshold=10) as blocks:
        with module.Client(transport=module.MockTransport(lambda request: module.Response(204))) as client:
            client.get("https://example.com")

    assert [block.call for block in blocks] == [f"{library}.Client"]
    assert blocks[0].remedy.startswith(f"the async client: async with {library}.AsyncClient() as client:")


async def test_sqlalchemy_is_named_but_not_its_asyncio_extension():
    sqlalchemy = pytest.importorskip("sqlalchemy")
    pytest.importorskip("aiosqlite")
    from sqlalchemy.ext.asyncio import create_async_engine

    async with detect_blocking(threshold=10) as blocks:
        engine = create_async_engine("sqlite+aiosqlite://")
        async with engine.begin() as connection:
            await connection.execute(sqlalchemy.text("SELECT 1"))
        await engine.dispose()
        assert list(blocks) == []
        sync = sqlalchemy.create_engine("sqlite://")
        with sync.connect() as connection:
            connection.execute(sqlalchemy.text("SELECT 1"))
        sync.dispose()

    assert [block.call for block in blocks] == ["sqlalchemy.Engine.connect", "sqlalchemy.Connection.execute"]


async def test_a_module_that_is_imported_later_is_patched_and_given_back(tmp_path, monkeypatch):
    """`from time import sleep` too."""
    (tmp_path / "late_sleeper.py").write_text("from time import sleep\n\n\ndef nap():\n    sleep(0.001)\n")
    monkeypatch.syspath_prepend(tmp_path)
    async with detect_blocking() as blocks:
        import late_sleeper  # type: ignore[import-not-found]

        late_sleeper.nap()

    assert [(block.call, block.site.function) for block in blocks] == [("time.sleep", "nap")]
    assert late_sleeper.sleep is time.sleep
    del sys.modules["late_sleeper"]


async def test_what_waits_elsewhere_or_not_at_all_is_left_alone():
    event = threading.Event()
    event.set()
    async with detect_blocking(threshold=10) as blocks:
        await asyncio.sleep(0.001)
        await asyncio.to_thread(time.sleep, 0.001)
        time.sleep(0)
        event.wait()
        with threading.Lock():
            pass
        queue.SimpleQueue().put(1)
        one, other = socket.socketpair()
        with one, other:
            one.setblocking(False)
            with pytest.raises(BlockingIOError):
                one.recv(1)
        process = await asyncio.create_subprocess_exec(sys.executable, "-S", "-c", "")
        await process.wait()

    assert list(blocks) == []


async def test_an_idle_pool_and_an_ended_process_are_left_alone():
    """Their last hand-shakes take no time: the pool's threads have nothing to do, the process has told all."""
    ended = await asyncio.to_thread(subprocess.Popen, ["true"])
    await asyncio.to_thread(ended.wait)
    async with detect_blocking(threshold=10) as blocks:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            assert await asyncio.wrap_future(pool.submit(int)) == 0
            await asyncio.sleep(0.01)  # until its thread is idle again
        ended.wait()
        ended.communicate()

    assert list(blocks) == []


async def test_a_busy_pool_is_told_when_it_is_shut_down():
    async with detect_blocking(threshold=10) as blocks:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            pool.submit(time.sleep, 0.02)

    assert [block.call for block in blocks] == ["ThreadPoolExecutor.shutdown"]


async def test_other_threads_that_hold_the_gil_are_not_charged():
    async with detect_blocking(threshold=0.02) as blocks:
        await asyncio.gather(asyncio.to_thread(burn, 0.1), *(asyncio.sleep(0.005) for _ in range(10)))

    assert list(blocks) == []


async def test_allow():
    async with detect_blocking(allow=["time.sleep"]) as blocks:
        time.sleep(0.001)

    assert not blocks
    assert (len(blocks), str(blocks), repr(blocks)) == (0, "no blocks", "<detect_blocking: 0 blocks>")


async def test_the_text_tells_the_story():
    async with detect_blocking() as blocks:
        time.sleep(0.001)

    assert str(blocks).startswith("code outside of requests held the event loop for ")
    assert "waiting in time.sleep" in str(blocks)
    assert "instead: await asyncio.sleep(...)" in str(blocks)


async def test_a_failing_body_keeps_its_exception_and_undoes_the_patches():
    with pytest.raises(ZeroDivisionError):
        async with detect_blocking():
            1 / 0  # noqa: B018

    assert type(time.sleep) is type(len)
    assert asyncio.events.Handle._run.__module__ == "asyncio.events"


async def test_two_at_once_see_the_same_and_each_has_its_threshold():
    async with detect_blocking(threshold=60) as patient, detect_blocking(threshold=0.02) as strict:
        burn()
        time.sleep(0.001)

    assert [block.call for block in patient] == ["time.sleep"]
    assert {block.kind for block in strict} == {"computing", "waiting"}


@pytest.mark.parametrize("threshold", [0, -1, "50ms", True, None])
def test_a_wrong_threshold(threshold):
    with pytest.raises(ConfigurationError) as caught:
        detect_blocking(threshold=threshold)

    assert str(caught.value) == f"threshold={threshold!r}: expected seconds, more than 0, for instance 0.05"


def test_a_wrong_pattern():
    with pytest.raises(ConfigurationError, match=r"detect_blocking\(allow=\.\.\.\): 'a b' is no pattern of blocks"):
        detect_blocking(allow=["a b"])


def test_it_sees_the_loops_of_all_threads():
    with detect_blocking() as blocks:
        thread = threading.Thread(target=lambda: asyncio.run(sleeper()), name="server")
        thread.start()
        thread.join()

    assert [(block.call, block.thread) for block in blocks] == [("time.sleep", "server")]


async def sleeper() -> None:
    time.sleep(0.001)


def test_uvloop():
    uvloop = pytest.importorskip("uvloop")

    async def main() -> None:
        time.sleep(0.001)
        await asyncio.sleep(0)
        burn()
        await asyncio.sleep(0)

    with detect_blocking(threshold=0.02) as blocks, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())

    assert [(block.kind, block.call) for block in blocks] == [("waiting", "time.sleep"), ("computing", blocks[1].call)]


def test_the_exception_handler_of_uvloop_works_in_a_slice_of_its_own():
    uvloop = pytest.importorskip("uvloop")

    async def main() -> None:
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        loop.set_exception_handler(lambda loop, context: (burn(), done.set()))
        loop.call_soon(int, "none")
        await done.wait()

    with detect_blocking(threshold=0.02) as blocks, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())

    assert [block.site.function for block in blocks] == ["burn"]


@pytest.mark.parametrize(
    ("code", "call"),
    [
        ("import time; time.sleep(1)", "time.sleep"),
        ("import requests; requests.get('x')", "requests"),
        ("import urllib.request; urllib.request.urlopen('x')", "urllib.request.urlopen"),
        ("import httpx; client = httpx.Client(); client.get('x')", "httpx.Client"),
        ("import subprocess; subprocess.run('x')", "subprocess.run"),
        ("import subprocess; subprocess.Popen('x')", "subprocess.Popen"),
        ("import os; os.popen('x')", "os.popen"),
        ("import os; os.system('x')", "os.system"),
        ("import os; os.waitpid(1, 0)", "os.waitpid"),
        ("from pathlib import Path; Path('x').read_text()", "pathlib.Path.read_text"),
        ("input()", "input"),
    ],
)
def test_ruff_finds_it_by_the_rule_that_is_named(code, call):
    ruff = shutil.which("ruff", path=os.path.dirname(sys.executable)) or shutil.which("ruff")
    if ruff is None:
        pytest.skip("ruff is not installed")
    source = "async def f():\n" + "".join(f"    {line.strip()}\n" for line in code.split(";"))

    found = subprocess.run(
        [ruff, "check", "--isolated", "--select=ASYNC2", "--output-format=json", "-"],
        input=source, capture_output=True, text=True,
    )  # fmt: skip

    assert {each["code"] for each in json.loads(found.stdout)} == {rule("waiting", call)}


# ---- named calls


@pytest.mark.parametrize("exempt", [True, False], ids=["exempt", "observed"])
async def test_a_call_that_raises_is_called_once_and_its_exception_arrives(exempt):
    """It was called a second time, and lost its exception: a `flush()` that violates a constraint, for instance."""
    calls = []

    def original(value):
        calls.append(value)
        raise BlockingIOError(value)

    recorded = []
    named = NamedCalls(lambda *record: recorded.append(record))
    wrapper = named._wrapper(Call("here:original", "original", lambda args, kwargs: not exempt), original)

    with pytest.raises(BlockingIOError, match="7"):
        wrapper(7)

    assert calls == [7]
    assert len(recorded) == (0 if exempt else 1)


async def test_a_question_that_fails_leaves_the_call_to_itself():
    """Wrong arguments: the original says what is wrong."""
    async with detect_blocking():
        with pytest.raises(TypeError, match="sleep"):
            time.sleep()  # type: ignore[call-arg]


# ---- the middleware


async def call(app, path="/sleep", kind="http"):
    sent = []

    async def receive():
        return {"type": f"{kind}.request"}

    async def send(message):
        sent.append(message)

    await app({"type": kind, "method": "GET", "path": path, "headers": []}, receive, send)
    return sent


async def sleeping_app(scope, receive, send):
    if scope["type"] == "http":
        time.sleep(0.001)
        await send({"type": "http.response.start", "status": 204, "headers": []})


async def test_the_middleware_logs_with_the_request(caplog):
    monitor = BlockingMonitor(sleeping_app)
    with caplog.at_level(logging.WARNING, "pytest_asyncapi.blocking"):
        sent = await call(monitor)
    monitor.close()

    assert [message["status"] for message in sent] == [204]
    (record,) = caplog.records
    assert record.getMessage().startswith("GET /sleep held the event loop for ")
    assert record.block.call == "time.sleep"


async def test_the_middleware_tells_whom_it_is_told_to_and_leaves_out_what_is_allowed():
    told = []
    monitor = BlockingMonitor(sleeping_app, on_block=told.append)
    silent = BlockingMonitor(sleeping_app, allow=["GET /sleep"], on_block=told.append)
    await call(monitor)
    monitor.close()
    await call(silent)
    silent.close()

    assert [block.request for block in told] == ["GET /sleep"]


async def test_the_middleware_ends_with_the_lifespan():
    monitor = BlockingMonitor(sleeping_app, on_block=lambda block: None)
    await call(monitor)
    assert type(time.sleep) is not type(len)

    await call(monitor, kind="lifespan")

    assert type(time.sleep) is type(len)


def test_a_dead_lock_is_told_while_it_lasts():
    from pytest_asyncapi.blocking.detector import DETECTOR

    told = []
    lock = threading.Lock()

    async def stuck() -> None:
        lock.acquire()
        lock.acquire(timeout=10)

    def tell(text: str) -> None:
        told.append(text)
        lock.release()

    with detect_blocking(threshold=0.02):
        DETECTOR.on_deadlock = tell
        assert DETECTOR._running is not None
        DETECTOR._running[1].tell_after = 50_000_000
        try:
            asyncio.run(stuck())
        finally:
            DETECTOR.on_deadlock = None

    (text,) = told
    assert text.startswith("pytest-asyncapi: the event loop of MainThread has been held for 0 s, at (innermost last)\n")
    assert text.rstrip().endswith("in test_a_dead_lock_is_told_while_it_lasts.<locals>.stuck")


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop")
def test_what_runs_on_after_the_end_leaves_the_next_listener_its_eyes():
    """A step of uvloop that was scheduled under the first one runs when that has stopped."""
    import select

    import uvloop

    async def first() -> None:
        async with detect_blocking(threshold=0.02):
            asyncio.get_running_loop().call_later(0.03, int)
        await asyncio.sleep(0.05)

    async def second() -> list[str]:
        async with detect_blocking(threshold=0.02) as blocks:
            poll = select.poll()
            poll.poll(80)
        return [block.call for block in blocks]

    found = []
    for coroutine in (first(), second(), first(), second()):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found.append(runner.run(coroutine))

    assert found == [None, ["poll.poll"], None, ["poll.poll"]]
