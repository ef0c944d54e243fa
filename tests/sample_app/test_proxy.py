"""Pattern 15: an upstream asked well, by aiohttp and by httpx2; every fault of it, and the retries."""

import asyncio

import pytest

from pytest_asyncapi.upstream import Reply, faults

pytestmark = pytest.mark.parametrize("library", ["aiohttp", "httpx"])


async def test_the_answer_is_passed_on(client, upstream, upstream_url, library):
    route = upstream.get(upstream_url).reply({"value": 42})

    response = await client.get(f"/proxy/{library}")

    assert response.status_code == 200
    assert response.json() == {"value": 42}
    assert library in route.calls[0].request.client


async def test_a_busy_upstream_is_asked_again(client, upstream, upstream_url, virtual_clock, library):
    """After 0.1 to 0.2 seconds, and then after 0.2 to 0.4."""
    route = upstream.get(upstream_url).reply(503, 503, {"value": 42})

    response = await client.get(f"/proxy/{library}")

    assert response.json() == {"value": 42}
    route.assert_called(3)
    assert 0.3 <= virtual_clock.elapsed < 0.9


async def test_but_not_for_ever(client, upstream, upstream_url, virtual_clock, library):
    route = upstream.get(upstream_url).reply(503)

    response = await client.get(f"/proxy/{library}")

    assert response.status_code == 502
    route.assert_called(3)


@pytest.mark.parametrize("status", [400, 404, 500])
async def test_other_errors_are_not_retried(client, upstream, upstream_url, library, status):
    route = upstream.get(upstream_url).reply(status)

    response = await client.get(f"/proxy/{library}")

    assert response.status_code == 502
    assert response.json() == {"detail": "the upstream failed"}
    route.assert_called(1)


@pytest.mark.parametrize(
    "fault",
    [faults.refused, faults.dns, faults.tls, faults.disconnect, faults.reset, faults.garbage, faults.truncate(3)],
    ids=repr,
)
async def test_a_broken_connection(client, upstream, upstream_url, library, fault):
    upstream.get(upstream_url).reply(fault)

    assert (await client.get(f"/proxy/{library}")).status_code == 502


async def test_an_answer_that_is_not_json(client, upstream, upstream_url, library):
    upstream.get(upstream_url).reply("<html></html>")

    assert (await client.get(f"/proxy/{library}")).status_code == 502


@pytest.mark.parametrize(
    ("slow", "seconds"),
    [(faults.hang, 5), (Reply(json={}, latency=60), 5), (faults.connect_timeout, 0), (faults.read_timeout, 0)],
    ids=repr,
)
async def test_a_slow_upstream(client, upstream, upstream_url, virtual_clock, library, slow, seconds):
    """The client's own limit ends the wait. (aiohttp rounds the end of five seconds and more up to a full one.)"""
    upstream.get(upstream_url).reply(slow)

    response = await client.get(f"/proxy/{library}")

    assert response.status_code == 504
    assert response.json() == {"detail": "the upstream did not answer in time"}
    assert seconds - 0.1 < virtual_clock.elapsed < seconds + 1.1


async def test_slow_answers_are_awaited_together(client, upstream, upstream_url, virtual_clock, library):
    route = upstream.get(upstream_url).reply(Reply(json={"value": 42}, latency=2))

    responses = await asyncio.gather(*(client.get(f"/proxy/{library}") for _ in range(8)))

    assert [response.status_code for response in responses] == [200] * 8
    route.assert_called(8)
    assert virtual_clock.elapsed == pytest.approx(2, abs=0.5)
