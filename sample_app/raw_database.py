"""PostgreSQL through its driver, without SQLAlchemy: for what an ORM would only slow down.

A connection a request is the plain form; where requests are many, keep an `asyncpg.Pool` for the app's lifespan.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Annotated, Any

import asyncpg
from fastapi import APIRouter, Depends, HTTPException, Query, status
from sqlalchemy import make_url

from sample_app.settings import settings

router = APIRouter(tags=["database"])

TIMEOUT = 5.0


class AsyncDatabaseConnection:
    """``async with AsyncDatabaseConnection(dsn) as connection``: open in the block, closed after it, whatever happens.

    When the server does not answer the farewell within `timeout`, or the task is cancelled meanwhile, asyncpg drops the
    socket: the connection never outlives the block.
    """

    def __init__(self, dsn: str, *, timeout: float = TIMEOUT) -> None:
        self._dsn = dsn
        self._timeout = timeout
        self._connection: asyncpg.Connection | None = None

    async def __aenter__(self) -> asyncpg.Connection:
        self._connection = await asyncpg.connect(self._dsn, timeout=self._timeout)
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close(timeout=self._timeout)


def postgres_dsn(database_url: str) -> str | None:
    """What asyncpg understands of a SQLAlchemy URL; None when the database isn't PostgreSQL."""
    url = make_url(database_url)
    if url.get_backend_name() != "postgresql":
        return None
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def get_dsn() -> str | None:
    """The app's database, for asyncpg; a dependency of its own, so that a test can name another."""
    return postgres_dsn(settings.database_url)


async def get_connection(dsn: Annotated[str | None, Depends(get_dsn)]) -> AsyncIterator[asyncpg.Connection]:
    """A connection for one request; 503 when there is none to be had."""
    if dsn is None:
        raise HTTPException(
            status.HTTP_503_SERVICE_UNAVAILABLE, "this endpoint needs PostgreSQL; SAMPLE_APP_DATABASE_URL names another"
        )
    async with AsyncExitStack() as stack:
        try:
            connection = await stack.enter_async_context(AsyncDatabaseConnection(dsn))
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise HTTPException(status.HTTP_503_SERVICE_UNAVAILABLE, "the database does not answer") from error
        yield connection


@router.get("/data")
async def get_data(
    connection: Annotated[asyncpg.Connection, Depends(get_connection, scope="function")],
    limit: Annotated[int, Query(ge=1, le=100)] = 100,
) -> list[dict[str, Any]]:
    """The first users, as the driver gives them."""
    rows = await connection.fetch("SELECT id, name, email FROM users ORDER BY id LIMIT $1", limit)
    return [dict(row) for row in rows]
