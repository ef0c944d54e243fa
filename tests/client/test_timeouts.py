"""The time-outs of the client are the library's own, say where the app waits, and keep still under a debugger."""

import asyncio
import contextlib
import contextvars
import re
import sys
import time

import pytest

from pytest_asyncapi.client import AsyncClient
from pytest_asyncapi.client.hooks import pytest_leave_pdb
from pytest_asyncapi.errors import AppTimeout, ConfigurationError


async def slow_query():
    await asyncio.sleep(3600)  # the line that the message names


async def test_no_response(connect, app_of, library, no_tasks_left):
    """ReadTimeout, with the lines of the app that wait; the app is cancelled."""

    async def endpoint(scope, receive, send):
        await slow_query()

    client = await connect(app_of(endpoint), library=library)

    with pytest.raises(client.module.ReadTimeout) as raised:
        await client.get("/slow", timeout=0.05)

    lines = str(raised.value).splitlines()
    assert lines[0].startswith("GET /slow: no ")
    assert lines[0].endswith("; the app waits at")
    assert [line.strip() for line in lines[-2:]] == [
        f"{__file__}:{endpoint.__code__.co_firstlineno + 1} in endpoint: await slow_query()",
        f"{__file__}:{slow_query.__code__.co_firstlineno + 1} in slow_query: "
        "await asyncio.sleep(3600)  # the line that the message names",
    ]
    assert raised.value.request.url == "http://testserver/slow"
    no_tasks_left()


@pytest.mark.parametrize("way", ["process"], indirect=True)  # differs: the message of a `ReadTimeout`
async def test_the_whole_message(connect, app_of):
    """It says what did not come, for how long, and where the app is."""

    async def endpoint(scope, receive, send):
        await slow_query()

    client = await connect(app_of(endpoint), timeout=0.05)

    with pytest.raises(
        client.module.ReadTimeout, match=r"^GET /slow: no response began for 0.05 s; the app waits at\n  "
    ):
        await client.get("/slow")


