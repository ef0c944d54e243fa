"""An upstream's answer passed on, by either client."""

from typing import Any

from fastapi import APIRouter

from sample_app.settings import settings
from sample_app.upstream import AiohttpSession, HttpxClient, fetch_by_aiohttp, fetch_by_httpx

router = APIRouter(prefix="/proxy", tags=["upstream"])


@router.get("/aiohttp")
async def proxy_by_aiohttp(session: AiohttpSession) -> Any:
    """What the upstream says, asked by aiohttp."""
    return await fetch_by_aiohttp(session, settings.upstream_url)


@router.get("/httpx")
async def proxy_by_httpx(client: HttpxClient) -> Any:
    """What the upstream says, asked by httpx2."""
    return await fetch_by_httpx(client, settings.upstream_url)
