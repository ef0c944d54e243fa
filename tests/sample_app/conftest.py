"""The environment that the app is tested in, set before it is imported, as its deployment would set it.

Neither host exists: the plugin answers for both. Another environment may be given from outside, for instance
``SAMPLE_APP_DATABASE_URL=sqlite+aiosqlite:///app.db pytest tests/sample_app``.
"""

import os

import pytest

os.environ.setdefault("SAMPLE_APP_DATABASE_URL", "postgresql+asyncpg://app:secret@db.internal:5432/app")
os.environ.setdefault("SAMPLE_APP_REDIS_URL", "redis://cache.internal:6379/0")
os.environ.setdefault("SAMPLE_APP_PITFALLS", "1")
os.environ.setdefault("SAMPLE_APP_CREATE_TABLES", "0")  # as where migrations make them: here the plugin does

UPSTREAM = "https://api.example.com/data"


@pytest.fixture
def upstream_url():
    """The service behind /proxy and /mixed-endpoint."""
    return UPSTREAM


@pytest.fixture
def metric():
    """Reads a metric of the app by its name and labels, `metric("open_streams")`; 0 when it was never counted."""
    from sample_app.metrics import REGISTRY

    def read(name, **labels):
        return REGISTRY.get_sample_value(name, labels) or 0

    return read
