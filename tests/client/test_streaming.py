"""The response arrives as the app sends it, and the app reads the request as the test sends it."""

import asyncio
import gc
import sys
import tracemalloc

import pytest

from pytest_asyncapi.client.recorder import Recorder


async def test_a_response_is_there_when_it_begins(connect, app_of):
    """Before any of its body has been sent."""
    go_on = asyncio.Event()

    async def endpoint(scope, receive, send):
        await send({"type": "http.response.start", "status": 201, "headers": [(b"x-early", b"yes")]})
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"late"})

    client = await connect(app_of(endpoint))

    async with client.stream("GET", "/") as response:
        assert response.status_code == 201
        assert response.headers["x-early"] == "yes"
        go_on.set()
        assert await response.aread() == b"late"


async def test_chunks_arrive_one_by_one(connect, app_of):
    """Each is read before the app goes on: in the process it is at most two ahead."""
    taken = []

    async def endpoint(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        for number in range(5):
            await send({"type": "http.response.body", "body": b"%d" % number, "more_body": True})
            taken.append(number)
            await asyncio.sleep(0.001)
        await send({"type": "http.response.body"})

    client = await connect(app_of(endpoint))

    async with client.stream("GET", "/") as response:
        assert [chunk async for chunk in response.aiter_raw()] == [b"0", b"1", b"2", b"3", b"4"]
    assert taken == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("way", ["process"], indirect=True)  # differs: how far the app is ahead of its reader
async def test_back_pressure(connect, app_of):
    """An endless app without a single pause of its own waits for its reader."""
    sent = 0

    async def endpoint(scope, receive, send):
        nonlocal sent
        await send({"type": "http.response.start", "status": 200})
        while True:
            sent += 1
            await send({"type": "http.response.body", "body": b"tick\n", "more_body": True})

    client = await connect(app_of(endpoint))

    async with client.stream("GET", "/") as response:
        assert sent == 1
        lines = response.aiter_lines()
        for taken in range(1, 5):
            assert await anext(lines) == "tick"
            assert sent <= taken + 1


async def test_an_endless_stream_is_left_early_and_stops(connect, no_tasks_left):
    """Starlette's generator runs its `finally`, and no task is left."""
    from starlette.applications import Starlette
    from starlette.responses import StreamingResponse
    from starlette.routing import Route

    events = []

    async def ticks(request):
        async def generate():
            try:
                number = 0
                while True:
                    yield f"data: {number}\n\n"
                    number += 1
                    await asyncio.sleep(0.001)
            finally:
                events.append("stopped")

        return StreamingResponse(generate(), media_type="text/event-stream")

    client = await connect(Starlette(routes=[Route("/ticks", ticks)]))

    async with client.stream("GET", "/ticks") as response:
        lines = response.aiter_lines()
        assert [await anext(lines) for _ in range(3)] == ["data: 0", "", "data: 1"]
        assert events == []

    assert events == ["stopped"]
    no_tasks_left()


async def test_an_app_that_ignores_the_departure_is_cancelled(connect, app_of, no_tasks_left):
    """After the grace that `disconnect_grace` gives."""
    events = []

    async def endpoint(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            events.append("cancelled")
            raise

    client = await connect(app_of(endpoint))

    async with client.stream("GET", "/") as response:
        assert await anext(response.aiter_raw()) == b"one"

    assert events == ["cancelled"]
    no_tasks_left()


async def test_an_app_that_is_slow_to_leave_is_not_cancelled(connect, app_of, no_tasks_left):
    """However soon the grace is over, as on a busy machine, the app has some turns of the event loop to react."""
    ended = []

    async def endpoint(scope, receive, send):
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"tick", "more_body": True})
            while (await receive())["type"] != "http.disconnect":
                pass
            for _ in range(20):
                await asyncio.sleep(0)
            ended.append("by itself")
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    client = await connect(app_of(endpoint))

    async with client.stream("GET", "/", extensions={"asyncapi": {"disconnect_grace": 0}}) as response:
        assert await anext(response.aiter_bytes()) == b"tick"

    assert ended == ["by itself"]
    no_tasks_left()


