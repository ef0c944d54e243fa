"""Dependencies of both kinds: FastAPI awaits an ``async def`` and runs a ``def`` in a thread."""

import asyncio
import time
from typing import Annotated

from fastapi import APIRouter, Depends

router = APIRouter(tags=["dependencies"])

Value = dict[str, str]


async def get_async_dependency() -> Value:
    """Waits on the loop."""
    await asyncio.sleep(0.1)
    return {"dependency": "async_data"}


def get_sync_dependency() -> Value:
    """Waits in a thread of the pool, of which there are 40: for short waits only."""
    time.sleep(0.05)
    return {"dependency": "sync_data"}


@router.get("/with-dependencies")
async def with_dependencies(
    async_value: Annotated[Value, Depends(get_async_dependency)],
    sync_value: Annotated[Value, Depends(get_sync_dependency)],
) -> dict[str, Value]:
    """What both gave."""
    return {"async": async_value, "sync": sync_value}
