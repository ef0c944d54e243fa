"""Patterns 18 and 19: asyncpg without SQLAlchemy."""

import asyncio

import asyncpg
import pytest

from sample_app.models import User
from sample_app.raw_database import AsyncDatabaseConnection, get_dsn, postgres_dsn
from sample_app.settings import settings

DSN = postgres_dsn(settings.database_url)
needs_postgresql = pytest.mark.skipif(DSN is None, reason="SAMPLE_APP_DATABASE_URL names no PostgreSQL")


@needs_postgresql
async def test_the_driver_sees_what_the_session_wrote(client, db_session):
    db_session.add_all(
        [User(id=2, name="Bob", email="bob@example.com"), User(id=1, name="Ada", email="ada@example.com")]
    )
    await db_session.commit()

    response = await client.get("/data")

    assert response.json() == [
        {"id": 1, "name": "Ada", "email": "ada@example.com"},
        {"id": 2, "name": "Bob", "email": "bob@example.com"},
    ]


@needs_postgresql
async def test_the_rows_are_limited(client, db_session):
    db_session.add_all([User(name=f"user {n}", email=f"user{n}@example.com") for n in range(5)])
    await db_session.commit()

    assert len((await client.get("/data", params={"limit": 2})).json()) == 2
    assert (await client.get("/data", params={"limit": 101})).status_code == 422


@needs_postgresql
async def test_a_connection_is_open_inside_its_block_only(db):
    async with AsyncDatabaseConnection(DSN) as connection:
        assert await connection.fetchval("SELECT 6 * 7") == 42

    assert connection.is_closed()


@needs_postgresql
async def test_a_connection_is_closed_after_an_error(db):
    with pytest.raises(asyncpg.UndefinedTableError):
        async with AsyncDatabaseConnection(DSN) as connection:
            await connection.fetch("SELECT * FROM nowhere")

    assert connection.is_closed()


@needs_postgresql
async def test_a_connection_is_closed_after_a_cancellation(db):
    opened = asyncio.get_running_loop().create_future()

    async def hold():
        async with AsyncDatabaseConnection(DSN) as connection:
            opened.set_result(connection)
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    await asyncio.wait([task, opened], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await task  # where nothing can be opened, that is the error
    connection = opened.result()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert connection.is_closed()


async def test_without_postgresql_the_answer_says_so(client, asgi_app, monkeypatch):
    monkeypatch.setitem(asgi_app.dependency_overrides, get_dsn, lambda: None)

    response = await client.get("/data")

    assert response.status_code == 503
    assert "needs PostgreSQL" in response.json()["detail"]


async def test_a_database_that_is_down(client, asgi_app, monkeypatch):
    async def refuse(*args, **kwargs):
        raise ConnectionRefusedError

    monkeypatch.setitem(asgi_app.dependency_overrides, get_dsn, lambda: "postgresql://db.internal/app")
    monkeypatch.setattr(asyncpg, "connect", refuse)

    response = await client.get("/data")

    assert response.status_code == 503
    assert response.json() == {"detail": "the database does not answer"}


@pytest.mark.parametrize(
    ("url", "dsn"),
    [
        ("postgresql+asyncpg://app:secret@db:5432/app", "postgresql://app:secret@db:5432/app"),
        ("postgresql+asyncpg://app:p%40ss@db/app", "postgresql://app:p%40ss@db/app"),
        ("sqlite+aiosqlite:///app.db", None),
    ],
)
def test_the_dsn_of_a_sqlalchemy_url(url, dsn):
    assert postgres_dsn(url) == dsn
