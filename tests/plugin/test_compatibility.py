"""Every private name that we lean on stands in one file, is there in the libraries that are installed, and is missed by
one message when it goes."""

import importlib
import importlib.util
import inspect
import pathlib
import re
import sys
import types

import httpcore
import httpcore2
import pytest
from aiohttp import BaseConnector, TCPConnector

from pytest_asyncapi import compatibility
from pytest_asyncapi.compatibility import LIBRARIES
from pytest_asyncapi.errors import IncompatibleLibrary

ROOT = pathlib.Path(__file__).parents[2]
PACKAGES = {"Python": "asyncio", "pytest-asyncio": "pytest_asyncio"}


@pytest.fixture(autouse=True)
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process where nothing has been looked up yet."""
    monkeypatch.setattr(compatibility, "_fits", set())


def imported(library: str) -> bool:
    """Import the modules of a library that are listed; whether it is installed at all."""
    if importlib.util.find_spec(PACKAGES.get(library, library)) is None:
        return False
    for module in LIBRARIES[library].names:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name and module.startswith(error.name):
                raise
            # else what the module itself needs is not here: httptools for a half of uvicorn's
    compatibility._fits.discard(library)  # the import may have had it looked up
    return True


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_private_names_of_a_library_are_there(library: str) -> None:
    if imported(library):
        assert compatibility.missing(library) == []
        compatibility.check(library)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_name_that_has_gone_is_named_with_the_versions_that_have_it(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not imported(library):
        pytest.skip(f"{library} is not installed")
    module, names = next(iter(LIBRARIES[library].names.items()))
    gone = names.split()[-1]
    owner = sys.modules[module]
    stand_in = types.ModuleType(module)
    vars(stand_in).update({name: value for name, value in vars(owner).items() if name != re.split(r"\W", gone)[0]})
    monkeypatch.setitem(sys.modules, module, stand_in)

    with pytest.raises(IncompatibleLibrary) as failure:
        compatibility.check(library)

    message = str(failure.value)
    assert re.match(rf"pytest-asyncapi cannot put its hooks under {library} \d[\w.+]*, which has no ", message)
    assert f"{module}.{gone}" in message
    oldest, newest, _ = LIBRARIES[library]
    assert f".\nVersions that work: {library} {oldest}" in message
    assert newest in message
    assert ("pip install" in message) is (library != "Python")


def test_a_whole_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(TCPConnector, "_resolve_host")
    monkeypatch.setattr("importlib.metadata.version", lambda name: "4.0.1")

    with pytest.raises(IncompatibleLibrary) as failure:
        compatibility.check("aiohttp")

    assert str(failure.value) == (
        "pytest-asyncapi cannot put its hooks under aiohttp 4.0.1, which has no"
        " aiohttp.connector.TCPConnector._resolve_host.\n"
        "Versions that work: aiohttp 3.9 to 3.14. Write: pip install 'aiohttp>=3.9,<3.15'"
    )


APP = """
import aiohttp, aiosqlite, asyncpg, httpx, httpx2, psycopg, redis.asyncio, sqlalchemy.ext.asyncio, valkey.asyncio

async def app(scope, receive, send):
    raise NotImplementedError
"""
BY_FIXTURE = {
    "upstream": (
        "aiohttp.connector:TCPConnector._create_connection",
        "httpcore2:AsyncConnectionPool._assign_requests_to_connections",
    ),
    "redis_cache": (
        "redis.asyncio.connection:Connection._connect",
        "fakeredis._socket._base:BaseFakeSocket._process_command",
    ),
    "db": (
        "sqlalchemy.pool.base:_ConnectionRecord.get_connection",
        "asyncpg.connect_utils:_parse_connect_arguments",
        "psycopg:AsyncConnection._start_query",
        "aiosqlite.core:Connection._execute",
    ),
    "virtual_clock": ("asyncio.selector_events:_SelectorSocketTransport.writelines",),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fixture", "name"), [(fixture, name) for fixture, names in BY_FIXTURE.items() for name in names]
)
def test_a_hook_that_no_longer_fits_fails_a_test_by_that_message(
    pytester: pytest.Pytester, fixture: str, name: str
) -> None:
    module, _, path = name.partition(":")
    owner, _, attribute = path.rpartition(".")
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncapi_app = shop:app\npythonpath = .\n")
    pytester.makepyfile(
        shop=APP,
        early=f"""
            import sys, {module}, shop

            owner = sys.modules["{module}"]{"." if owner else ""}{owner}
            for each in getattr(owner, "__mro__", [owner]):
                if "{attribute}" in vars(each):
                    delattr(each, "{attribute}")
        """,
        test_it=f"async def test_it({fixture}):\n    pass\n",
    )

    result = pytester.runpytest_subprocess("-p", "early", "-p", "no:randomly")  # before our hooks are put in

    result.assert_outcomes(errors=1)
    library = next(key for key, each in LIBRARIES.items() if module in each.names)
    result.stdout.fnmatch_lines([f"*cannot put its hooks under {library} *", f"*Versions that work: *{library} *"])
    assert result.stdout.str().count("cannot put its hooks under") <= 2  # the error and the summary


def test_no_module_keeps_a_list_of_its_own() -> None:
    found = [path for path in (ROOT / "pytest_asyncapi").rglob("*.py") if "PRIVATE_NAMES" in path.read_text()]
    assert found == []


def test_what_is_checked_is_listed() -> None:
    """`check()` is called for nothing else; the database's hooks, httpcore's and redis' call it by a variable."""
    called = set()
    for path in (ROOT / "pytest_asyncapi").rglob("*.py"):
        called |= set(re.findall(r"\bcheck\(\"([\w-]+)\"\)", path.read_text()))
    assert called <= set(LIBRARIES)
    assert {"Python", "pytest", "aiohttp", "fakeredis"} <= called


# ---- what a name alone does not tell


def test_the_signatures_are_as_they_were_read() -> None:
    assert list(inspect.signature(BaseConnector.connect).parameters) == ["self", "req", "traces", "timeout"]
    assert list(inspect.signature(TCPConnector._create_connection).parameters) == ["self", "req", "traces", "timeout"]
    for core in (httpcore, httpcore2):
        connect = inspect.signature(core._backends.auto.AutoBackend.connect_tcp)
        assert list(connect.parameters)[:3] == ["self", "host", "port"]


def test_connect_of_asyncpg_is_called_by_name() -> None:
    """With what we take from its arguments."""
    from asyncpg import connect_utils

    parameters = inspect.signature(connect_utils._connect).parameters
    assert {"loop", "connection_class", "record_class"} <= set(parameters)
    accepted = set(inspect.signature(connect_utils._parse_connect_arguments).parameters)
    assert {"dsn", "host", "port", "user", "password", "passfile", "database", "ssl", "direct_tls"} <= accepted
