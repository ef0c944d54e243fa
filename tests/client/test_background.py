"""Work after the response: waited for, deferred until the test lets it go, or detached."""

import asyncio

import pytest

from pytest_asyncapi.errors import AppTimeout


@pytest.fixture
def mailer():
    """A FastAPI app whose endpoint sends mail in the background, and what was sent."""
    from fastapi import BackgroundTasks, Depends, FastAPI

    app = FastAPI()
    events = []

    async def connection():
        events.append("opened")
        yield "connection"
        events.append("closed")

    async def send_mail(to):
        events.append(f"sending to {to}")
        await asyncio.sleep(0.001)
        events.append(f"sent to {to}")

    @app.post("/signup/{name}")
    async def signup(name: str, tasks: BackgroundTasks, connection: str = Depends(connection)):
        tasks.add_task(send_mail, name)
        return {"name": name}

    return app, events


async def test_wait(connect, mailer):
    """The request returns when everything is done."""
    app, events = mailer
    client = await connect(app)

    response = await client.post("/signup/ada")

    assert response.json() == {"name": "ada"}
    assert events[0] == "opened"
    assert sorted(events[1:]) == ["closed", "sending to ada", "sent to ada"]


async def test_defer(connect, mailer):
    """Nothing after the response has begun, for as long as the test likes; drain() runs it."""
    app, events = mailer
    client = await connect(app, background="defer")

    response = await client.post("/signup/ada")
    assert response.status_code == 200
    await asyncio.sleep(0.02)
    assert "sending to ada" not in events

    await client.drain()
    assert "sent to ada" in events


async def test_defer_many(connect, mailer):
    """drain() runs all that was deferred; a second one finds nothing."""
    app, events = mailer
    client = await connect(app, background="defer")

    await asyncio.gather(*(client.post(f"/signup/{name}") for name in "abc"))
    assert not [event for event in events if event.startswith("sent")]

    await client.drain()
    assert sorted(event for event in events if event.startswith("sent")) == ["sent to a", "sent to b", "sent to c"]
    await client.drain()
    assert len([event for event in events if event.startswith("sent")]) == 3


async def test_deferred_work_runs_at_the_latest_when_the_client_closes(connect, mailer):
    """What a test forgets to drain is not lost."""
    app, events = mailer
    client = await connect(app, background="defer")

    await client.post("/signup/ada")
    await client.aclose()

    assert "sent to ada" in events


async def test_detach(connect, app_of, respond):
    """The request returns when the response is complete; the work goes on by itself."""
    go_on, done = asyncio.Event(), asyncio.Event()

    async def endpoint(scope, receive, send):
        await respond(send, b"accepted", status=202)
        await go_on.wait()
        done.set()

    client = await connect(app_of(endpoint), background="detach")

    assert (await client.post("/")).status_code == 202
    assert not done.is_set()
    go_on.set()
    await done.wait()
    await client.drain()


async def test_for_one_request(connect, mailer):
    """The mode of a client is changed for one request."""
    app, events = mailer
    client = await connect(app)

    await client.post("/signup/ada", extensions={"asyncapi": {"background": "defer"}})
    assert "sending to ada" not in events
    await client.post("/signup/bob")
    assert "sent to bob" in events
    assert "sending to ada" not in events
    await client.drain()
    assert "sent to ada" in events


@pytest.mark.parametrize("background", ["wait", "defer", "detach"])
async def test_a_failure_after_the_response(connect, app_of, respond, background):
    """At the request where it is waited for, else at drain(), and never by chance at either."""

    async def endpoint(scope, receive, send):
        await respond(send, b"fine")
        raise ZeroDivisionError("after the response")

    client = await connect(app_of(endpoint), background=background)

    if background == "wait":
        with pytest.raises(ZeroDivisionError):
            await client.get("/")
    else:
        assert (await client.get("/")).text == "fine"
        with pytest.raises(ZeroDivisionError):
            await client.drain()
    await client.drain()


@pytest.mark.parametrize("background", ["defer", "detach"])
async def test_work_that_never_ends(connect, app_of, respond, background, no_tasks_left):
    """It fails the end of the test, and is cancelled then."""

    async def endpoint(scope, receive, send):
        await respond(send, b"fine")
        await asyncio.sleep(3600)

    client = await connect(app_of(endpoint), background=background, background_timeout=0.05)
    assert (await client.get("/")).text == "fine"

    with pytest.raises(AppTimeout, match=r"GET /: the app's work after the response goes on for 0.05 s"):
        await client.aclose()

    no_tasks_left()


@pytest.mark.parametrize("background", ["defer", "detach"])
async def test_work_that_drain_has_told_of(connect, app_of, respond, background, no_tasks_left):
    """The end of the test does not wait for it again, and does not tell of it again."""

    async def endpoint(scope, receive, send):
        await respond(send, b"fine")
        await asyncio.sleep(3600)

    client = await connect(app_of(endpoint), background=background)
    assert (await client.get("/")).text == "fine"

    with pytest.raises(AppTimeout, match=r"GET /: the response is complete, and the app's work after it has gone on"):
        await client.drain(timeout=0.05)
    await asyncio.wait_for(client.aclose(), 20)

    no_tasks_left()


async def test_work_that_ends_after_a_drain_that_was_too_short(connect, app_of, respond):
    """A second drain() waits for it as the first did, and raises what it raises."""
    go_on = asyncio.Event()

    async def endpoint(scope, receive, send):
        await respond(send, b"fine")
        await go_on.wait()
        raise ZeroDivisionError("after the response")

    client = await connect(app_of(endpoint), background="defer")
    await client.get("/")

    with pytest.raises(AppTimeout):
        await client.drain(timeout=0.05)
    go_on.set()
    with pytest.raises(ZeroDivisionError):
        await client.drain()
