"""What all tests of the project share: pytester, and the event loop that an environment of tox asks for."""

import contextlib
import importlib
import os
import pkgutil

import pytest

import pytest_asyncapi

pytest_plugins = ["pytester"]

# The runs of pytester print what a developer's terminal shows: pytest shortens nothing where these are set.
for name in ("CI", "BUILD_NUMBER", "GITHUB_ACTIONS"):
    os.environ.pop(name, None)

LOOP = os.environ.get("ASYNCAPI_TEST_LOOP", "asyncio")

LIBRARIES = """
    aiohttp aiosqlite asyncpg psycopg sqlalchemy sqlalchemy.ext.asyncio alembic.command redis redis.asyncio valkey
    valkey.asyncio fakeredis aiocache cashews fastapi starlette.testclient uvicorn websockets wsproto httpx httpx2
    httpx_ws respx jsonschema time_machine requests openai anthropic
"""


@pytest.fixture(scope="session")
def _each_library_once() -> None:
    """Import everything once.

    pytester forgets what its runs in this process import, and a second copy of a library (or of a module of ours that
    has hooked one) next to the first would be hooked by nobody, or twice. It forgets nothing that was there before.
    """
    ours = (module.name for module in pkgutil.walk_packages(pytest_asyncapi.__path__, "pytest_asyncapi."))
    for name in (*LIBRARIES.split(), *ours):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


@pytest.fixture
def pytester(_each_library_once: None, pytester: pytest.Pytester) -> pytest.Pytester:
    """pytest's own, in a process that has imported everything."""
    return pytester


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


if LOOP == "uvloop":

    @pytest.fixture(scope="session")
    def event_loop_policy() -> object:
        import uvloop

        return uvloop.EventLoopPolicy()


@pytest.hookimpl(tryfirst=True)
def pytest_itemcollected(item: pytest.Item) -> None:
    if "pytester" in getattr(item, "fixturenames", ()):
        item.add_marker("whole_run")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that take minutes run where they are asked for; the virtual clock works on asyncio's own loops only."""
    left_out = [
        item
        for item in items
        if (item.get_closest_marker("soak") and "soak" not in config.getoption("-m"))
        or (LOOP != "asyncio" and "asyncapi_virtual_clock" in getattr(item, "fixturenames", ()))
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
