"""Pattern 10: many items, ten at a time."""

import asyncio

import pytest

from sample_app import batch


async def test_ten_items_run_at_once(client, virtual_clock):
    """25 items of a second each, in three rounds."""
    response = await client.post("/batch-process", json=list(range(25)))

    assert response.json() == {"processed": 25, "results": [item * item for item in range(25)], "peak": 10}
    assert virtual_clock.elapsed == pytest.approx(3, abs=0.5)


async def test_requests_share_the_limit(client, virtual_clock):
    """Two batches of ten at the same time take two rounds, not one."""
    first, second = await asyncio.gather(*(client.post("/batch-process", json=list(range(10))) for _ in range(2)))

    assert first.json()["processed"] == second.json()["processed"] == 10
    assert max(first.json()["peak"], second.json()["peak"]) == 10
    assert virtual_clock.elapsed == pytest.approx(2, abs=0.5)


@pytest.mark.parametrize(("items", "peak"), [([], 0), ([7], 1)])
async def test_small_batches(client, virtual_clock, items, peak):
    response = await client.post("/batch-process", json=items)

    assert response.json() == {"processed": len(items), "results": [item * item for item in items], "peak": peak}


async def test_a_batch_has_a_limit(client):
    assert (await client.post("/batch-process", json=[0] * 1001)).status_code == 422


@pytest.mark.client(raise_app_exceptions=False)
async def test_one_failure_cancels_the_others_and_frees_their_slots(client, virtual_clock, monkeypatch):
    cancelled = []

    async def fail_on_three(item):
        try:
            await asyncio.sleep(0.1 if item == 3 else 60)
        except asyncio.CancelledError:
            cancelled.append(item)
            raise
        raise RuntimeError("three is not supported")

    monkeypatch.setattr(batch, "process_item", fail_on_three)
    failed = await client.post("/batch-process", json=list(range(10)))

    assert failed.status_code == 500
    assert sorted(cancelled) == [0, 1, 2, 4, 5, 6, 7, 8, 9]

    monkeypatch.undo()
    again = await client.post("/batch-process", json=list(range(10)))

    assert again.json()["peak"] == 10
