"""pytest's side of the database room: the fixtures."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pytest_asyncapi.runner import LoopAnchor, fixture, public_fixture
from pytest_asyncapi.settings import Settings, settings_of

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

    from pytest_asyncapi.database.control import Database, Isolation
    from pytest_asyncapi.database.home import Home

ASKING = ("db_session", "db_engine", "db")
DATABASE = pytest.StashKey["Database"]()
LIBRARIES = ("sqlalchemy", "asyncpg", "psycopg", "aiosqlite")


def may_connect() -> bool:
    """Whether the app may have to do with a database: whether a library is imported that speaks to one.

    Django brings psycopg too. Its connections are synchronous, and their test database is Django's own.
    """
    imported = [name for name in LIBRARIES if name in sys.modules]
    return bool(imported) and not (imported == ["psycopg"] and "django.db.backends.postgresql.base" in sys.modules)


class Plan(NamedTuple):
    """What a test needs of its database."""

    home: Home
    isolation: Isolation
    lock_timeout: float


@pytest.fixture(scope="session")
def db_schema(request: pytest.FixtureRequest) -> Any:
    """Where the tables come from; override it to return metadata, a path, a function of a connection, or a list."""
    return settings_of(request.config).schema


@pytest.fixture(scope="session")
def _asyncapi_database_home(request: pytest.FixtureRequest, db_schema: Any) -> Iterator[Home]:
    from pytest_asyncapi.database import workers
    from pytest_asyncapi.database.home import Home, Wishes
    from pytest_asyncapi.database.hooks import guard_of
    from pytest_asyncapi.database.interception import hooks

    settings = settings_of(request.config)
    worker = getattr(request.config, "workerinput", {})
    home = Home(
        Wishes(
            database=settings.database,
            server=settings.database_server,
            server_named_by=_named_by(settings),
            redirect=settings.redirect,
            reuse=settings.reuse_db,
            create=settings.create_db,
            root=request.config.rootpath,
            run=workers.run_id(worker.get("testrunuid")),
            worker=worker.get("workerid", "main"),
        ),
        db_schema,
    )
    guard = guard_of(request.config)
    guard.home = home
    hooks.install()
    try:
        yield home
    finally:
        hooks.uninstall()
        guard.home = None
        home.close()


def _named_by(settings: Settings) -> str:
    source = settings.sources.get("database_server", "")
    return source if source == "DATABASE_URL" else f"asyncapi_database_server ({source})"


@pytest.fixture
def _asyncapi_database_plan(request: pytest.FixtureRequest) -> Plan | None:
    """The plan of this test, made outside of the event loop: a server may have to be started."""
    settings = settings_of(request.node)
    asked = next((name for name in ASKING if f"asyncapi_{name}" in request.fixturenames), None)
    if settings.database == "none":
        if asked:
            pytest.fail(
                f"fixture {asked!r} needs a test database, and asyncapi_database = none says that there is to be none.",
                pytrace=False,
            )
        return None
    _load_app(request, settings)
    if asked:
        _require_library(asked)
    elif not may_connect():
        return None
    from pytest_asyncapi.database.hooks import guard_of
    from pytest_asyncapi.errors import AsyncAPIError

    guard_of(request.config).served = True
    home: Home = request.getfixturevalue("_asyncapi_database_home")
    try:
        home.prepare()
        if asked:
            home.store()
    except AsyncAPIError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    return Plan(home, _isolation(request.node, settings), settings.lock_timeout)


def _load_app(request: pytest.FixtureRequest, settings: Settings) -> None:
    """Have the app imported, with its engines; what is wrong with it is told by who needs it."""
    if "asgi_app" in request.fixturenames:
        try:
            request.getfixturevalue("asgi_app")
        except pytest.FixtureLookupError:  # the user's own one asks for the database
            return
    elif settings.app:
        import importlib
        from contextlib import suppress

        with suppress(Exception):
            importlib.import_module(settings.app.partition(":")[0])


def _require_library(wanted: str) -> None:
    from importlib.util import find_spec

    if wanted == "db":
        if all(find_spec(name) is None for name in LIBRARIES):
            pytest.fail(
                f"fixture {wanted!r} needs SQLAlchemy, asyncpg, psycopg or aiosqlite, and none of them is installed: "
                "pip install 'pytest-asyncapi[sqlalchemy]', or 'pytest-asyncapi[postgres]' for PostgreSQL.",
                pytrace=False,
            )
    elif find_spec("sqlalchemy") is None:
        pytest.fail(
            f"fixture {wanted!r} needs SQLAlchemy, which is not installed: pip install 'pytest-asyncapi[sqlalchemy]'"
            " (or 'pytest-asyncapi[postgres]', with asyncpg and a PostgreSQL server).",
            pytrace=False,
        )
    else:
        import sqlalchemy  # noqa: F401


def _isolation(item: pytest.Item, settings: Settings) -> Isolation:
    from pytest_asyncapi.database.control import Isolation

    name = settings.isolation
    if settings.live and name == "rollback":
        return Isolation("commit", "--live makes real commits")
    if any(mark.kwargs.get("isolation") is not None for mark in item.iter_markers("db")):
        return Isolation(name, f"@pytest.mark.db(isolation={name!r})")
    source = settings.sources.get("isolation")
    return Isolation(name, f"asyncapi_isolation in {source}" if source else "the default")


@fixture
async def _asyncapi_database(
    request: pytest.FixtureRequest, _asyncapi_loop: LoopAnchor, _asyncapi_database_plan: Plan | None
) -> AsyncIterator[Database | None]:
    """The database of this test, in its isolation; None when the test can have nothing to do with one."""
    plan = _asyncapi_database_plan
    if plan is None:
        yield None
        return
    from pytest_asyncapi.database.control import Database, LoopDatabases

    loop = await _asyncapi_loop.get("database", lambda: LoopDatabases(plan.home))
    async with Database(plan.home, loop, plan.isolation, lock_timeout=plan.lock_timeout) as database:
        request.node.stash[DATABASE] = database
        yield database


@public_fixture
def db(_asyncapi_database: Database | None) -> Database:
    """The control of the test database: its `isolation`, `queries`, `assert_queries(n)`, `savepoint()`, `session()`."""
    if _asyncapi_database is None:
        pytest.fail(
            "the test database was asked for too late: take the fixture as an argument of the test", pytrace=False
        )
    return _asyncapi_database


@public_fixture
def db_engine(asyncapi_db: Database) -> AsyncEngine:
    """An engine of the test's own on the test database."""
    return asyncapi_db.engine


@public_fixture
def db_session(asyncapi_db: Database) -> AsyncSession:
    """A session of the test's own. The app sees what it has flushed, and it reads what the app has committed."""
    return asyncapi_db.session()
