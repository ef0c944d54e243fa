"""What the sandbox takes from other libraries without their promise is still there."""

import importlib
import inspect

import pytest

from pytest_asyncapi.database import (
    adapted,
    aiosqlite_hooks,
    asyncpg_hooks,
    awaiting,
    psycopg_hooks,
    psycopg_virtual,
    sqlalchemy_hooks,
)

NAMES = {
    **asyncpg_hooks.PRIVATE_NAMES,
    **sqlalchemy_hooks.PRIVATE_NAMES,
    **adapted.PRIVATE_NAMES,
    **aiosqlite_hooks.PRIVATE_NAMES,
    **psycopg_hooks.PRIVATE_NAMES,
    **psycopg_virtual.PRIVATE_NAMES,
    **awaiting.PRIVATE_NAMES,
}


@pytest.mark.parametrize("name", NAMES)
def test_name_is_there(name):
    module, _, path = name.partition(":")
    found = importlib.import_module(module)
    for attribute in path.split("."):
        assert hasattr(found, attribute), f"{name} is gone; it was there in {NAMES[name]}. The sandbox is built on it."
        found = getattr(found, attribute)


def test_connect_of_asyncpg_is_called_by_name():
    """With what we take from its arguments."""
    from asyncpg import connect_utils

    parameters = inspect.signature(connect_utils._connect).parameters
    assert {"loop", "connection_class", "record_class"} <= set(parameters)
    accepted = set(inspect.signature(connect_utils._parse_connect_arguments).parameters)
    assert {"dsn", "host", "port", "user", "password", "passfile", "database", "ssl", "direct_tls"} <= accepted
