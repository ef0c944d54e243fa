"""Arithmetic in a thread and an upstream on the loop, both at the same time."""

import asyncio
from typing import Any

from fastapi import APIRouter

from sample_app.compute import sum_of_squares
from sample_app.settings import settings
from sample_app.upstream import AiohttpSession, fetch_by_aiohttp

router = APIRouter(tags=["upstream"])


@router.get("/mixed-endpoint")
async def mixed_endpoint(session: AiohttpSession) -> dict[str, Any]:
    """Takes as long as the slower of the two.

    `gather` and not a task group: when the upstream fails there is nothing to wait for, and a thread can't be
    cancelled.
    """
    cpu, io = await asyncio.gather(
        asyncio.to_thread(sum_of_squares, 1_000_000), fetch_by_aiohttp(session, settings.upstream_url)
    )
    return {"cpu": cpu, "io": io}
