"""What a refusal says: the line of the app, and what to write in the test."""

from __future__ import annotations

import importlib.util
import smtplib
import sys
import sysconfig
import urllib.request

import aiohttp
import asyncpg
import httpx2
import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from pytest_asyncapi.errors import BlockedConnection
from pytest_asyncapi.network import Guard, culprit

NO_RETRY = Retry(NoBackoff(), 0)


def words(action):
    with Guard() as guard, pytest.raises(BlockedConnection) as caught:
        action()
    assert [str(caught.value)] == [each.message for each in guard.blocked]
    return str(caught.value)


def here(function):
    path = __file__[__file__.index("tests/network") :]
    return f"{path}:{function.__code__.co_firstlineno + 1}, in {function.__qualname__}"


def test_the_refusal_names_the_line_and_the_call_to_write():
    def action():
        httpx2.get("https://api.example.com/users", verify=False)

    assert words(action) == (
        f"network: a connection to api.example.com:443 would leave this machine ({here(action)})\n"
        "  Answer it in the test: upstream.get('https://api.example.com/').reply(...)\n"
        "  or allow it: @pytest.mark.upstream(allow=['api.example.com']), or asyncapi_allow_hosts = api.example.com"
    )


async def test_aiohttp_is_refused_by_its_url():
    async def action():
        async with aiohttp.ClientSession() as session:
            await session.get("https://api.example.com:8443/users?page=2")

    with Guard(), pytest.raises(BlockedConnection) as caught:
        await action()

    path = __file__[__file__.index("tests/network") :]
    assert str(caught.value) == (
        "network: aiohttp's GET https://api.example.com:8443/users would leave this machine"
        f" ({path}:{action.__code__.co_firstlineno + 2}, in {action.__qualname__})\n"
        "  Answer it in the test: upstream.get('https://api.example.com:8443/users').reply(...)\n"
        "  or allow it: @pytest.mark.upstream(allow=['api.example.com']), or asyncapi_allow_hosts = api.example.com"
    )


def test_clients_that_upstream_does_not_serve_are_told_so():
    def with_urllib():
        urllib.request.urlopen("https://api.example.com/")

    assert "http.client and urllib.request are not served by upstream" in words(with_urllib)


def test_mail_is_told_so():
    assert "Mail is not served by upstream" in words(lambda: smtplib.SMTP("mail.example.com", 25))


async def test_the_package_websockets_is_told_so():
    websockets = pytest.importorskip("websockets")

    with Guard() as guard, pytest.raises(BlockedConnection):
        await websockets.connect("wss://feed.example.com/")

    assert "the package websockets is not served by upstream: those of aiohttp" in guard.blocked[0].message


def test_requests_is_told_so():
    requests = pytest.importorskip("requests")

    with Guard() as guard, pytest.raises(BlockedConnection):
        requests.get("https://api.example.com/", timeout=5)

    assert "requests and urllib3 are not served by upstream (aiohttp, httpx and httpx2 are)" in guard.blocked[0].message


async def test_databases_are_told_the_fixture():
    with Guard() as guard:
        with pytest.raises(BlockedConnection):
            await asyncpg.connect("postgresql://u@db.example.com/x")
        with pytest.raises(redis.exceptions.ConnectionError):
            await redis.asyncio.Redis(host="cache.example.com", retry=NO_RETRY).get("x")

    assert "Ask for the fixture db or db_session" in guard.blocked[0].message
    assert "Ask for the fixture redis_cache" in guard.blocked[1].message


def test_a_project_inside_of_its_virtual_environment(tmp_path, monkeypatch):
    """`python -m venv .` in the project's folder: its own code is no library's."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    paths = sysconfig.get_paths(vars={"base": str(tmp_path), "platbase": str(tmp_path)})
    monkeypatch.setattr(sysconfig, "get_path", paths.__getitem__)
    monkeypatch.setattr(sysconfig, "get_paths", lambda: paths)
    fresh = importlib.util.spec_from_file_location("fresh_culprit", culprit.__file__)
    module = importlib.util.module_from_spec(fresh)
    monkeypatch.setitem(sys.modules, "fresh_culprit", module)
    fresh.loader.exec_module(module)
    (tmp_path / "app.py").write_text("def ask(find):\n    return find()\n")
    app = importlib.util.spec_from_file_location("app_in_the_prefix", tmp_path / "app.py")
    asking = importlib.util.module_from_spec(app)
    app.loader.exec_module(asking)

    assert asking.ask(module.find).line.endswith("app.py:2, in ask")
