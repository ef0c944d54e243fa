"""Pattern 17: what blocks the event loop. The first two tests pass, and fail under `--detect-blocking`."""

from sample_app.main import create_app

LIMIT = 3_000_000
SUM_OF_SQUARES = (LIMIT - 1) * LIMIT * (2 * LIMIT - 1) // 6


async def test_sleeping_in_a_coroutine(client):
    response = await client.get("/pitfalls/sleep")

    assert response.json() == {"pitfall": "time.sleep"}


async def test_computing_in_a_coroutine(client):
    response = await client.get("/pitfalls/cpu", params={"limit": LIMIT})

    assert response.json() == {"result": SUM_OF_SQUARES}


def test_the_pitfalls_are_mounted_only_when_asked_for():
    paths = create_app(with_pitfalls=False).openapi()["paths"]

    assert "/users" in paths
    assert not [path for path in paths if path.startswith("/pitfalls")]
