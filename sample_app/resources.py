"""A resource that is given back whatever happens: success, error, deadline or cancellation."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, HTTPException, Query, status

from sample_app.metrics import RESOURCES_IN_USE

router = APIRouter(tags=["resources"])

DEADLINE = 2.0
RELEASE_DEADLINE = 5.0


async def acquire_resource() -> dict[str, str]:
    """Stands for a lock, a licence, a connection."""
    await asyncio.sleep(0.1)
    RESOURCES_IN_USE.inc()
    return {"resource": "acquired"}


async def release_resource(resource: dict[str, str]) -> None:
    """To release takes time too."""
    await asyncio.sleep(0.1)
    RESOURCES_IN_USE.dec()


@asynccontextmanager
async def managed_resource() -> AsyncIterator[dict[str, str]]:
    """The resource for the block.

    The release is shielded. A cancelled scope of anyio, which Starlette uses, cancels every `await` in it anew: in a
    plain ``finally`` it would break off the release too. The deadline is for a release that hangs.
    """
    resource = await acquire_resource()
    try:
        yield resource
    finally:
        with anyio.move_on_after(RELEASE_DEADLINE, shield=True):
            await release_resource(resource)


async def work_with(resource: dict[str, str], seconds: float, fail: bool) -> dict[str, Any]:
    """What the resource is needed for."""
    await asyncio.sleep(seconds)
    if fail:
        raise RuntimeError("the work with the resource failed")
    return {"result": "success", "resource": resource}


@router.get("/managed-resource")
async def use_managed_resource(
    seconds: Annotated[float, Query(ge=0, le=60)] = 0.5, fail: bool = False
) -> dict[str, Any]:
    """Use the resource; past the deadline the work is cancelled, and the answer is 504."""
    async with managed_resource() as resource:
        try:
            async with asyncio.timeout(DEADLINE):
                return await work_with(resource, seconds, fail)
        except TimeoutError as error:
            raise HTTPException(status.HTTP_504_GATEWAY_TIMEOUT, "the work took too long") from error
