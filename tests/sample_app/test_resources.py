"""Pattern 13: a resource that is given back whatever happens."""

import asyncio

import anyio
import pytest

from sample_app.resources import managed_resource


async def test_the_resource_is_used_and_released(client, virtual_clock, metric):
    response = await client.get("/managed-resource")

    assert response.json() == {"result": "success", "resource": {"resource": "acquired"}}
    assert metric("managed_resources_in_use") == 0
    assert virtual_clock.elapsed == pytest.approx(0.7, abs=0.2)


@pytest.mark.client(raise_app_exceptions=False)
async def test_it_is_released_after_an_error(client, virtual_clock, metric):
    response = await client.get("/managed-resource", params={"fail": True})

    assert response.status_code == 500
    assert metric("managed_resources_in_use") == 0


async def test_it_is_released_after_the_deadline(client, virtual_clock, metric):
    """0.1 seconds to acquire, two seconds of work, 0.1 to release."""
    response = await client.get("/managed-resource", params={"seconds": 60})

    assert response.status_code == 504
    assert response.json() == {"detail": "the work took too long"}
    assert metric("managed_resources_in_use") == 0
    assert virtual_clock.elapsed == pytest.approx(2.2, abs=0.3)


async def test_it_is_released_when_the_caller_gives_up(client, virtual_clock, metric):
    """The request is cancelled in the middle of the work."""
    request = asyncio.create_task(client.get("/managed-resource", params={"seconds": 1.5}))
    await asyncio.sleep(0.5)
    assert metric("managed_resources_in_use") == 1

    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    await asyncio.sleep(2)  # a real server lets the endpoint run on

    assert metric("managed_resources_in_use") == 0


@pytest.mark.parametrize("how", ["task", "scope"])
async def test_the_release_is_not_broken_off_by_a_cancellation(virtual_clock, metric, how):
    """anyio cancels every `await` of a cancelled scope; the one that releases is shielded."""

    async def hold():
        async with managed_resource():
            await asyncio.sleep(60)

    if how == "scope":
        with anyio.move_on_after(1):
            await hold()
    else:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(hold(), 1)

    assert metric("managed_resources_in_use") == 0
