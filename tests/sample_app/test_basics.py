"""Patterns 1, 2, 3 and 21: what `await` means, and many requests at once."""

import asyncio
import threading

import pytest

from sample_app import basics


async def test_a_def_endpoint_leaves_the_loop_free(client, monkeypatch):
    """Another request is answered while the thread of this one still waits."""
    may_end = threading.Event()
    monkeypatch.setattr(basics, "wait_in_thread", lambda seconds: "sync result" if may_end.wait(10) else "gave up")

    waiting = asyncio.create_task(client.get("/sync-task"))
    other = await client.get("/interleaved")

    assert other.status_code == 200
    assert not waiting.done()

    may_end.set()
    response = await waiting

    assert response.json() == {"result": "sync result"}


async def test_the_sync_task_itself(client):
    """The real thing, with a short wait: a thread can't be hurried by any clock."""
    response = await client.get("/sync-task", params={"seconds": 0.01})

    assert response.json() == {"result": "sync result"}


async def test_async_tasks_wait_together(client, virtual_clock):
    """Twenty requests of five seconds take five seconds."""
    responses = await asyncio.gather(*(client.get("/async-task", params={"seconds": 5}) for _ in range(20)))

    assert [response.json() for response in responses] == [{"result": "async result"}] * 20
    assert virtual_clock.elapsed == pytest.approx(5, abs=0.5)


@pytest.mark.parametrize(
    ("tasks", "steps", "trace"),
    [
        (1, 2, ["a1", "a2"]),
        (2, 2, ["a1", "b1", "a2", "b2"]),
        (3, 3, ["a1", "b1", "c1", "a2", "b2", "c2", "a3", "b3", "c3"]),
    ],
)
async def test_tasks_take_turns_at_each_await(client, tasks, steps, trace):
    response = await client.get("/interleaved", params={"tasks": tasks, "steps": steps})

    assert response.json() == {"trace": trace}


async def test_the_async_endpoint(client, virtual_clock):
    response = await client.get("/async-endpoint")

    assert response.status_code == 200
    assert response.json() == {"data": {"id": 1, "name": "sample"}}
    assert virtual_clock.elapsed == pytest.approx(1, abs=0.2)


async def test_concurrent_requests(client, virtual_clock):
    """The guide's last test, for an endpoint that exists."""
    responses = await asyncio.gather(*(client.get(f"/item/{item}") for item in range(5)))

    assert [response.status_code for response in responses] == [200] * 5
    assert [response.json()["item_id"] for response in responses] == [0, 1, 2, 3, 4]
    assert virtual_clock.elapsed == pytest.approx(0.1, abs=0.09)
