"""A test that gives up takes the app with it."""

import asyncio

import anyio
import pytest


@pytest.fixture
def stuck(app_of):
    """An app that waits for ever, and what happened to it."""
    events = []

    async def endpoint(scope, receive, send):
        events.append("begun")
        try:
            if scope["path"] == "/stream":
                await send({"type": "http.response.start", "status": 200})
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            events.append("cancelled")
            await asyncio.sleep(0)  # clean-up may wait
            events.append("cleaned up")
            raise

    return app_of(endpoint), events


async def test_wait_for(connect, stuck, no_tasks_left):
    """asyncio's own time-outs cancel the app."""
    app, events = stuck
    client = await connect(app)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.get("/"), 0.05)

    assert events == ["begun", "cancelled", "cleaned up"]
    no_tasks_left()


async def test_an_anyio_scope(connect, stuck, no_tasks_left):
    """So do anyio's, which cancel every await again inside of their scope."""
    app, events = stuck
    client = await connect(app)

    with anyio.move_on_after(0.05) as scope:
        await client.get("/")

    assert scope.cancelled_caught
    assert events == ["begun", "cancelled", "cleaned up"]
    no_tasks_left()


async def test_in_the_middle_of_a_stream(connect, stuck, no_tasks_left):
    """Also while the body is read."""
    app, events = stuck
    client = await connect(app)

    with anyio.move_on_after(0.05):
        async with client.stream("GET", "/stream") as response:
            async for _ in response.aiter_raw():
                pass

    assert events == ["begun", "cancelled", "cleaned up"]
    no_tasks_left()


async def test_a_task_of_the_test(connect, stuck, no_tasks_left):
    """A task that the test cancels ends as cancelled, after its app."""
    app, events = stuck
    client = await connect(app)
    task = asyncio.create_task(client.get("/"))
    while not events:
        await asyncio.sleep(0.001)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert events == ["begun", "cancelled", "cleaned up"]
    no_tasks_left()


async def test_before_the_app_has_begun(connect, stuck, no_tasks_left):
    """A request that is cancelled at once leaves nothing behind."""
    app, _ = stuck
    client = await connect(app)

    with anyio.CancelScope() as scope:
        scope.cancel()
        await client.get("/")

    no_tasks_left()


async def test_an_app_that_ignores_its_cancellation(connect, app_of, recwarn):
    """It is named, and the test goes on."""
    freed = asyncio.Event()

    async def endpoint(scope, receive, send):
        while not freed.is_set():
            try:
                await freed.wait()
            except asyncio.CancelledError:
                continue

    client = await connect(app_of(endpoint))

    with pytest.raises(client.module.ReadTimeout):
        await client.get("/stubborn", timeout=0.01)
    freed.set()

    (warning,) = [each for each in recwarn if "stubborn" in str(each.message)]
    assert str(warning.message).startswith("GET /stubborn: the app ignores its cancellation; it waits at\n")
    assert f"{__file__}:" in str(warning.message)


async def test_context_variables_of_the_test_reach_the_app(connect, app_of, respond):
    """What the test sets is seen by the app; what the app sets stays in the app."""
    import contextvars

    variable = contextvars.ContextVar("variable", default="unset")

    async def endpoint(scope, receive, send):
        seen = variable.get()
        variable.set("by the app")
        await respond(send, seen.encode())

    client = await connect(app_of(endpoint))
    variable.set("by the test")

    assert (await client.get("/")).text == "by the test"
    assert variable.get() == "by the test"


async def test_the_app_has_a_task_of_its_own(connect, app_of, respond):
    """asyncio.timeout and current_task() in the app are the app's."""
    tasks = []

    async def endpoint(scope, receive, send):
        tasks.append(asyncio.current_task())
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(3600)
        except TimeoutError:
            await respond(send, b"late")

    client = await connect(app_of(endpoint))

    assert (await client.get("/")).text == "late"
    assert tasks[0] is not asyncio.current_task()


async def upload(client):
    async def parts():
        for _ in range(3):
            yield b"part"
            await asyncio.sleep(0)

    await client.post("/", content=parts())


async def some_of_a_stream(client):
    async with client.stream("GET", "/endless", extensions={"asyncapi": {"disconnect_grace": 0.01}}) as response:
        parts = response.aiter_bytes()
        for _ in range(3):
            await anext(parts)


async def work_after_the_response(client):
    await client.get("/", extensions={"asyncapi": {"background": "defer"}})
    await client.drain()


async def a_websocket(client):
    async with client.websocket_connect("/") as ws:
        for text in ("one", "two"):
            await ws.send_text(text)
            assert await ws.receive_text() == text


@pytest.mark.parametrize(
    "part", [upload, some_of_a_stream, work_after_the_response, a_websocket], ids=lambda part: part.__name__
)
async def test_at_every_step(connect, app_of, respond, no_tasks_left, part):
    """Wherever in an exchange the test is cancelled: the app ends, and the client is of use."""

    async def endpoint(scope, receive, send):
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": message["text"]})
            return
        while (await receive()).get("more_body"):
            pass
        if scope["path"] == "/endless":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                await send({"type": "http.response.body", "body": b"part", "more_body": True})
        await respond(send, b"whole")
        await asyncio.sleep(0)

    client = await connect(app_of(endpoint))

    for steps in range(12):
        task = asyncio.create_task(part(client))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})

        await client.drain()
        no_tasks_left()
        assert task.cancelled() or task.exception() is None
        assert (await client.get("/")).text == "whole"
