"""Pattern 11: NDJSON that is sent while it is made, and no longer than somebody reads."""

import asyncio
import json
import logging

import pytest

LINES = [{"chunk": number, "data": f"item_{number}"} for number in range(10)]


async def test_ten_lines_in_order(client, virtual_clock):
    response = await client.get("/stream-data")

    assert response.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line) for line in response.text.splitlines()] == LINES


async def test_each_line_arrives_when_it_is_made(client, virtual_clock):
    arrived = []
    async with client.stream("GET", "/stream-data") as response:
        async for _ in response.aiter_lines():
            arrived.append(virtual_clock.elapsed)

    assert arrived == pytest.approx([number * 0.5 for number in range(10)], abs=0.2)


async def test_it_stops_when_the_client_goes_away(client, virtual_clock, metric, caplog):
    caplog.set_level(logging.INFO, "sample_app.streaming")
    async with client.stream("GET", "/stream-data") as response:
        lines = response.aiter_lines()
        received = [json.loads(await anext(lines)) for _ in range(3)]
        assert metric("open_streams") == 1

    await asyncio.sleep(1)

    assert received == LINES[:3]
    assert metric("open_streams") == 0
    (message,) = [record.getMessage() for record in caplog.records if record.name == "sample_app.streaming"]
    assert message in ("stream ended after 3 of 10 lines", "stream ended after 4 of 10 lines")


async def test_two_streams_at_once(client, virtual_clock):
    """Their lines are made in turns: both take no longer than one."""

    async def read():
        async with client.stream("GET", "/stream-data") as response:
            return [json.loads(line) async for line in response.aiter_lines()]

    first, second = await asyncio.gather(read(), read())

    assert first == second == LINES
    assert virtual_clock.elapsed == pytest.approx(4.5, abs=0.5)
