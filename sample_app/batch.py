"""Many items at once, but never more than the machine can bear.

The items run in a task group under a semaphore. As background tasks they would run one after another, since Starlette
awaits each before it starts the next, and the semaphore would bound nothing.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field

router = APIRouter(tags=["batch"])


class Limiter:
    """At most `limit` holders at a time, in the whole app.

    Made in the lifespan and not at import: a semaphore belongs to the loop that first waits for it.
    """

    def __init__(self, limit: int = 10) -> None:
        self._semaphore = asyncio.Semaphore(limit)
        self._running = 0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[int]:
        """Wait for a free place; gives the number of holders, oneself among them."""
        async with self._semaphore:
            self._running += 1
            try:
                yield self._running
            finally:
                self._running -= 1


async def get_limiter(request: Request) -> Limiter:
    """The limiter of this app's lifespan."""
    limiter: Limiter = request.state.limiter
    return limiter


class BatchReport(BaseModel):
    """What came of a batch."""

    processed: int
    results: list[int]
    peak: int
    """The most items of the app that ran at the same time as one of this batch."""


async def process_item(item: int) -> int:
    """Stands for one call to a slow service."""
    await asyncio.sleep(1)
    return item * item


@router.post("/batch-process")
async def batch_process(
    items: Annotated[list[int], Field(max_length=1000)], limiter: Annotated[Limiter, Depends(get_limiter)]
) -> BatchReport:
    """All items, the results in their order. One that fails cancels the others: half a batch helps nobody."""
    peak = 0

    async def run(item: int) -> int:
        nonlocal peak
        async with limiter.slot() as running:
            peak = max(peak, running)
            return await process_item(item)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run(item)) for item in items]
    return BatchReport(processed=len(tasks), results=[task.result() for task in tasks], peak=peak)