async def test_an_app_hears_of_the_departure(connect, app_of):
    """receive() says http.disconnect, and the app may take its leave of its own accord."""
    events = []

    async def endpoint(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        events.append((await receive())["type"])

    client = await connect(app_of(endpoint))

    async with client.stream("GET", "/") as response:
        assert await anext(response.aiter_raw()) == b"one"

    assert events == ["http.disconnect"]


async def test_an_upload_is_pulled_as_the_app_reads_it(connect, app_of, respond):
    """The test's generator runs in the test's task."""
    received = []
    test_task = asyncio.current_task()

    async def upload():
        for number in range(4):
            assert asyncio.current_task() is test_task
            yield b"part %d" % number

    async def endpoint(scope, receive, send):
        more = True
        while more:
            message = await receive()
            received.append(message.get("body", b""))
            more = message.get("more_body", False)
        await respond(send, b"".join(received))

    client = await connect(app_of(endpoint))

    response = await client.post("/", content=upload())

    assert response.content == b"part 0part 1part 2part 3"


async def test_an_upload_that_fails_is_the_tests_own_error(connect, app_of, no_tasks_left):
    """The exception of the test's generator is raised as it is; the app sees its client go."""
    seen = []

    async def upload():
        yield b"begin"
        raise ZeroDivisionError("in the upload")

    async def endpoint(scope, receive, send):
        while True:
            message = await receive()
            seen.append(message["type"])
            if message["type"] == "http.disconnect":
                return

    client = await connect(app_of(endpoint), raise_app_exceptions=False)

    with pytest.raises(ZeroDivisionError, match="in the upload"):
        await client.post("/", content=upload())

    async with asyncio.timeout(5):
        while seen[-1:] != ["http.disconnect"]:  # a real server may hear of it a little later
            await asyncio.sleep(0.001)
    no_tasks_left()


@pytest.mark.parametrize("way", ["process"], indirect=True)  # differs: an upload
async def test_an_upload_is_not_read_ahead(connect, app_of, respond):
    """An app that answers without reading leaves the rest of the upload alone."""
    pulled = []

    async def upload():
        for number in range(100):
            pulled.append(number)
            yield b"x"

    async def endpoint(scope, receive, send):
        await receive()
        await respond(send, b"enough", status=413)

    client = await connect(app_of(endpoint))

    assert (await client.post("/", content=upload())).status_code == 413
    assert pulled == [0]


async def test_a_duplex_echo(connect, app_of):
    """The app answers each part of the upload before it has all of it."""

    async def upload():
        for word in (b"a", b"b", b"c"):
            yield word

    async def endpoint(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        more = True
        while more:
            message = await receive()
            more = message.get("more_body", False)
            await send({"type": "http.response.body", "body": message.get("body", b"").upper(), "more_body": more})

    client = await connect(app_of(endpoint))

    response = await client.post("/", content=upload())

    assert response.content == b"ABC"


async def test_a_large_body_is_handed_over_in_pieces(connect, app_of, respond):
    """As a server does, so that a handler which reads one message only is found."""
    sizes = []

    async def endpoint(scope, receive, send):
        more = True
        while more:
            message = await receive()
            sizes.append(len(message.get("body", b"")))
            more = message.get("more_body", False)
        await respond(send)

    client = await connect(app_of(endpoint))

    await client.post("/", content=b"x" * 200_000)

    assert sum(sizes) == 200_000
    assert len(sizes) >= 2


async def test_parallel_requests_interleave(connect, app_of, respond):
    """Requests that are gathered run at the same time."""
    arrived = []
    all_there = asyncio.Event()

    async def endpoint(scope, receive, send):
        arrived.append(scope["path"])
        if len(arrived) == 20:
            all_there.set()
        await all_there.wait()
        await respond(send, scope["path"].encode())

    client = await connect(app_of(endpoint))

    responses = await asyncio.gather(*(client.get(f"/{number}") for number in range(20)))

    assert [response.text for response in responses] == [f"/{number}" for number in range(20)]


async def test_head_has_no_body(connect, app_of, respond):
    """What an app sends in answer to HEAD is dropped, its content-length stays."""

    async def endpoint(scope, receive, send):
        await respond(send, b"body", headers=[(b"content-length", b"4")])

    client = await connect(app_of(endpoint))

    response = await client.head("/")

    assert response.content == b""
    assert response.headers["content-length"] == "4"


async def test_decoding_stays_with_the_library(connect, app_of, respond, library):
    """A compressed body is decoded; its raw bytes can be read, too."""
    import gzip

    packed = gzip.compress(b"hello " * 100)

    async def endpoint(scope, receive, send):
        await respond(send, packed, headers=[(b"content-encoding", b"gzip")])

    client = await connect(app_of(endpoint), library=library)

    assert (await client.get("/")).content == b"hello " * 100
    async with client.stream("GET", "/") as response:
        assert b"".join([chunk async for chunk in response.aiter_raw()]) == packed


async def test_a_response_is_the_librarys_own(connect, app_of, respond, library):
    """Its attributes are those of a response that came over the network; it can be pickled."""
    import pickle

    async def endpoint(scope, receive, send):
        await respond(send, b'{"a": 1}', headers=[(b"content-type", b"application/json"), (b"set-cookie", b"c=1")])

    client = await connect(app_of(endpoint), library=library)

    response = await client.get("/")

    assert isinstance(response, client.module.Response)
    assert response.json() == {"a": 1}
    assert response.http_version == "HTTP/1.1"
    assert response.elapsed.total_seconds() >= 0
    assert response.num_bytes_downloaded == 8
    assert response.is_closed
    assert response.is_stream_consumed
    assert dict(client.cookies) == {"c": "1"}
    copy = pickle.loads(pickle.dumps(response))
    assert (copy.status_code, copy.json()) == (200, {"a": 1})


async def test_redirects_are_followed_into_the_app(connect, app_of, respond):
    """Also to another host: everything reaches the app under test."""

    async def endpoint(scope, receive, send):
        if scope["path"] == "/old":
            await respond(send, status=307, headers=[(b"location", b"http://other.example/new")])
        else:
            host = dict(scope["headers"])[b"host"]
            await respond(send, host + scope["path"].encode())

    client = await connect(app_of(endpoint), follow_redirects=True)

    response = await client.get("/old")

    assert response.text == "other.example/new"
    assert [each.status_code for each in response.history] == [307]


@pytest.mark.parametrize("way", ["process"], indirect=True)  # differs: how far the app is ahead of its reader
async def test_a_hundred_megabytes_take_no_memory(connect, app_of):
    """A stream of 100 MB is read with less than 5 MB."""
    chunk = bytes(64 * 1024)

    async def endpoint(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        for _ in range(1600):
            await send({"type": "http.response.body", "body": chunk[:-1] + b"x", "more_body": True})
        await send({"type": "http.response.body"})

    client = await connect(app_of(endpoint))
    gc.collect()
    tracemalloc.start()
    try:
        total = 0
        async with client.stream("GET", "/") as response:
            async for part in response.aiter_raw():
                total += len(part)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert total == 1600 * 64 * 1024
    assert peak < 5_000_000


async def test_what_is_kept_for_the_report_holds_no_body(connect, app_of):
    """The exchanges of the last requests stay until the report; the parts of their bodies do not."""
    parts = [bytes(100_000), bytes(200_000)]

    async def endpoint(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body"})

    before = [sys.getrefcount(part) for part in parts]
    recorder = Recorder()
    client = await connect(app_of(endpoint), recorder=recorder)

    assert len((await client.get("/")).content) == 300_000
    async with client.stream("GET", "/") as response:
        assert len(await response.aread()) == 300_000
    del response
    gc.collect()

    assert len(recorder.entries) == 2
    assert [sys.getrefcount(part) for part in parts] == before
