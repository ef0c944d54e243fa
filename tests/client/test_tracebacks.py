"""What a failing test shows of the app's exception: the test's line and the app's, without the frameworks between."""

import asyncio
import re

import pytest

from pytest_asyncapi.client import AsyncClient
from pytest_asyncapi.client.tracebacks import unwrapped
from pytest_asyncapi.errors import ConfigurationError

SHOP = """
from fastapi import FastAPI

app = FastAPI()


def load(number):
    return {}[number]


@app.get("/orders")
def orders():
    return load(3)


@app.get("/wrong", response_model=int)
async def wrong():
    return "no number"
"""
TESTS = """
async def test_orders(client):
    await client.get("/orders")


async def test_wrong(client):
    await client.get("/wrong")
"""


def places(result):
    """The places that the report names."""
    return [
        match.group(1).replace("\\", "/").rpartition("site-packages/")[2]
        for line in result.outlines
        if (match := re.match(r"(\S+\.py):\d+: ", line))
    ]


@pytest.fixture
def shop(pytester):
    """A project with an app that fails."""
    pytester.makepyfile(shop=SHOP, test_shop=TESTS)
    pytester.makeini(
        "[pytest]\nasyncapi_app = shop:app\nasyncio_mode = auto\npythonpath = .\n"
        "asyncio_default_fixture_loop_scope = function\n"
    )
    return pytester


def test_the_frames_of_frameworks_are_left_out(shop):
    result = shop.runpytest_inprocess("-p", "no:randomly", "-k", "orders")

    assert places(result) == ["test_shop.py", "shop.py", "shop.py"]


def test_an_error_of_the_framework_keeps_its_place(shop):
    result = shop.runpytest_inprocess("-p", "no:randomly", "-k", "wrong")

    assert places(result) == ["test_shop.py", "fastapi/routing.py"]


@pytest.mark.parametrize("option", ["-vv", "--full-trace"])
def test_all_frames_on_request(shop, option):
    result = shop.runpytest_inprocess("-p", "no:randomly", "-k", "orders", option)

    assert "starlette/routing.py" in places(result)


async def group_of(*errors, module):
    """The group that a task group makes whose `async with` stands in a module of this name."""

    async def fail(error):
        raise error

    namespace = {"__name__": module, "asyncio": asyncio}
    exec(
        "async def run(coroutines):\n"
        "    async with asyncio.TaskGroup() as group:\n"
        "        for each in coroutines: group.create_task(each)\n",
        namespace,
    )
    try:
        await namespace["run"]([fail(error) for error in errors])
    except BaseExceptionGroup as group:
        return group


async def test_the_group_of_a_framework_is_unwrapped():
    error = ValueError("the app's")

    assert unwrapped(await group_of(error, module="quart.asgi")) is error


async def test_other_groups_stay():
    own = await group_of(ValueError(), module="shop.orders")
    two = await group_of(ValueError(), KeyError(), module="quart.asgi")
    raised = ExceptionGroup("the app's own", [ValueError()])

    assert [unwrapped(each) for each in (own, two, raised)] == [own, two, raised]


def test_an_unknown_argument_of_a_client():
    with pytest.raises(ConfigurationError) as raised:
        AsyncClient(lambda scope, receive, send: None, backgroud="defer")

    assert str(raised.value).startswith(
        "unknown argument 'backgroud' of a client (did you mean 'background'?): expected some of app, asgi_extensions, "
        "background, background_timeout, base_url, client, http_version, lifespan, "
    )


async def test_a_lifespan_that_has_not_run_is_named_beside_a_later_error():
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            raise KeyError("DATABASE_URL")
        raise AttributeError("pool")

    async with AsyncClient(app) as client:
        with pytest.raises(AttributeError) as raised:
            await client.get("/")

    assert raised.value.__notes__ == [
        "the app's lifespan did not run; it raised at its first call: KeyError: 'DATABASE_URL'"
    ]
