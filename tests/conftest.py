"""What all tests of the project share: pytester, and the event loop that an environment of tox asks for."""

import os

import pytest

pytest_plugins = ["pytester"]

LOOP = os.environ.get("ASYNCAPI_TEST_LOOP", "asyncio")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


if LOOP == "uvloop":

    @pytest.fixture(scope="session")
    def event_loop_policy() -> object:
        import uvloop

        return uvloop.EventLoopPolicy()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The virtual clock works on asyncio's own loops only, and says so elsewhere."""
    if LOOP == "asyncio":
        return
    clocked = [item for item in items if "asyncapi_virtual_clock" in getattr(item, "fixturenames", ())]
    config.hook.pytest_deselected(items=clocked)
    items[:] = [item for item in items if item not in clocked]
