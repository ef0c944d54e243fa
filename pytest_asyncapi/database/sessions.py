"""Sessions for the test itself: what they read is what the database holds now."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import ORMExecuteState

FRESH = {"populate_existing": True}


class FreshSession(AsyncSession):
    """An `AsyncSession` whose reads bring what others have committed since into the objects that it knows already."""

    async def get(self, entity: Any, ident: Any, **options: Any) -> Any:
        """As `AsyncSession.get()`, but always from the database."""
        return await super().get(entity, ident, **{**FRESH, **options})

    async def get_one(self, entity: Any, ident: Any, **options: Any) -> Any:
        """As `AsyncSession.get_one()`, but always from the database."""
        return await super().get_one(entity, ident, **{**FRESH, **options})


def fresh_session(engine: AsyncEngine, session_class: type[AsyncSession] | None = None, **options: Any) -> AsyncSession:
    """A session with `expire_on_commit=False` whose `select` and `get` are never stale.

    `session_class` may be SQLModel's `AsyncSession`, or one of your own.
    """
    kind = FreshSession if session_class is None else type(session_class.__name__, (FreshSession, session_class), {})
    session: AsyncSession = kind(engine, expire_on_commit=False, **options)
    event.listen(session.sync_session, "do_orm_execute", _populate_existing)
    return session


def _populate_existing(state: ORMExecuteState) -> None:
    if state.is_select and not state.is_column_load and not state.is_relationship_load:
        state.update_execution_options(**FRESH)
