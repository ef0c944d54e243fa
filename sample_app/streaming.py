"""A response that is sent while it is made: one JSON document a line."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from sample_app.metrics import OPEN_STREAMS

router = APIRouter(tags=["streaming"])
logger = logging.getLogger(__name__)

INTERVAL = 0.5


async def produce(total: int) -> AsyncIterator[str]:
    """`total` lines, half a second apart.

    When the client goes away Starlette cancels the `await` that stands here, and nothing more is made.
    """
    made = 0
    with OPEN_STREAMS.track_inprogress():
        try:
            while made < total:
                if made:
                    await asyncio.sleep(INTERVAL)
                line = json.dumps({"chunk": made, "data": f"item_{made}"})
                made += 1
                yield line + "\n"
        finally:
            logger.info("stream ended after %d of %d lines", made, total)


@router.get("/stream-data")
async def stream_data() -> StreamingResponse:
    """Ten lines of NDJSON."""
    return StreamingResponse(produce(10), media_type="application/x-ndjson")
