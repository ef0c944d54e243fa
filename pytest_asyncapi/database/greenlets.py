"""SQLAlchemy's bridge between its synchronous inside and asyncio, under the names of 2.1."""

from __future__ import annotations

from typing import Any

from sqlalchemy.util import concurrency

await_: Any = getattr(concurrency, "await_", None) or concurrency.await_only
greenlet_spawn: Any = concurrency.greenlet_spawn
