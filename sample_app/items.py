"""The smallest endpoint with something in its path: many of its requests run at once."""

import asyncio

from fastapi import APIRouter

router = APIRouter(tags=["items"])


@router.get("/item/{item_id}")
async def get_item(item_id: int) -> dict[str, int | str]:
    """An item, after a tenth of a second."""
    await asyncio.sleep(0.1)
    return {"item_id": item_id, "name": f"item {item_id}"}
