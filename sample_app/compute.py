"""Arithmetic that would hold the event loop, moved to a thread.

A thread keeps the loop responsive, no more: under the GIL both share one core. Hours of arithmetic belong to a process
pool or a job queue.
"""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query

router = APIRouter(tags=["compute"])

Limit = Annotated[int, Query(ge=0, le=10_000_000)]


def sum_of_squares(limit: int) -> int:
    """Plain Python that never waits: 10 million take the better part of a second."""
    return sum(number * number for number in range(limit))


@router.get("/compute")
async def compute(limit: Limit = 1_000_000) -> dict[str, int]:
    """The result, computed while the loop answers others."""
    return {"result": await asyncio.to_thread(sum_of_squares, limit)}
