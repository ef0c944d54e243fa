"""What users bring along: SQLModel's sessions, factories; and a cost that does not grow."""

from importlib.util import find_spec

import pytest

SQLMODEL = """
import os
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import Field, SQLModel, select
from sqlmodel.ext.asyncio.session import AsyncSession

class Hero(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str

engine = create_async_engine(os.environ["SHOP_URL"])

async def add(name):
    async with AsyncSession(engine) as session:
        session.add(Hero(name=name))
        await session.commit()
"""


@pytest.mark.skipif(find_spec("sqlmodel") is None, reason="sqlmodel is not installed")
def test_sqlmodel(shop):
    """`db.session(AsyncSession)` of SQLModel has its `exec`, and reads what is fresh."""
    result = shop(
        "sqlite",
        """
import heroes
from heroes import AsyncSession, Hero

async def test_one(db):
    session = db.session(AsyncSession)
    await heroes.add("Ada")
    hero = (await session.exec(heroes.select(Hero))).one()
    assert hero.name == "Ada"
    async with AsyncSession(heroes.engine) as other:
        (await other.get(Hero, hero.id)).name = "Bob"
        await other.commit()
    assert (await session.exec(heroes.select(Hero))).one().name == "Bob"
    assert (await session.get(Hero, hero.id)).name == "Bob"
""",
        "-o",
        "asyncapi_schema=heroes:SQLModel.metadata",
        heroes=SQLMODEL,
    )

    result.assert_outcomes(passed=1)


@pytest.mark.skipif(not (find_spec("polyfactory") and find_spec("factory")), reason="no factories installed")
def test_factories(shop):
    """polyfactory persists through the session; factory_boy builds, and the session adds."""
    result = shop(
        "sqlite",
        """
import factory
from polyfactory.factories.sqlalchemy_factory import SQLAlchemyFactory

class Poly(SQLAlchemyFactory[shop.User]):
    pass

class Boy(factory.Factory):
    class Meta:
        model = shop.User
    email = factory.Sequence(lambda n: f"{n}@example.com")

@pytest.fixture(autouse=True)
def factories(db_session):
    Poly.__async_session__ = db_session

async def test_polyfactory():
    users = await Poly.create_batch_async(3)
    assert await shop.emails() == sorted(user.email for user in users)

async def test_factory_boy(db_session):
    db_session.add_all(Boy.build_batch(3))
    await db_session.flush()
    assert len(await shop.emails()) == 3
""",
    )

    result.assert_outcomes(passed=2)


def test_the_schema_is_not_among_the_queries(shop):
    """Nor is anything else that the harness does."""
    result = shop(
        "asyncpg",
        """
@pytest.mark.parametrize("isolation", ["rollback", "commit", "database"])
async def test_one(db, isolation, request):
    await shop.add("a")
    async with db.outside():
        pass
    assert [query.sql.split()[0] for query in db.queries] == ["INSERT"]
""",
    )

    result.assert_outcomes(passed=3)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["sqlite", "asyncpg", "psycopg"])
def test_a_thousand_tests_grow_neither_memory_nor_connections(shop, kind):
    """Loops of their own, so that every test connects anew."""
    result = shop(
        kind,
        """
import gc, pathlib

seen = {}

def used():
    gc.collect()
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

@pytest.mark.parametrize("n", range(1000))
async def test_one(db, db_session, n):
    if n % 10 == 9:
        await shop.add("a")
    async with shop.Session() as session:
        session.add(shop.User(email="b"))
        await session.commit()
    assert len((await db_session.scalars(select(shop.User))).all()) == 1 + (n % 10 == 9)
    if n in (100, 999):
        query = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        postgres = db.dialect == "postgresql"
        if postgres:
            connections = await db_session.scalar(text(query))
        else:
            connections = len(list(pathlib.Path("/proc/self/fd").iterdir()))
        seen[n] = (used(), connections)

def test_growth():
    memory, connections = (late - early for early, late in zip(seen[100], seen[999]))
    print(f"{memory:.1f} MB, {connections} connections")
    assert memory < 20
    assert connections <= 1
""",
        "-s",
    )

    result.assert_outcomes(passed=1001)


def test_a_failing_test_shows_its_own_queries_only(shop):
    """Not those of its fixtures: a test that has sent none shows no database."""
    result = shop(
        "sqlite",
        """
@pytest.fixture
async def seed(db):
    await shop.add("seed@example.com")

async def test_none(seed):
    assert False

async def test_one(seed):
    await shop.emails()
    assert False
""",
    )

    result.assert_outcomes(failed=2)
    text = result.stdout.str()
    assert text.count("- database -") == 1
    assert "1 query in" in text
    assert "INSERT" not in text


def test_lines_are_absolute_and_normal(shop, pytester):
    """However the directory of the code came into `sys.path`."""
    result = shop(
        "sqlite",
        """
import sys
sys.path.insert(0, "./sub/../sub")
import late

async def test_one(db):
    await late.ask(shop.engine)
    assert db.queries[0].site.file == LATE
""".replace("LATE", repr(str(pytester.path / "sub" / "late.py"))),
        **{
            "sub/late": "from sqlalchemy import text\nasync def ask(engine):\n"
            "    async with engine.connect() as connection:\n        await connection.execute(text('SELECT 1'))\n"
        },
    )

    result.assert_outcomes(passed=1)
