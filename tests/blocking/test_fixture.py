"""The fixture `blocking`: what the detector saw in this test."""


def test_it_shows_the_blocks_so_far(run):
    result = run(
        """
        async def test_events(client, asyncapi_blocking):
            assert asyncapi_blocking.events == []
            await client.get("/sleep")
            (block,) = asyncapi_blocking.events
            assert (block.call, block.kind, block.request) == ("time.sleep", "waiting", "GET /sleep")
            assert block.site.file.endswith("app.py")
            assert block.remedy == "await asyncio.sleep(...)"
        """,
        "--detect-blocking=report",
    )

    result.assert_outcomes(passed=1)


def test_printed_it_shows_its_events(run, line_of):
    result = run(
        """
        async def test_events(client, blocking):
            print(blocking)
            await client.get("/sleep")
            print(blocking)
        """,
        "-s",
    )

    result.assert_outcomes(passed=1)
    line = line_of("time.sleep(0.002)")
    result.stdout.fnmatch_lines(
        [
            "*<blocking: 0 events>",
            "<blocking: 1 event>",
            f"  GET /sleep held the event loop for * ms: waiting in time.sleep at app.py:{line}",
        ]
    )


def test_without_the_option_the_detector_runs_for_this_test_alone(run):
    result = run(
        """
        import asyncio
        import time

        async def test_events(client, blocking):
            await client.get("/compute")
            await asyncio.sleep(0)
            assert [(block.kind, block.request) for block in blocking.events] == [("computing", "GET /compute")]

        def test_nothing_stays_patched():
            assert type(time.sleep) is type(len)
        """,
    )

    result.assert_outcomes(passed=2)
    result.stdout.no_fnmatch_line("*event loop block*")


def test_expected_blocks_fail_nothing(run):
    result = run(
        """
        async def test_expected(client, asyncapi_blocking):
            with asyncapi_blocking.expected(reason="the warm-up of a cache"):
                await client.get("/sleep")
            assert asyncapi_blocking.events == []

        async def test_unexpected(client, asyncapi_blocking):
            with asyncapi_blocking.expected(reason="the warm-up of a cache"):
                await client.get("/quick")
            await client.get("/sleep")
        """,
        "--detect-blocking",
    )

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["1 block allowed, by expected: the warm-up of a cache"])


def test_expected_wants_a_reason(run):
    result = run(
        """
        import pytest

        def test_it(asyncapi_blocking):
            with pytest.raises(ValueError, match="wants a reason"):
                with asyncapi_blocking.expected(reason=""):
                    pass
        """,
    )

    result.assert_outcomes(passed=1)
