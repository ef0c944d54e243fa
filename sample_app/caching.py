"""The two ways to use a cache: a decorated function that fills it by itself, and a value set by hand."""

import asyncio

from fastapi import APIRouter, HTTPException, status
from pydantic import BaseModel

from sample_app.cache import CACHE_ERRORS, cache, remember

router = APIRouter(tags=["cache"])


class Item(BaseModel):
    """One shape under one key, whoever wrote it."""

    item_id: int
    data: str


def item_key(item_id: int) -> str:
    """Where an item is kept."""
    return f"item:{item_id}"


@remember(item_key, ttl=60)
async def load_item(item_id: int) -> Item:
    """The slow way to an item."""
    await asyncio.sleep(2)
    return Item(item_id=item_id, data=f"content of {item_id}")


async def load_fresh_item(item_id: int) -> Item:
    """An item newer than any cache has it."""
    await asyncio.sleep(1)
    return Item(item_id=item_id, data=f"fresh content of {item_id}")


@router.get("/cached-data/{item_id}")
async def get_cached_data(item_id: int) -> Item:
    """An item, at most a minute old."""
    return await load_item(item_id)


@router.post("/refresh-cache/{item_id}")
async def refresh_cache(item_id: int) -> dict[str, str]:
    """Replace the kept item for five minutes; 503 when that can't be done, for it is all that was asked."""
    item = await load_fresh_item(item_id)
    try:
        await cache.set(item_key(item_id), item.model_dump(), ttl=300)
    except CACHE_ERRORS as error:
        raise HTTPException(status.HTTP_503_SERVICE_UNAVAILABLE, "the cache does not answer") from error
    return {"status": "cache refreshed"}
