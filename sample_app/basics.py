"""What `await` means: one job written twice, whose turn it is when, and a plain asynchronous endpoint."""

import asyncio
import time
from typing import Annotated

from fastapi import APIRouter, Query

router = APIRouter(tags=["basics"])

Seconds = Annotated[float, Query(ge=0, le=5)]


def wait_in_thread(seconds: float) -> str:
    """Stands for a driver that knows no `await`: it keeps its thread until it is done."""
    time.sleep(seconds)
    return "sync result"


async def wait_in_loop(seconds: float) -> str:
    """The same job for an event loop: while it waits, others run."""
    await asyncio.sleep(seconds)
    return "async result"


@router.get("/sync-task")
def sync_task(seconds: Seconds = 0.2) -> dict[str, str]:
    """A ``def`` endpoint may wait as it likes: FastAPI runs it in a thread, and the loop goes on."""
    return {"result": wait_in_thread(seconds)}


@router.get("/async-task")
async def async_task(seconds: Seconds = 0.2) -> dict[str, str]:
    """An ``async def`` endpoint runs on the loop itself, so all its waiting must be awaited."""
    return {"result": await wait_in_loop(seconds)}


@router.get("/interleaved")
async def interleaved(
    tasks: Annotated[int, Query(ge=1, le=20)] = 3, steps: Annotated[int, Query(ge=1, le=20)] = 3
) -> dict[str, list[str]]:
    """Several tasks on one loop, and the trace of who ran when: at each `await` the next one takes its turn."""
    trace: list[str] = []

    async def worker(name: str) -> None:
        for step in range(1, steps + 1):
            trace.append(f"{name}{step}")
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for number in range(tasks):
            group.create_task(worker(chr(ord("a") + number)))
    return {"trace": trace}


@router.get("/async-endpoint")
async def async_endpoint() -> dict[str, dict[str, int | str]]:
    """A second of waiting, in which the loop can answer thousands of other requests."""
    await asyncio.sleep(1)
    return {"data": {"id": 1, "name": "sample"}}
