"""Pattern 7: SQLAlchemy's session as a dependency: commit on success, rollback on error."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import func, select

from sample_app.database import get_session
from sample_app.models import User

ADA = {"name": "Ada", "email": "ada@example.com"}


@pytest.fixture
async def ada(db_session):
    """A user that is there before the test begins."""
    user = User(**ADA)
    db_session.add(user)
    await db_session.commit()
    return user


@pytest.mark.parametrize("run", ["first", "second"])
async def test_every_test_finds_an_empty_table(client, db_session, run):
    """Twice the same, in either order: what one run writes, the other doesn't see."""
    assert (await client.get("/users")).json() == []

    created = await client.post("/users", json=ADA)

    assert created.status_code == 201
    assert await db_session.scalar(select(func.count()).select_from(User)) == 1


async def test_a_created_user_is_in_the_database(client, db_session):
    response = await client.post("/users", json={"name": " Ada ", "email": "Ada@Example.com"})

    user = await db_session.get_one(User, response.json()["id"])

    assert response.status_code == 201
    assert (user.name, user.email) == ("Ada", "ada@example.com")


async def test_a_user_of_the_test_is_seen_by_the_app(client, ada):
    response = await client.get(f"/users/{ada.id}")

    assert response.status_code == 200
    assert response.json() == {"id": ada.id, **ADA}


async def test_an_unknown_user(client):
    response = await client.get("/users/4711")

    assert response.status_code == 404
    assert response.json() == {"detail": "user not found"}


async def test_a_taken_address_is_a_conflict_and_leaves_nothing(client, db_session, ada):
    conflict = await client.post("/users", json={"name": "Another", "email": ADA["email"]})
    other = await client.post("/users", json={"name": "Bob", "email": "bob@example.com"})

    assert conflict.status_code == 409
    assert conflict.json() == {"detail": "this e-mail address is taken"}
    assert other.status_code == 201
    names = await db_session.scalars(select(User.name).order_by(User.name))
    assert list(names) == ["Ada", "Bob"]


@pytest.mark.parametrize(
    "body", [{"name": "", "email": "a@example.com"}, {"name": "A", "email": "nowhere"}, {"name": "A"}, []]
)
async def test_a_wrong_user_is_not_created(client, body):
    assert (await client.post("/users", json=body)).status_code == 422
    assert (await client.get("/users")).json() == []


async def test_an_error_after_the_write_rolls_it_back(client, db_session):
    async def write_and_fail():
        async with asynccontextmanager(get_session)() as session:
            session.add(User(**ADA))
            await session.flush()
            raise RuntimeError("too late")

    with pytest.raises(RuntimeError, match="too late"):
        await write_and_fail()

    assert await db_session.scalar(select(func.count()).select_from(User)) == 0


async def test_pages(client, db_session):
    db_session.add_all([User(id=n, name=f"user {n}", email=f"user{n}@example.com") for n in range(1, 6)])
    await db_session.commit()

    first = (await client.get("/users", params={"limit": 2})).json()
    second = (await client.get("/users", params={"limit": 2, "after": first[-1]["id"]})).json()

    assert [user["id"] for user in first] == [1, 2]
    assert [user["id"] for user in second] == [3, 4]


async def test_a_list_is_one_query(client, db, db_session):
    db_session.add_all([User(name=f"user {n}", email=f"user{n}@example.com") for n in range(5)])
    await db_session.commit()

    with db.assert_queries(1):
        response = await client.get("/users")

    assert len(response.json()) == 5


async def test_users_created_at_once(client):
    responses = await asyncio.gather(
        *(client.post("/users", json={"name": f"user {n}", "email": f"user{n}@example.com"}) for n in range(10))
    )

    assert [response.status_code for response in responses] == [201] * 10
    assert len((await client.get("/users")).json()) == 10


async def test_of_equal_addresses_at_once_one_wins(client, db_session):
    responses = await asyncio.gather(*(client.post("/users", json=ADA) for _ in range(5)))

    assert sorted(response.status_code for response in responses) == [201, 409, 409, 409, 409]
    assert await db_session.scalar(select(func.count()).select_from(User)) == 1


@pytest.mark.db(isolation="commit")
async def test_the_commit_is_real(client, db_session):
    """With real commits: the session of the test sees the user in a transaction of its own."""
    response = await client.post("/users", json=ADA)

    assert (await db_session.get_one(User, response.json()["id"])).email == ADA["email"]
