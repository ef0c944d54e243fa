"""What a caller learns of an error: enough to act on, and nothing of the inside."""

import logging

from fastapi import APIRouter, FastAPI, Request, status
from fastapi.responses import JSONResponse

from sample_app.upstream import UpstreamError, UpstreamTimeout

router = APIRouter(tags=["errors"])
logger = logging.getLogger(__name__)


async def handle_any_error(request: Request, error: Exception) -> JSONResponse:
    """The last resort: the log gets the traceback, the caller gets a sentence."""
    logger.error("unhandled error in %s %s", request.method, request.url.path, exc_info=error)
    return JSONResponse({"detail": "Internal server error"}, status.HTTP_500_INTERNAL_SERVER_ERROR)


async def handle_upstream_error(request: Request, error: Exception) -> JSONResponse:
    """Not our fault, and the caller may try again later."""
    logger.warning("%s %s: %s", request.method, request.url.path, error)
    if isinstance(error, UpstreamTimeout):
        return JSONResponse({"detail": "the upstream did not answer in time"}, status.HTTP_504_GATEWAY_TIMEOUT)
    return JSONResponse({"detail": "the upstream failed"}, status.HTTP_502_BAD_GATEWAY)


def install_handlers(app: FastAPI) -> None:
    """Make the app answer errors by the functions above."""
    app.add_exception_handler(UpstreamError, handle_upstream_error)
    app.add_exception_handler(Exception, handle_any_error)


@router.get("/broken")
async def broken() -> None:
    """Raises, so that the last resort can be seen at work."""
    raise RuntimeError("the password is hunter2")
