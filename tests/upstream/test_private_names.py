"""The private names of aiohttp and httpcore that the hooks lean on: when one goes, a test says which."""

from __future__ import annotations

import importlib
import inspect

import httpcore
import httpcore2
import pytest
from aiohttp import BaseConnector, TCPConnector

from pytest_asyncapi.network import socket_hooks
from pytest_asyncapi.upstream import aiohttp_hooks, httpcore_hooks

NAMES = [
    (module, name, versions)
    for module in (aiohttp_hooks, httpcore_hooks, socket_hooks)
    for name, versions in module.PRIVATE_NAMES.items()
]


@pytest.mark.parametrize(("module", "name", "versions"), NAMES, ids=[name for _, name, _ in NAMES])
def test_the_name_is_there(module, name, versions):
    library, _, path = name.partition(":")
    found = importlib.import_module(library)
    for part in path.split("."):
        assert hasattr(found, part), f"{name}, on which {module.__name__} leans (read from {versions}), is gone"
        found = getattr(found, part)


async def test_the_attributes_of_instances_are_there():
    connector = TCPConnector()
    assert isinstance(connector, BaseConnector)
    assert hasattr(connector, "_conns")
    assert hasattr(connector, "_factory")
    await connector.close()
    wanted = (
        "_connections",
        "_requests",
        "_max_connections",
        "_uds",
        "_proxy",
        "_network_backend",
        "_optional_thread_lock",
    )
    for core in (httpcore, httpcore2):
        for pool in (core.AsyncConnectionPool(), core.ConnectionPool()):
            assert [name for name in wanted if not hasattr(pool, name)] == [], core.__name__


def test_the_signatures_are_as_they_were_read():
    assert list(inspect.signature(BaseConnector.connect).parameters) == ["self", "req", "traces", "timeout"]
    assert list(inspect.signature(TCPConnector._create_connection).parameters) == ["self", "req", "traces", "timeout"]
    for core in (httpcore, httpcore2):
        connect = inspect.signature(core._backends.auto.AutoBackend.connect_tcp)
        assert list(connect.parameters)[:3] == ["self", "host", "port"]
