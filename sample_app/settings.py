"""What the environment decides: every field is read from ``SAMPLE_APP_<FIELD>``.

The defaults need no server: a SQLite file in the current directory and a cache in the process.
"""

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read once, at import, because the engine and the cache client are made at import too."""

    model_config = SettingsConfigDict(env_prefix="SAMPLE_APP_", frozen=True)

    database_url: str = "sqlite+aiosqlite:///sample_app.db"
    """A SQLAlchemy URL with an asynchronous driver: ``sqlite+aiosqlite://`` or ``postgresql+asyncpg://``."""

    create_tables: bool = True
    """Create missing tables at start-up. A deployment with migrations turns this off."""

    redis_url: str | None = None
    """``redis://host:6379/0``; without it the cache lives in this process."""

    upstream_url: str = "https://api.example.com/data"
    """The service that `sample_app.proxy` and `sample_app.mixed` ask for JSON."""

    pitfalls: bool = False
    """Mount ``/pitfalls``, the endpoints that block the event loop on purpose."""


settings = Settings()
