"""What lives as long as the app: made in the loop that serves it, found in ``request.state``, closed at the end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict

import aiohttp
import httpx2
from fastapi import FastAPI

from sample_app.background import JobStore
from sample_app.batch import Limiter
from sample_app.cache import close_cache
from sample_app.database import create_tables, engine
from sample_app.settings import settings
from sample_app.upstream import make_aiohttp_session, make_httpx_client


class State(TypedDict):
    """The names in ``request.state``."""

    aiohttp_session: aiohttp.ClientSession
    httpx_client: httpx2.AsyncClient
    jobs: JobStore
    limiter: Limiter


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[State]:
    """Open what the requests share; close it when the server stops, in the reverse order."""
    try:
        if settings.create_tables:
            await create_tables()
        async with make_aiohttp_session() as session, make_httpx_client() as client:
            yield {"aiohttp_session": session, "httpx_client": client, "jobs": JobStore(), "limiter": Limiter()}
    finally:
        await close_cache()
        await engine.dispose()
