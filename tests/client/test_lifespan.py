"""Start-up and shut-down in one task, with the app's own errors, limits that name the line, and state."""

import asyncio
import contextlib
import contextvars
import sys

import anyio
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from pytest_asyncapi.client import AsyncClient, Lifespan
from pytest_asyncapi.errors import AppCancelled, LifespanError, ProtocolError, WrongLoopError


class Boom(Exception):
    pass


def starlette(lifespan, endpoint=None):
    async def fine(request):
        return PlainTextResponse("fine")

    return Starlette(routes=[Route("/", endpoint or fine)], lifespan=lifespan)


async def test_the_grid_of_failures():
    """What start-up, body and shut-down raise comes out, and each step that began is finished."""

    async def run(in_startup, in_body, in_shutdown):
        log = []

        @contextlib.asynccontextmanager
        async def lifespan(app):
            log.append("startup")
            if in_startup:
                raise Boom("startup")
            yield
            log.append("shutdown")
            if in_shutdown:
                raise Boom("shutdown")

        try:
            async with AsyncClient(starlette(lifespan)) as client:
                log.append((await client.get("/")).text)
                if in_body:
                    raise AssertionError("body")
        except (Boom, AssertionError) as error:
            log.append(f"{type(error).__name__} {error}")
            log.extend(getattr(error, "__notes__", []))
        return log

    assert await run(False, False, False) == ["startup", "fine", "shutdown"]
    assert await run(True, False, False) == ["startup", "Boom startup", "raised in the lifespan's start-up"]
    assert await run(False, False, True) == [
        "startup",
        "fine",
        "shutdown",
        "Boom shutdown",
        "raised in the lifespan's shut-down",
    ]
    assert await run(False, True, False) == ["startup", "fine", "shutdown", "AssertionError body"]
    assert await run(False, True, True) == [
        "startup",
        "fine",
        "shutdown",
        "AssertionError body",
        "when the client was closed, this was raised too: Boom('shutdown')",
    ]


async def test_a_startup_that_hangs():
    """The error says where it waits, and the task is cancelled."""
    cancelled = []

    async def connect_broker():
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    @contextlib.asynccontextmanager
    async def lifespan(app):
        await connect_broker()
        yield

    with pytest.raises(LifespanError) as raised:
        await Lifespan(starlette(lifespan), startup_timeout=0.05).startup()

    lines = str(raised.value).splitlines()
    assert lines[0] == "the app's start-up did not end in 0.05 s; it waits at"
    assert lines[-2].endswith("in lifespan: await connect_broker()")
    assert lines[-1].endswith("in connect_broker: await asyncio.sleep(3600)")
    assert cancelled == [True]


async def test_a_shutdown_that_hangs():
    """So does the shut-down."""

    @contextlib.asynccontextmanager
    async def lifespan(app):
        yield
        await asyncio.sleep(3600)

    running = await Lifespan(starlette(lifespan), shutdown_timeout=0.05).startup()

    with pytest.raises(LifespanError) as raised:
        await running.shutdown()

    assert str(raised.value).startswith("the app's shut-down did not end in 0.05 s; it waits at\n")
    assert str(raised.value).endswith("in lifespan: await asyncio.sleep(3600)")


@pytest.mark.parametrize("message", ["the broker is away", ""])
async def test_failed_with_a_message_only(message):
    """startup.failed without an exception is an error at once, with the app's message."""

    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": message})

    with pytest.raises(LifespanError) as raised:
        await Lifespan(app).startup()

    assert str(raised.value) == f"the app's start-up failed: {message or '(it gave no message)'}"


async def test_a_raw_app_fails_after_startup_failed():
    """The original exception wins over the message."""

    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "Traceback ..."})
        raise Boom("the original")

    with pytest.raises(Boom, match="the original"):
        await Lifespan(app).startup()


async def test_apps_without_a_lifespan():
    """Are taken as they are; scopes have no state then. `required` makes it an error."""
    scopes = []

    async def asserts(scope, receive, send):
        assert scope["type"] == "http"
        scopes.append(scope)
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    async def returns(scope, receive, send):
        if scope["type"] == "http":
            await asserts(scope, receive, send)

    for app in (asserts, returns):
        async with AsyncClient(app) as client:
            assert (await client.get("/")).status_code == 200
            assert client.asgi.lifespan.supported is False
        with pytest.raises(LifespanError, match="has no lifespan"):
            await Lifespan(app, required=True).startup()
    assert "state" not in scopes[0]


async def test_an_exception_after_the_first_receive_is_a_failure():
    """An app that has begun its start-up has a lifespan, so its exception is no lack of support."""

    async def app(scope, receive, send):
        await receive()
        raise Boom("while starting")

    with pytest.raises(Boom, match="while starting"):
        await Lifespan(app).startup()


