"""A project whose fixtures and tests check their event loops, to be run under each async plugin."""

import json
from collections.abc import Callable
from typing import Any

import pytest

# Each run of pytest in pytest would otherwise load what this run does not need.
QUIET = ("-p", "no:randomly", "-p", "no:xdist", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-q")

CONFTEST = """
import asyncio
import json
from contextlib import asynccontextmanager

import pytest
import pytest_asyncapi

events = []


@asynccontextmanager
async def resource():
    loop = asyncio.get_running_loop()
    bound = asyncio.create_task(asyncio.sleep(3600))
    events.append("open")
    try:
        yield loop
    finally:
        assert asyncio.get_running_loop() is loop
        assert not bound.done()
        bound.cancel()
        events.append("close")


@pytest_asyncapi.fixture
async def held(_asyncapi_loop):
    return await _asyncapi_loop.get("resource", resource)


@pytest_asyncapi.fixture
async def loop_of_fixture(held):
    loop = asyncio.get_running_loop()
    assert held is loop, "the anchored resource is in another loop"
    yield loop
    assert asyncio.get_running_loop() is loop, "torn down in another loop"
    events.append("torn down")


def pytest_unconfigure():
    with open("events.json", "w") as file:
        json.dump(events, file)
"""

TESTS = """
import asyncio
import pytest

{mark}

class TestFirst:
    async def test_one(self, loop_of_fixture):
        assert asyncio.get_running_loop() is loop_of_fixture

    async def test_two(self, held, loop_of_fixture):
        assert asyncio.get_running_loop() is loop_of_fixture
"""

SECOND_CLASS = """
class TestSecond:
    async def test_one(self, loop_of_fixture):
        assert asyncio.get_running_loop() is loop_of_fixture

    async def test_two(self, loop_of_fixture):
        assert asyncio.get_running_loop() is loop_of_fixture
"""

# How often a resource is opened, and closed, in the eight tests of `write_matrix`, for each scope of the event loop.
# (pytest keeps a package-scoped fixture of a plugin for the whole session, and so does pytest-asyncio with its loop.)
OPENED = {"function": 8, "class": 4, "module": 3, "package": 1, "session": 1}


@pytest.fixture
def quiet() -> tuple[str, ...]:
    return QUIET


@pytest.fixture
def opened() -> dict[str, int]:
    return OPENED


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A directory with the fixtures of CONFTEST."""
    pytester.makeconftest(CONFTEST)
    return pytester


@pytest.fixture
def write_matrix(project: pytest.Pytester) -> Callable[[str], None]:
    """Write two packages, three modules, four classes and eight tests with one `pytestmark`."""

    def write(mark: str) -> None:
        module = TESTS.format(mark=f"pytestmark = {mark}" if mark else "")
        files = {
            "p/__init__": "",
            "q/__init__": "",
            "p/test_a": module + SECOND_CLASS,
            "p/test_b": module,
            "q/test_c": module,
        }
        project.makepyfile(**files)

    return write


@pytest.fixture
def events(project: pytest.Pytester) -> Callable[[], list[str]]:
    """What the fixtures of the last run did, in order."""

    def read() -> list[str]:
        found: Any = json.loads((project.path / "events.json").read_text())
        return list(found)

    return read


@pytest.fixture
def messages() -> Callable[[pytest.RunResult], str]:
    """The text of a failure: the lines after its headline, as pytest prints them."""

    def read(result: pytest.RunResult) -> str:
        lines = iter(result.outlines)
        for line in lines:
            if line.startswith("____"):
                break
        found = []
        for line in lines:
            if line.startswith(("____", "====")):
                break
            found.append(line)
        return "\n".join(found).strip()

    return read


GADGET = '''
import pytest
from pytest_asyncapi.runner import public_fixture


@public_fixture
async def gadget(_asyncapi_loop):
    """A fixture of the plugin, as `client` is one."""
    yield _asyncapi_loop.loop
'''


@pytest.fixture
def with_gadget(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project whose plugin has one more fixture, `gadget`: what its messages say of it, they say of `client`."""
    from pytest_asyncapi import runner

    monkeypatch.setattr(runner, "PUBLIC", dict(runner.PUBLIC))
    pytester.makeconftest(GADGET)
    pytester.makeini(
        """
        [pytest]
        asyncapi_names = true
        asyncio_default_fixture_loop_scope = function
        """
    )
    return pytester
