"""What lives as long as the app, and what the environment decides."""

import pytest

from sample_app import lifespan
from sample_app.settings import Settings


async def test_what_requests_share_is_closed_at_the_end(asgi_app, db):
    async with asgi_app.router.lifespan_context(asgi_app) as state:
        session, client = state["aiohttp_session"], state["httpx_client"]

        assert not session.closed
        assert not client.is_closed

    assert session.closed
    assert client.is_closed


@pytest.mark.parametrize("create", [True, False])
async def test_missing_tables_are_created_where_no_migration_does_it(asgi_app, db, monkeypatch, create):
    monkeypatch.setattr(lifespan, "settings", Settings(create_tables=create))

    async with asgi_app.router.lifespan_context(asgi_app):
        pass

    assert bool(db.queries) is create  # it asks which tables are there


def test_the_defaults_need_no_server(monkeypatch):
    for name in ("DATABASE_URL", "CREATE_TABLES", "REDIS_URL", "PITFALLS"):
        monkeypatch.delenv(f"SAMPLE_APP_{name}", raising=False)

    settings = Settings()

    assert settings.database_url.startswith("sqlite+aiosqlite://")
    assert settings.create_tables is True
    assert settings.redis_url is None
    assert settings.pitfalls is False


def test_the_environment_decides(monkeypatch):
    monkeypatch.setenv("SAMPLE_APP_REDIS_URL", "redis://elsewhere:6379/3")
    monkeypatch.setenv("SAMPLE_APP_CREATE_TABLES", "0")

    settings = Settings()

    assert settings.redis_url == "redis://elsewhere:6379/3"
    assert settings.create_tables is False