async def test_a_wrong_message():
    """Lifespan messages out of order are protocol errors."""

    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    with pytest.raises(ProtocolError, match=r"'lifespan.shutdown.complete' was sent while the lifespan is starting"):
        await Lifespan(app).startup()


async def test_task_groups_and_cancel_scopes():
    """A task group that lives in the lifespan is entered and left in one task."""
    ticks = []

    async def worker():
        while True:
            ticks.append(1)
            await anyio.sleep(0.001)

    @contextlib.asynccontextmanager
    async def lifespan(app):
        async with anyio.create_task_group() as group:
            with anyio.CancelScope():
                group.start_soon(worker)
                yield {"group": group}
                group.cancel_scope.cancel()

    async with AsyncClient(starlette(lifespan)) as client:
        await client.get("/")
        await asyncio.sleep(0.01)
    assert ticks


async def test_a_background_task_that_dies():
    """The next request fails with its exception, and so does the end: it cannot go unnoticed."""
    die = asyncio.Event()

    async def worker():
        await die.wait()
        raise Boom("the worker died")

    @contextlib.asynccontextmanager
    async def lifespan(app):
        async with anyio.create_task_group() as group:
            group.start_soon(worker)
            yield

    client = AsyncClient(starlette(lifespan))
    await client.__aenter__()
    assert (await client.get("/")).text == "fine"
    die.set()
    await asyncio.sleep(0.01)

    with pytest.raises(LifespanError) as raised:
        await client.get("/")
    assert str(raised.value) == (
        "the app's lifespan has ended while the app was in use (a background task of it died?)"
    )
    assert "the worker died" in repr(raised.value.__cause__)
    with pytest.raises(LifespanError):
        await client.aclose()


async def test_state_reaches_requests():
    """What the lifespan yields is the request's state."""

    @contextlib.asynccontextmanager
    async def lifespan(app):
        yield {"answer": 42}

    async def endpoint(request):
        return PlainTextResponse(str(request.state.answer))

    async with AsyncClient(starlette(lifespan, endpoint)) as client:
        assert (await client.get("/")).text == "42"


async def test_contexts():
    """A lifespan of one test sees the context variables of the test; a shared one does not."""
    variable = contextvars.ContextVar("variable", default="unset")
    seen = []

    @contextlib.asynccontextmanager
    async def lifespan(app):
        seen.append(variable.get())
        variable.set("by the lifespan")
        yield

    variable.set("by the test")
    async with Lifespan(starlette(lifespan)):
        assert variable.get() == "by the test"
    async with Lifespan(starlette(lifespan), shared=True):
        pass
    assert seen == ["by the test", "unset"]


async def test_the_first_request_starts_it():
    """A client that was not opened by `async with` starts the lifespan with its first request, once."""
    starts = []

    @contextlib.asynccontextmanager
    async def lifespan(app):
        starts.append(1)
        await asyncio.sleep(0.001)
        yield

    client = AsyncClient(starlette(lifespan))
    await asyncio.gather(client.get("/"), client.get("/"), client.get("/"))
    await client.aclose()

    assert starts == [1]


async def test_a_startup_that_is_cancelled():
    """A test that gives up while the app starts leaves no task behind."""

    @contextlib.asynccontextmanager
    async def lifespan(app):
        await asyncio.sleep(3600)
        yield

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(Lifespan(starlette(lifespan)).startup(), 0.02)

    assert not [task for task in asyncio.all_tasks() if task.get_name() == "asgi lifespan"]


def test_another_loop():
    """A client in another event loop than its own is named before a driver fails deep down."""
    client = AsyncClient(starlette(None))
    asyncio.run(client.get("/"))

    with pytest.raises(WrongLoopError, match="made in another event loop than the one that runs now"):
        asyncio.run(client.get("/"))


async def test_asgi_lifespan_beside_us():
    """asgi-lifespan's LifespanManager wraps the app under test."""
    from asgi_lifespan import LifespanManager

    @contextlib.asynccontextmanager
    async def lifespan(app):
        yield {"answer": 42}

    async def endpoint(request):
        return PlainTextResponse(str(request.state.answer))

    async with (
        LifespanManager(starlette(lifespan, endpoint)) as manager,
        AsyncClient(manager.app, lifespan=False) as client,
    ):
        assert (await client.get("/")).text == "42"


@pytest.mark.parametrize("noticed", [False, True])
async def test_a_task_of_its_own_that_dies(noticed):
    """A task that the start-up has made by create_task() fails each request after its death, unless the app knows."""

    async def work():
        raise Boom("the worker died")

    @contextlib.asynccontextmanager
    async def lifespan(app):
        task = asyncio.create_task(work())
        if noticed:
            task.add_done_callback(lambda done: done.exception())
        yield
        task.cancel()

    app = Starlette(lifespan=lifespan)

    async with AsyncClient(app) as client:
        await asyncio.sleep(0.01)
        for _ in range(2):
            if noticed:
                assert (await client.get("/")).status_code == 404
                continue
            with pytest.raises(LifespanError) as raised:
                await client.get("/")
            assert str(raised.value) == "a background task of the app's lifespan has died of Boom: the worker died"
            assert isinstance(raised.value.__cause__, Boom)


