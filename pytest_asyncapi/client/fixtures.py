"""The fixtures of the client room: `asgi_app`, `client`, `client_factory`, `override`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_asyncapi.client.hooks import APP_SCOPES, RECORDER
from pytest_asyncapi.loops import SCOPES, runner_of
from pytest_asyncapi.per_test import entered
from pytest_asyncapi.runner import loop_anchor, public_fixture
from pytest_asyncapi.settings import Settings, settings_of

if TYPE_CHECKING:
    from pytest_asyncapi.asgi import ASGIApp
    from pytest_asyncapi.client.async_client import AsyncClient
    from pytest_asyncapi.client.overrides import Overrides
    from pytest_asyncapi.runner import LoopAnchor


_DATABASE_LIBRARIES = ("sqlalchemy", "asyncpg", "psycopg", "aiosqlite")  # the database room has the last word
_CHECKED = pytest.StashKey[Any]()  # the app that was found to be one


@pytest.fixture(scope="session")
def asgi_app(request: pytest.FixtureRequest) -> Any:
    """The ASGI app under test, from `asyncapi_app`; override this fixture to make it yourself."""
    __tracebackhide__ = True
    from pytest_asyncapi.client.loading import NO_APP, load_app
    from pytest_asyncapi.errors import ConfigurationError

    name = settings_of(request.config).app
    if not name:
        pytest.fail(NO_APP, pytrace=False)
    try:
        return load_app(name)
    except ConfigurationError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


class Plan:
    """What the client of a test is to be; decided outside of the event loop."""

    __slots__ = ("anchor", "app", "database", "recorder", "settings", "shared")

    def __init__(
        self, app: ASGIApp, settings: Settings, anchor: LoopAnchor | None, shared: bool, database: Any
    ) -> None:
        from pytest_asyncapi.client.recorder import KEPT, Recorder

        self.app = app
        self.settings = settings
        self.anchor = anchor  # None where the loop is this test's own
        self.shared = shared  # whether the lifespan outlives the test
        self.database = database  # the test's database, if it has one
        self.recorder = Recorder(KEPT) if settings.report else Recorder()


@pytest.fixture
def _asyncapi_client_plan(request: pytest.FixtureRequest, asgi_app: ASGIApp) -> Iterator[Plan]:
    """The plan, and the sandbox with it: each further async fixture costs a test more than its request does."""
    from asyncio import _get_running_loop

    settings = settings_of(request.node)
    _check(asgi_app, request.config)
    runner = runner_of(request.node, "client")
    own_loop = runner.kind == "asyncio" and runner.loop_scope == "function" and _get_running_loop() is None
    has_database = (
        settings.database != "none"
        and any(name in sys.modules for name in _DATABASE_LIBRARIES)  # else there is nothing to ask the plan for
        and request.getfixturevalue("_asyncapi_database_plan") is not None
    )
    anchor = None
    if not own_loop or has_database or not _begin_loop(request):
        anchor = loop_anchor(request, "client")
    database = request.getfixturevalue("_asyncapi_database") if has_database else None
    scope = request.config.stash.get(APP_SCOPES, {}).get(id(asgi_app), "function")
    shared = (
        settings.lifespan == "auto"
        and runner.loop_scope != "function"
        and SCOPES.index(scope) >= SCOPES.index(runner.loop_scope)
    )
    plan = Plan(asgi_app, settings, anchor, shared, database)
    request.node.stash[RECORDER] = plan.recorder
    with contextlib.ExitStack() as stack:
        entered("_asyncapi_redis", request, stack)
        if settings.block_network is not False:  # what the app asks for outside is answered, or refused
            entered("_asyncapi_guard", request, stack)
        yield plan


def _begin_loop(request: pytest.FixtureRequest) -> bool:
    """Have pytest-asyncio make the test's loop now, so that it outlives the sandbox, which closes connections in it.

    An anchor does so too, and costs as much as the request of a small test. False where the name below is not there.
    """
    try:
        request.getfixturevalue("_function_scoped_runner")
    except pytest.FixtureLookupError:
        return False
    return True


def _check(app: Any, config: pytest.Config) -> None:
    if config.stash.get(_CHECKED, None) is app and app is not None:
        return
    from pytest_asyncapi.client.loading import checked
    from pytest_asyncapi.errors import ConfigurationError

    try:
        checked(app, "the fixture asgi_app")
    except ConfigurationError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    config.stash[_CHECKED] = app


@public_fixture
async def client(_asyncapi_client_plan: Plan) -> AsyncIterator[AsyncClient]:
    """An httpx2 (or httpx) AsyncClient of the app, which runs in this process, its lifespan with it."""
    __tracebackhide__ = True
    from pytest_asyncapi.client.assembly import open_client
    from pytest_asyncapi.errors import ConfigurationError, LifespanError

    async with contextlib.AsyncExitStack() as ending:
        try:
            opened = await open_client(_asyncapi_client_plan, ending)
        except (LifespanError, ConfigurationError) as error:  # it says all: the app has no traceback of its own
            raise pytest.fail.Exception(str(error), pytrace=False) from None
        yield opened


@public_fixture
async def client_factory(asyncapi_client: AsyncClient) -> AsyncIterator[Callable[..., AsyncClient]]:
    """Makes more clients: `client_factory(base_url=..., headers=..., client=("10.0.0.7", 4000), app=another_app)`."""
    from pytest_asyncapi.client.assembly import ClientFactory

    async with ClientFactory(asyncapi_client) as factory:
        yield factory


@public_fixture
def override(request: pytest.FixtureRequest, asgi_app: Any) -> Iterator[Overrides]:
    """Replaces a FastAPI dependency until the end of the test: `override(get_settings, Settings(debug=True))`."""
    from pytest_asyncapi.client.overrides import Overrides

    overrides = Overrides(lambda: asgi_app)
    yield overrides
    overrides.undo()
