"""The fixtures of the client room: `asgi_app`, `client`, `client_factory`, `override`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_asyncapi.client.hooks import APP_SCOPES, RECORDER
from pytest_asyncapi.loops import SCOPES, runner_of
from pytest_asyncapi.runner import public_fixture
from pytest_asyncapi.settings import Settings, settings_of

if TYPE_CHECKING:
    from pytest_asyncapi.asgi import ASGIApp
    from pytest_asyncapi.client.async_client import AsyncClient
    from pytest_asyncapi.client.overrides import Overrides
    from pytest_asyncapi.runner import LoopAnchor


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

    __slots__ = ("anchor", "app", "recorder", "settings", "shared")

    def __init__(self, app: ASGIApp, settings: Settings, anchor: LoopAnchor | None, shared: bool) -> None:
        from pytest_asyncapi.client.recorder import Recorder

        self.app = app
        self.recorder = Recorder()
        self.settings = settings
        self.anchor = anchor  # None where the loop is this test's own
        self.shared = shared  # whether the lifespan outlives the test


@pytest.fixture
def _asyncapi_client_plan(request: pytest.FixtureRequest, asgi_app: ASGIApp) -> Plan:
    from asyncio import _get_running_loop

    from pytest_asyncapi.client.loading import checked
    from pytest_asyncapi.errors import ConfigurationError

    settings = settings_of(request.node)
    try:
        checked(asgi_app, "the fixture asgi_app")
    except ConfigurationError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    runner = runner_of(request.node, "client")
    if runner.kind == "asyncio" and runner.loop_scope == "function" and _get_running_loop() is None:
        plan = Plan(asgi_app, settings, None, False)  # the loop is this test's own: nothing to share
        request.node.stash[RECORDER] = plan.recorder
        return plan
    scope = request.config.stash.get(APP_SCOPES, {}).get(id(asgi_app), "function")
    shared = (
        settings.lifespan == "auto"
        and runner.loop_scope != "function"
        and SCOPES.index(scope) >= SCOPES.index(runner.loop_scope)
    )
    plan = Plan(asgi_app, settings, request.getfixturevalue("_asyncapi_loop"), shared)
    request.node.stash[RECORDER] = plan.recorder
    return plan


@public_fixture
async def client(
    _asyncapi_client_plan: Plan, _asyncapi_redis: Any, _asyncapi_database: Any
) -> AsyncIterator[AsyncClient]:
    """An httpx2 (or httpx) AsyncClient of the app, which runs in this process, its lifespan with it."""
    __tracebackhide__ = True
    from pytest_asyncapi.client.assembly import open_client
    from pytest_asyncapi.errors import LifespanError

    manager = open_client(_asyncapi_client_plan, _asyncapi_database)
    try:
        opened = await manager.__aenter__()
    except LifespanError as error:  # it says all: the app has no traceback of its own
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    try:
        yield opened
    finally:
        await manager.__aexit__(None, None, None)


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
