"""Pattern 16: arithmetic in a thread."""

import asyncio
import threading

from sample_app import compute


async def test_the_result(client):
    response = await client.get("/compute", params={"limit": 1000})

    assert response.json() == {"result": 332_833_500}


async def test_the_loop_is_free_while_it_computes(client, monkeypatch):
    may_end = threading.Event()
    monkeypatch.setattr(compute, "sum_of_squares", lambda limit: 42 if may_end.wait(10) else -1)

    computing = asyncio.create_task(client.get("/compute"))
    other = await client.get("/interleaved")

    assert other.status_code == 200
    assert not computing.done()

    may_end.set()

    assert (await computing).json() == {"result": 42}


async def test_the_arithmetic_holds_no_loop(client, blocking):
    """What /pitfalls/cpu computes too; here the detector finds nothing."""
    response = await client.get("/compute", params={"limit": 1_000_000})

    assert response.status_code == 200
    assert blocking.events == []


async def test_there_is_a_limit(client):
    assert (await client.get("/compute", params={"limit": 10**9})).status_code == 422