@pytest.mark.parametrize("noticed", [False, True])
async def test_a_task_that_dies_before_the_startup_ends(noticed):
    """So does one that is dead when the start-up ends, whoever of the start-up's tasks has made it."""

    async def work():
        raise Boom("the worker died")

    async def supervise():
        task = asyncio.create_task(work())
        await asyncio.wait([task])
        if noticed:
            task.exception()

    @contextlib.asynccontextmanager
    async def lifespan(app):
        await asyncio.create_task(supervise())
        yield

    async with AsyncClient(Starlette(lifespan=lifespan)) as client:
        if noticed:
            assert (await client.get("/")).status_code == 404
        else:
            with pytest.raises(LifespanError, match="has died of Boom: the worker died"):
                await client.get("/")


async def test_the_task_factory_is_the_loops_own_again():
    """Also after two start-ups at the same time, the first to begin the first to end; and after one that fails."""
    loop = asyncio.get_running_loop()
    turns = [asyncio.Event(), asyncio.Event()]
    made = []

    def factory(loop, coroutine, **options):
        made.append(coroutine)
        return asyncio.Task(coroutine, loop=loop, **options)

    def app(turn):
        @contextlib.asynccontextmanager
        async def lifespan(app):
            await turn.wait()
            await asyncio.create_task(asyncio.sleep(0))
            yield

        return Starlette(lifespan=lifespan)

    @contextlib.asynccontextmanager
    async def fails(app):
        raise Boom
        yield

    before = loop.get_task_factory()
    loop.set_task_factory(factory)
    try:
        lifespans = [Lifespan(app(turn)) for turn in turns]
        starts = []
        for lifespan in lifespans:
            starts.append(asyncio.create_task(lifespan.startup()))
            await asyncio.sleep(0)
        for start, turn in zip(starts, turns, strict=True):
            turn.set()
            await start
        with pytest.raises(Boom):
            await Lifespan(Starlette(lifespan=fails)).startup()
        assert loop.get_task_factory() is factory
        assert sum(coroutine.__name__ == "sleep" for coroutine in made) == 2
        for lifespan in lifespans:
            await lifespan.shutdown()
    finally:
        loop.set_task_factory(before)


async def test_a_task_that_dies_after_the_last_request():
    """It is not lost: the end of the test fails."""

    over = asyncio.Event()

    async def work():
        await over.wait()
        raise Boom("the worker died")

    @contextlib.asynccontextmanager
    async def lifespan(app):
        task = asyncio.create_task(work())
        yield
        task.cancel()

    client = AsyncClient(Starlette(lifespan=lifespan))
    await client.get("/")
    over.set()
    await asyncio.sleep(0.01)

    with pytest.raises(LifespanError, match="has died of Boom: the worker died"):
        await client.aclose()


async def test_where_the_tasks_of_a_lifespan_wait():
    """A start-up that waits for a task of its own names the line of that task too."""

    async def connect_broker():
        await asyncio.sleep(3600)

    @contextlib.asynccontextmanager
    async def lifespan(app):
        async with asyncio.TaskGroup() as group:
            group.create_task(connect_broker())
        yield

    with pytest.raises(LifespanError) as raised:
        await Lifespan(Starlette(lifespan=lifespan), startup_timeout=0.05).startup()

    lines = str(raised.value).splitlines()
    assert [line.rpartition(" in ")[2] for line in lines[1:]] == [
        "lifespan: async with asyncio.TaskGroup() as group:",
        "and",
        "connect_broker: await asyncio.sleep(3600)",
    ]


async def test_a_lifespan_that_leaves():
    """sys.exit() in it ends in the test, not the event loop; a CancelledError of its own does not cancel the test."""

    @contextlib.asynccontextmanager
    async def exits(app):
        sys.exit("no DATABASE_URL")
        yield

    @contextlib.asynccontextmanager
    async def cancels(app):
        raise asyncio.CancelledError
        yield

    with pytest.raises(SystemExit, match="no DATABASE_URL"):
        await Lifespan(Starlette(lifespan=exits)).startup()
    with pytest.raises(AppCancelled, match="the app's lifespan was cancelled from inside"):
        await Lifespan(Starlette(lifespan=cancels)).startup()


async def test_one_that_does_not_wait():
    """A lifespan that returns after its start-up is told what it lacks."""

    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})

    async with contextlib.AsyncExitStack() as stack:
        client = AsyncClient(app)
        stack.push_async_callback(client.aclose)
        for ask in (client.get, client.get):
            with pytest.raises(LifespanError, match=r"it has returned, and does not wait for lifespan.shutdown"):
                await ask("/")
        with pytest.raises(LifespanError, match="it has returned"):
            await client.aclose()
