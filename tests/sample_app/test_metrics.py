"""Pattern 14: requests counted and timed by a pure ASGI middleware."""

import pytest


@pytest.fixture
def counted(metric):
    """How many requests were counted since the test began."""

    def read(method, endpoint, status):
        return metric("http_requests_total", method=method, endpoint=endpoint, status=str(status))

    return read


async def test_requests_are_counted_by_the_template_of_the_route(client, virtual_clock, counted):
    """Two ids, one series."""
    before = counted("GET", "/item/{item_id}", 200)

    await client.get("/item/1")
    await client.get("/item/2")

    assert counted("GET", "/item/{item_id}", 200) - before == 2


@pytest.mark.parametrize(
    ("method", "path", "labels"),
    [
        ("GET", "/users/4711", ("GET", "/users/{user_id}", 404)),
        ("GET", "/nowhere/at/all", ("GET", "unmatched", 404)),
        ("BREW", "/nowhere", ("other", "unmatched", 404)),
        ("GET", "/item/none", ("GET", "/item/{item_id}", 422)),
    ],
)
async def test_labels_stay_few(client, counted, method, path, labels):
    before = counted(*labels)

    await client.request(method, path)

    assert counted(*labels) - before == 1


@pytest.mark.client(raise_app_exceptions=False)
async def test_an_unhandled_error_counts_as_500(client, counted):
    before = counted("GET", "/broken", 500)

    await client.get("/broken")

    assert counted("GET", "/broken", 500) - before == 1


async def test_the_time_is_measured_to_the_last_byte(client, virtual_clock, metric):
    labels = {"method": "GET", "endpoint": "/stream-data"}
    before = metric("http_request_duration_seconds_sum", **labels)

    await client.get("/stream-data")

    assert metric("http_request_duration_seconds_sum", **labels) - before == pytest.approx(4.5, abs=0.3)


async def test_work_after_the_response_is_not_in_it(client, virtual_clock, metric):
    labels = {"method": "POST", "endpoint": "/process-data"}
    before = metric("http_request_duration_seconds_sum", **labels)

    await client.post("/process-data", json={"source": "scale", "values": [1]})

    assert metric("http_request_duration_seconds_sum", **labels) - before < 1
    assert virtual_clock.elapsed > 4


async def test_what_prometheus_scrapes(client):
    await client.get("/interleaved")

    response = await client.get("/metrics")

    assert response.headers["content-type"].startswith("text/plain")
    assert 'http_requests_total{endpoint="/interleaved",method="GET",status="200"}' in response.text
    assert 'http_request_duration_seconds_bucket{endpoint="/interleaved",le="0.005",method="GET"}' in response.text
