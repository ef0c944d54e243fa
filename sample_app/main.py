"""The app: ``uvicorn sample_app.main:app``.

| topic | module |
|---|---|
| `await`, threads, turns | `basics`, `items`, `dependencies` |
| arithmetic in a thread | `compute`, `mixed` |
| work after the response | `background` |
| many jobs, few at a time | `batch` |
| streaming | `streaming` |
| SQLAlchemy | `database`, `models`, `users` |
| asyncpg | `raw_database` |
| Redis or memory | `cache`, `caching` |
| other services | `upstream`, `proxy`, `mixed` |
| acquire and release | `resources` |
| errors | `errors` |
| metrics | `metrics` |
| how not to do it | `pitfalls` |
"""

from fastapi import FastAPI

from sample_app import (
    background,
    basics,
    batch,
    caching,
    compute,
    dependencies,
    errors,
    items,
    metrics,
    mixed,
    pitfalls,
    proxy,
    raw_database,
    resources,
    streaming,
    users,
)
from sample_app.lifespan import lifespan
from sample_app.settings import settings

TOPICS = (
    basics,
    items,
    dependencies,
    compute,
    mixed,
    background,
    batch,
    streaming,
    users,
    raw_database,
    caching,
    proxy,
    resources,
    errors,
    metrics,
)


def create_app(*, with_pitfalls: bool) -> FastAPI:
    """All topics under one app; the pitfalls only when asked for."""
    made = FastAPI(title="Sample app", lifespan=lifespan)
    made.add_middleware(metrics.MetricsMiddleware)
    errors.install_handlers(made)
    for topic in TOPICS:
        made.include_router(topic.router)
    if with_pitfalls:
        made.include_router(pitfalls.router)
    return made


app = create_app(with_pitfalls=settings.pitfalls)
