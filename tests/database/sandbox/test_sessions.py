"""Sessions of the test itself."""

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload  # noqa: F401 - that the import works on both versions is the point

from pytest_asyncapi.database.sessions import fresh_session


async def test_it_is_an_async_session(app, sandbox):
    async with fresh_session(sandbox.engine(app.engine)) as session:
        assert isinstance(session, AsyncSession)


async def test_attributes_after_a_commit(app, session):
    """Nothing expires: reading an attribute sends no query, which an AsyncSession could not await."""
    ada = app.User(email="ada")
    session.add(ada)
    await session.commit()
    assert ada.email == "ada"


async def test_changes_that_are_not_flushed_are_not_lost_by_a_read(app, session):
    ada = app.User(email="ada")
    session.add(ada)
    await session.flush()
    ada.email = "lovelace"
    assert (await session.scalars(select(app.User))).one().email == "lovelace"


@pytest.mark.parametrize("read", ["get", "get_one", "scalar", "refresh"])
async def test_reads_are_fresh(app, session, read):
    ada = app.User(email="ada")
    session.add(ada)
    await session.commit()
    async with app.Session.begin() as other:
        (await other.get(app.User, ada.id)).email = "lovelace"
    match read:
        case "get":
            await session.get(app.User, ada.id)
        case "get_one":
            await session.get_one(app.User, ada.id)
        case "scalar":
            await session.scalar(select(app.User))
        case "refresh":
            await session.refresh(ada)
    assert ada.email == "lovelace"


async def test_session_class_of_another_library(app, sandbox):
    """SQLModel's AsyncSession, or one of your own."""

    class Mine(AsyncSession):
        async def exec(self, statement):
            return await self.scalars(statement)

    async with fresh_session(sandbox.engine(app.engine), Mine) as session:
        assert isinstance(session, Mine)
        session.add(app.User(email="ada"))
        assert (await session.exec(select(app.User))).one().email == "ada"
