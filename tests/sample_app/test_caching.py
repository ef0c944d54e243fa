"""Patterns 8 and 9: a decorated cache and a value set by hand; expiry and outage."""

import asyncio
import json

import pytest

from sample_app import cache

CONTENT = {"item_id": 1, "data": "content of 1"}
FRESH = {"item_id": 1, "data": "fresh content of 1"}


async def test_the_second_request_is_answered_from_the_cache(client, redis_cache, virtual_clock):
    first = await client.get("/cached-data/1")
    after_first = virtual_clock.elapsed
    second = await client.get("/cached-data/1")

    assert first.json() == second.json() == CONTENT
    assert after_first == pytest.approx(2, abs=0.3)
    assert virtual_clock.elapsed - after_first < 0.3


async def test_what_is_kept_and_for_how_long(client, redis_cache, virtual_clock):
    """JSON under item:1, for a minute."""
    await client.get("/cached-data/1")

    assert json.loads(await redis_cache.get("item:1")) == CONTENT
    assert await redis_cache.ttl("item:1") in (59, 60)
    assert await redis_cache.keys("*") in ([b"item:1"], ["item:1"])


async def test_items_have_keys_of_their_own(client, redis_cache, virtual_clock):
    one, two = await asyncio.gather(client.get("/cached-data/1"), client.get("/cached-data/2"))

    assert one.json()["item_id"] == 1
    assert two.json()["item_id"] == 2
    assert await redis_cache.exists("item:1", "item:2") == 2


async def test_a_kept_item_expires(client, redis_cache, virtual_clock):
    await redis_cache.set("item:1", json.dumps({"item_id": 1, "data": "kept"}), ex=60)
    redis_cache.advance(59)
    kept = await client.get("/cached-data/1")
    redis_cache.advance(2)
    loaded = await client.get("/cached-data/1")

    assert kept.json()["data"] == "kept"
    assert loaded.json() == CONTENT


async def test_refresh_replaces_the_item_for_five_minutes(client, redis_cache, virtual_clock):
    await client.get("/cached-data/1")

    refreshed = await client.post("/refresh-cache/1")

    assert refreshed.json() == {"status": "cache refreshed"}
    assert await redis_cache.ttl("item:1") in (299, 300)
    assert (await client.get("/cached-data/1")).json() == FRESH


@pytest.mark.parametrize("outage", ["down", "loading", "dropped"])
async def test_an_outage_costs_time_but_no_answer(client, redis_cache, virtual_clock, caplog, outage):
    if outage == "down":
        redis_cache.down()
    elif outage == "loading":
        redis_cache.fail(error="LOADING Redis is loading the dataset in memory")
    else:
        redis_cache.drop()

    response = await client.get("/cached-data/1")

    assert response.status_code == 200
    assert response.json() == CONTENT
    assert [
        record.getMessage().partition(" (")[0] for record in caplog.records if record.name == "sample_app.cache"
    ] == [
        "cache: item:1 not read",
        "cache: item:1 not kept",
    ]


async def test_a_cache_that_hangs_is_given_half_a_second(client, redis_cache, virtual_clock):
    """Half a second for reading, two seconds for the work, half a second for keeping."""
    redis_cache.hang()

    response = await client.get("/cached-data/1")

    assert response.json() == CONTENT
    assert virtual_clock.elapsed == pytest.approx(3, abs=0.4)


async def test_the_cache_is_used_again_after_an_outage(client, redis_cache, virtual_clock):
    redis_cache.down()
    await client.get("/cached-data/1")
    redis_cache.up()
    await client.get("/cached-data/1")

    assert json.loads(await redis_cache.get("item:1")) == CONTENT


@pytest.mark.parametrize("stranger", ["no JSON", '{"item_id": 1}', "[]"])
async def test_what_another_version_left_is_replaced(client, redis_cache, virtual_clock, stranger):
    await redis_cache.set("item:1", stranger)

    response = await client.get("/cached-data/1")

    assert response.json() == CONTENT
    assert json.loads(await redis_cache.get("item:1")) == CONTENT


async def test_refresh_says_when_the_cache_is_down(client, redis_cache, virtual_clock):
    redis_cache.down()

    response = await client.post("/refresh-cache/1")

    assert response.status_code == 503
    assert response.json() == {"detail": "the cache does not answer"}


async def test_the_app_asks_for_no_more_than_it_needs(client, redis_cache, virtual_clock):
    await client.get("/cached-data/1")
    await client.get("/cached-data/1")

    assert [command.name for command in redis_cache.commands] == ["GET", "SETEX", "GET"]


async def test_without_redis_the_cache_lives_in_this_process(client, monkeypatch, virtual_clock):
    monkeypatch.setattr(cache, "cache", cache.make_cache(None))

    await client.get("/cached-data/1")
    await client.get("/cached-data/1")

    assert virtual_clock.elapsed == pytest.approx(2, abs=0.5)

    await asyncio.sleep(60)
    await client.get("/cached-data/1")

    assert virtual_clock.elapsed == pytest.approx(64, abs=1)
