"""Pattern 4: arithmetic in a thread and an upstream on the loop, at once."""

import aiohttp
import pytest

from pytest_asyncapi.upstream import Reply, faults
from sample_app import compute, mixed

CPU = (10**6 - 1) * 10**6 * (2 * 10**6 - 1) // 6  # the sum of the squares below a million


@pytest.fixture
def short_arithmetic(monkeypatch):
    """For tests that are about the upstream: the thread computes the sum of a thousand squares, not of a million."""
    monkeypatch.setattr(mixed, "sum_of_squares", lambda limit: compute.sum_of_squares(1000))


async def test_both_results(client, upstream, upstream_url):
    upstream.get(upstream_url).reply({"value": 42})

    response = await client.get("/mixed-endpoint")

    assert response.json() == {"cpu": CPU, "io": {"value": 42}}


@pytest.mark.usefixtures("short_arithmetic")
@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (500, 502),
        (404, 502),
        ("<html>not JSON</html>", 502),
        (faults.refused, 502),
        (faults.dns, 502),
        (faults.reset, 502),
        (faults.connect_timeout, 504),
        (faults.hang, 504),
        (Reply(json={"value": 42}, latency=60), 504),
    ],
    ids=repr,
)
async def test_what_the_upstream_does_wrong_is_a_gateway_error(
    client, upstream, upstream_url, virtual_clock, reply, status
):
    upstream.get(upstream_url).reply(reply)

    response = await client.get("/mixed-endpoint")

    assert response.status_code == status
    assert upstream_url not in response.text


@pytest.mark.usefixtures("short_arithmetic")
async def test_one_session_serves_all_requests(client, upstream, upstream_url, monkeypatch):
    """The session is the lifespan's: a request could not make one of its own."""
    upstream.get(upstream_url).reply({"n": 1}, {"n": 2})
    monkeypatch.delattr(aiohttp, "ClientSession")

    first = await client.get("/mixed-endpoint")
    second = await client.get("/mixed-endpoint")

    assert [first.json()["io"], second.json()["io"]] == [{"n": 1}, {"n": 2}]
