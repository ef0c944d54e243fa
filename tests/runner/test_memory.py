"""What a test leaves behind in pytest, which keeps its items and the fixtures of the session until the run ends."""

import json

import pytest


def test_no_request_for_a_fixture_outlives_its_test(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncapi_app = shop:app\npythonpath = .\n")
    pytester.makepyfile(
        shop="""
        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})
        """,
        conftest="""
        import gc
        import json
        from _pytest.fixtures import SubRequest

        counts = []

        def pytest_runtest_logfinish():
            gc.collect()
            counts.append(sum(type(each) is SubRequest for each in gc.get_objects()))

        def pytest_unconfigure():
            with open("counts.json", "w") as file:
                json.dump(counts, file)
        """,
        test_it="""
        import pytest

        @pytest.fixture
        def mine(asgi_app):
            return asgi_app

        @pytest.mark.parametrize("number", range(6))
        async def test_it(client, upstream, redis_cache, mine, number):
            assert (await client.get("/")).status_code == 204
        """,
    )

    pytester.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=6)

    counts = json.loads((pytester.path / "counts.json").read_text())
    assert counts[1] == counts[-2], counts  # the last one ends the session, too
