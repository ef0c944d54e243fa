"""The bar: requests that run at the same time work in the sandbox as they do on a pool of connections."""

import asyncio

import pytest
from sqlalchemy import select

from pytest_asyncapi.database.interception import hooks
from pytest_asyncapi.database.sandbox import Links, RollbackSandbox
from pytest_asyncapi.database.sessions import fresh_session

TWENTY = [f"user{number:02}" for number in range(20)]


async def test_twenty_requests_at_the_same_time(app, sandbox):
    """20 of 20 that insert, wait and commit."""
    await asyncio.gather(*(app.request(email) for email in TWENTY))

    assert await app.emails() == TWENTY
    assert sandbox.warnings == []


async def test_half_of_them_fail(app, sandbox):
    """Exactly the rows of those that committed are there."""
    results = await asyncio.gather(
        *(app.request(email, fail=number % 2 == 0) for number, email in enumerate(TWENTY)), return_exceptions=True
    )

    assert [str(error) for error in results if error is not None] == TWENTY[::2]
    assert await app.emails() == TWENTY[1::2]


async def test_app_sees_what_the_test_has_flushed(app, session):
    """Uncommitted rows of the test's own session are there for twenty requests, which commit on top of them."""
    session.add(app.User(email="ada"))
    await session.flush()

    seen = await asyncio.gather(*(app.emails() for _ in range(5)), *(app.request(email) for email in TWENTY))

    assert all("ada" in emails for emails in seen[:5])
    assert await app.emails() == ["ada", *TWENTY]


async def test_test_reads_what_the_app_committed(app, session):
    """`select` and `get` give the committed state, also of objects that the session knows already."""
    ada = app.User(email="ada")
    session.add(ada)
    await session.commit()

    async with app.Session.begin() as other:
        (await other.get_one(app.User, ada.id)).email = "lovelace"

    assert (await session.get(app.User, ada.id)).email == "lovelace"
    async with app.Session.begin() as other:
        (await other.get_one(app.User, ada.id)).email = "countess"
    assert (await session.scalars(select(app.User))).one().email == "countess"
    assert ada.email == "countess"


async def test_first_checkouts_share_one_physical_connection(app, sandbox):
    """Twenty that connect at the same moment for the first time make one physical connection."""
    await asyncio.gather(*(app.emails() for _ in range(20)))

    assert len(list(sandbox.links)) == 1


async def test_links_are_kept_from_test_to_test(app):
    """In a loop that several tests share, the physical connection is made once, and each test finds an empty table."""
    async with Links() as links:
        for _ in range(3):
            async with RollbackSandbox(hooks, links) as sandbox, fresh_session(sandbox.engine(app.engine)) as session:
                session.add(app.User(email="ada"))
                await session.flush()
                await asyncio.gather(*(app.request(email) for email in TWENTY))
                assert await app.emails() == ["ada", *TWENTY]
            assert sandbox.leaks == []
            assert len(list(links)) == 1


def uvloop_loop():
    return pytest.importorskip("uvloop").new_event_loop()


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg", "file", "memory"])
def test_engine_of_the_import_in_a_loop_per_test(driver, new_loop, postgres, tmp_path, no_redirect, make_app):
    """One engine, a new event loop for each test: on asyncio and on uvloop."""
    app = make_app(driver, postgres, tmp_path)

    async def one_test(create: bool) -> list[str]:
        if create:
            await app.create()
            if driver != "memory":
                await app.engine.dispose()
        async with RollbackSandbox(hooks) as sandbox, fresh_session(sandbox.engine(app.engine)) as session:
            session.add(app.User(email="ada"))
            await session.flush()
            await asyncio.gather(*(app.request(email) for email in TWENTY))
            emails = await app.emails()
        assert sandbox.leaks == []
        return emails

    async def close() -> None:
        await app.engine.dispose()

    for number in range(3):
        with asyncio.Runner(loop_factory=new_loop) as runner:
            assert runner.run(one_test(create=number == 0)) == ["ada", *TWENTY]
            if number == 2:
                runner.run(close())
