"""The engine, and the session that an endpoint asks for.

The engine is made at import and connects on first use; its pool belongs to the process, not to a request.
"""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from sample_app.models import Base
from sample_app.settings import settings

engine = create_async_engine(settings.database_url)
session_maker = async_sessionmaker(engine, expire_on_commit=False)


async def create_tables() -> None:
    """Create the tables that are missing."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)


async def get_session() -> AsyncIterator[AsyncSession]:
    """A session in a transaction: committed when the endpoint returns, rolled back when it raises."""
    async with session_maker() as session, session.begin():
        yield session


# `scope="function"` ends the transaction before the response is sent. With FastAPI's default it would end after that:
# the client could read too early what it has just written, and would take a failed commit for a success.
Session = Annotated[AsyncSession, Depends(get_session, scope="function")]