async def test_a_chunk_that_does_not_come(connect, app_of):
    """The time-out counts from chunk to chunk."""

    async def endpoint(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        for _ in range(3):
            await asyncio.sleep(0.06)
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await slow_query()

    client = await connect(app_of(endpoint), timeout=0.15)

    async with client.stream("GET", "/") as response:
        chunks = response.aiter_raw()
        assert [await anext(chunks) for _ in range(3)] == [b"x", b"x", b"x"]
        with pytest.raises(client.module.ReadTimeout, match="GET /: no further part of the body came"):
            await anext(chunks)
    with pytest.raises(client.module.ReadTimeout, match="slow_query"):
        await client.get("/")


async def test_steady_chunks_outlast_the_timeout(connect, app_of):
    """A response that takes longer than the time-out in all, and never pauses for so long, arrives."""

    async def endpoint(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        for _ in range(8):
            await asyncio.sleep(0.04)
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await send({"type": "http.response.body"})

    client = await connect(app_of(endpoint), timeout=0.2)

    assert (await client.get("/")).content == b"x" * 8


@pytest.mark.parametrize("way", ["process"], indirect=True)  # differs: an upload
async def test_an_upload_that_is_not_read(connect, app_of, library):
    """WriteTimeout, where an app leaves a streamed upload unread."""

    async def upload():
        while True:
            yield b"x" * 100_000

    async def endpoint(scope, receive, send):
        await receive()
        await slow_query()

    client = await connect(app_of(endpoint), library=library)

    timeout = client.module.Timeout(5, write=0.05)
    with pytest.raises(client.module.WriteTimeout, match=r"POST /: the request's body was not read for 0.05 s"):
        await client.post("/", content=upload(), timeout=timeout)


async def test_background_work_has_a_limit_of_its_own(connect, app_of, respond):
    """A short read time-out says nothing about work after the response; `background_timeout` does."""

    async def endpoint(scope, receive, send):
        await respond(send, b"done")
        await asyncio.sleep(0.1 if scope["path"] == "/short" else 3600)

    client = await connect(app_of(endpoint), timeout=0.05, background_timeout=0.2)

    assert (await client.get("/short")).text == "done"
    with pytest.raises(
        AppTimeout, match="GET /long: the response is complete, and the app's work after it has gone on"
    ):
        await client.get("/long")


@pytest.mark.parametrize("timeout", [30, None])
async def test_the_limit_of_background_work_is_its_own(connect, app_of, respond, timeout):
    """Nor is it the longer of both: the response has 30 seconds, or for ever, and its work 0.05."""

    async def endpoint(scope, receive, send):
        await asyncio.sleep(0.1)  # longer than the work may take
        await respond(send, b"done")
        await slow_query()

    client = await connect(app_of(endpoint), timeout=timeout, background_timeout=0.05)

    with pytest.raises(AppTimeout, match=r"has gone on for 0.05 s"):
        await asyncio.wait_for(client.get("/"), 5)


async def test_connecting_has_no_limit(connect, app_of, respond, library):
    """Nor has the wait for a free connection: neither is the app's."""

    async def endpoint(scope, receive, send):
        await respond(send, b"fine")

    client = await connect(app_of(endpoint), library=library)
    timeout = client.module.Timeout(5, connect=1e-9, pool=1e-9)

    assert [(await client.get("/", timeout=timeout)).text for _ in range(3)] == ["fine"] * 3


async def test_no_timeout(connect, app_of, respond):
    """timeout=None waits."""

    async def endpoint(scope, receive, send):
        await asyncio.sleep(0.05)
        await respond(send, b"at last")

    client = await connect(app_of(endpoint), timeout=None)

    assert (await client.get("/")).text == "at last"


async def test_timeouts_can_be_switched_off(connect, app_of, respond):
    """enforce_timeouts=False, for a suite whose app sets short ones on a shared client."""

    async def endpoint(scope, receive, send):
        await asyncio.sleep(0.05)
        await respond(send, b"at last")

    client = await connect(app_of(endpoint), timeout=0.01)

    response = await client.get("/", extensions={"asyncapi": {"enforce_timeouts": False}})
    assert response.text == "at last"


async def test_not_under_a_debugger(connect, app_of, respond, monkeypatch):
    """While somebody steps through the app no time-out fires."""

    class Tracer:
        def trace(self, frame, event, argument):
            return None

    Tracer.__module__ = "bdb"
    monkeypatch.setattr(sys, "gettrace", lambda: Tracer().trace)

    async def endpoint(scope, receive, send):
        await asyncio.sleep(0.1)
        await respond(send, b"stepped")

    Tracer.trace.__module__ = "bdb"
    client = await connect(app_of(endpoint), timeout=0.02)

    assert (await client.get("/")).text == "stepped"


@pytest.mark.parametrize("way", ["process"], indirect=True)  # differs: a time-out after pdb's prompt
@pytest.mark.parametrize("steps", [0, 1, 20])
async def test_not_after_a_debugger(connect, app_of, respond, steps):
    """Nor does one fire because of the minutes at pdb's prompt, which leaves no trace when it goes on."""

    async def endpoint(scope, receive, send):
        for _ in range(steps):
            await asyncio.sleep(0)
        time.sleep(0.3)  # the prompt
        pytest_leave_pdb()
        await asyncio.sleep(0.05)
        await respond(send, b"stepped")

    client = await connect(app_of(endpoint), timeout=0.2)

    assert (await client.get("/")).text == "stepped"


async def test_an_app_that_blocks_the_loop(connect, app_of, respond):
    """It is no debugger, however long it blocks: what it sends afterwards is late."""

    async def endpoint(scope, receive, send):
        await asyncio.sleep(0.01)
        time.sleep(1.1)
        await asyncio.sleep(0.1)
        await respond(send, b"late")

    client = await connect(app_of(endpoint), timeout=0.2)

    with pytest.raises(client.module.ReadTimeout):
        await client.get("/")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("steps", [0, 1, 20])
async def test_an_app_that_blocks_at_once(connect, app_of, respond, steps, stream):
    """In its first steps too, before the client has had a turn to set its timer."""

    async def endpoint(scope, receive, send):
        for _ in range(steps):
            await asyncio.sleep(0)
        time.sleep(0.3)
        await asyncio.sleep(0.05)
        await respond(send, b"late")

    client = await connect(app_of(endpoint), timeout=0.2)

    with pytest.raises(client.module.ReadTimeout):
        async with client.stream("GET", "/") if stream else contextlib.nullcontext():
            await client.get("/")


async def test_an_app_that_takes_no_departure_for_an_answer(connect, app_of, no_tasks_left):
    """It asks for the next message for ever, and is cancelled; the event loop goes on in the meantime."""

    async def endpoint(scope, receive, send):
        while True:
            await receive()

    client = await connect(app_of(endpoint), timeout=0.05)

    with pytest.raises(client.module.ReadTimeout, match=r"the app waits at[\s\S]* in endpoint: await receive"):
        await client.get("/")

    no_tasks_left()


async def test_an_app_that_blocks_and_answers_in_time(connect, app_of, respond):
    async def endpoint(scope, receive, send):
        time.sleep(0.05)
        await asyncio.sleep(0.01)
        await respond(send, b"in time")

    client = await connect(app_of(endpoint), timeout=5)

    assert (await client.get("/")).text == "in time"


WRONG_TIMES = {
    "of the client": lambda client: client.get("/"),
    "of a request": lambda client: client.get("/", timeout="a"),
    "of a kind": lambda client: client.get("/", timeout=client.module.Timeout(5, read="a")),
    "no number": lambda client: client.get("/", timeout=float("nan")),
    "of a drain": lambda client: client.drain("a"),
    "of background work": lambda client: client.get("/", extensions={"asyncapi": {"background_timeout": "a"}}),
    "of a websocket": lambda client: client.websocket_connect("/", timeout="a").__aenter__(),
}


@pytest.mark.parametrize("name", WRONG_TIMES)
async def test_no_time(connect, app_of, respond, name):
    async def endpoint(scope, receive, send):
        await respond(send, b"never asked")

    client = await connect(app_of(endpoint))
    if name == "of the client":
        client.timeout = "a"

    with pytest.raises(
        ConfigurationError, match=r"timeout( of read)?=('a'|nan): expected a number of seconds, or None for no limit"
    ):
        await WRONG_TIMES[name](client)


async def test_no_time_of_a_lifespan():
    with pytest.raises(ConfigurationError, match="startup_timeout='a': expected a number of seconds"):
        AsyncClient(slow_query, startup_timeout="a")


async def test_the_line_of_a_generator(connect):
    """Through FastAPI, task groups and asynchronous generators, the app's own line is found."""
    from fastapi import FastAPI
    from fastapi.responses import StreamingResponse

    app = FastAPI()

    async def rows():
        yield b"one"
        await slow_query()
        yield b"two"

    @app.get("/rows")
    async def read_rows():
        async for row in rows():
            last = row
        return last

    @app.get("/stream")
    async def stream_rows():
        return StreamingResponse(rows())

    client = await connect(app, timeout=0.05)

    with pytest.raises(client.module.ReadTimeout) as raised:
        await client.get("/rows")
    assert re.findall(r"^  .*:\d+ in (\w+):", str(raised.value), re.MULTILINE) == ["read_rows", "rows", "slow_query"]
    with pytest.raises(client.module.ReadTimeout) as raised:
        await client.get("/stream")
    assert re.findall(r"^  .*:\d+ in (\w+):", str(raised.value), re.MULTILINE) == ["rows", "slow_query"]


async def test_the_line_in_a_thread(connect):
    """A `def` endpoint, a plain generator and `asyncio.to_thread` wait in a thread: its line is named."""
    from fastapi import FastAPI
    from fastapi.responses import StreamingResponse

    app = FastAPI()

    def wait():
        time.sleep(0.6)

    def rows():
        yield b"one"
        wait()

    app.get("/quick")(lambda: "the threads are there")
    app.get("/def")(lambda: wait())
    app.get("/stream")(lambda: StreamingResponse(rows()))

    @app.get("/thread")
    async def thread():
        await asyncio.to_thread(wait)

    @app.get("/executor")
    async def executor():
        await asyncio.get_running_loop().run_in_executor(None, contextvars.copy_context().run, wait)

    client = await connect(app, timeout=0.2)
    await client.get("/quick", timeout=30)

    for path in ("/def", "/stream", "/thread", "/executor"):
        with pytest.raises(client.module.ReadTimeout) as raised:
            await client.get(path, extensions={"asyncapi": {"disconnect_grace": 0.01}})
        assert re.search(r"^  .*:\d+ in wait: time.sleep\(0.6\)$", str(raised.value), re.MULTILINE), raised.value


async def test_the_lines_of_several_tasks(connect):
    """Where the app's task waits for others of its own, their lines are named too."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.routing import Route

    class Timing(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):
            return await call_next(request)

    async def orders(request):
        await slow_query()

    client = await connect(Starlette(routes=[Route("/", orders)], middleware=[Middleware(Timing)]), timeout=0.05)

    with pytest.raises(client.module.ReadTimeout) as raised:
        await client.get("/")

    lines = str(raised.value).splitlines()[1:]
    assert [re.sub(r".* in (\w+): .*", r"\1", line) for line in lines] == ["dispatch", "and", "orders", "slow_query"]


@pytest.mark.parametrize("way", ["process"], indirect=True)  # differs: the message of a `ReadTimeout`
async def test_what_has_begun_in_the_meantime(connect, app_of):
    """A response that began after the wait for it is no response that did not begin."""

    async def endpoint(scope, receive, send):
        await asyncio.sleep(0.01)
        await send({"type": "http.response.start", "status": 200})
        await slow_query()

    client = await connect(app_of(endpoint), timeout=0.05)

    with pytest.raises(client.module.ReadTimeout, match=r"GET /: no further part of the body came for 0.05 s"):
        await client.get("/")


async def test_the_time_runs_from_the_last_part(connect, app_of):
    async def begins_and_hangs(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(0.2)
        await send({"type": "http.response.body", "body": b"a part", "more_body": True})
        await asyncio.Event().wait()

    client = await connect(app_of(begins_and_hangs), timeout=0.4)
    clock = asyncio.get_running_loop().time
    began = clock()

    with pytest.raises(client.module.ReadTimeout):
        await client.get("/", extensions={"asyncapi": {"disconnect_grace": 0}})

    assert 0.59 <= clock() - began < 0.79  # neither 0.4 from the request on, nor twice that
