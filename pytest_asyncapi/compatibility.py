"""Every private name of another library that the harness leans on, and the one message for a name that has gone.

Whoever puts hooks under a library calls `check()` with its name first. That looks the names up in the modules that are
imported, once a process, and costs some microseconds. What is only read with a default stands here too, for the test
that resolves each of these names on both ends of the supported range (tests/plugin/test_compatibility.py).
"""

from __future__ import annotations

import re
import sys
from importlib import metadata
from types import ModuleType
from typing import Any, NamedTuple

from pytest_asyncapi.errors import IncompatibleLibrary, ours

__tracebackhide__ = ours


class Library(NamedTuple):
    """The oldest and the newest version that the names were read in, and the names: module -> attributes.

    `Class().name` is an attribute that the class itself does not have, but some method of it sets or reads.
    """

    oldest: str
    newest: str
    names: dict[str, str]


def _httpcore(core: str) -> dict[str, str]:
    """httpcore2 is httpcore's successor, with the same names."""
    pool = "._assign_requests_to_connections ()._connections ()._requests ()._max_connections ()._uds"
    return {
        core: " ".join(f"{kind}{name}" for kind in ("AsyncConnectionPool", "ConnectionPool") for name in pool.split()),
        f"{core}._backends.auto": "AutoBackend.connect_tcp",
        f"{core}._backends.anyio": "AnyIOBackend.connect_tcp",
        f"{core}._backends.sync": "SyncBackend.connect_tcp",
    }


def _redis(library: str) -> dict[str, str]:
    """valkey is a fork of redis."""
    return {
        f"{library}.asyncio.connection": "Connection._connect UnixDomainSocketConnection._connect "
        "ConnectionPool.make_connection",
        f"{library}.connection": "Connection._connect SSLConnection._connect UnixDomainSocketConnection._connect",
    }


def _httpx(library: str) -> dict[str, str]:
    return {
        library: "Response()._content Response()._num_bytes_downloaded",
        f"{library}._client": "ClientState.UNOPENED BaseClient()._state",
    }


LIBRARIES: dict[str, Library] = {
    "Python": Library(
        "3.11",
        "3.15",
        {
            "asyncio": "Task._fut_waiter Future._callbacks",
            "asyncio.events": "Handle._run _get_running_loop",
            "asyncio.selector_events": "_SelectorSocketTransport.write _SelectorSocketTransport.writelines "
            "_SelectorDatagramTransport.sendto BaseSelectorEventLoop()._selector BaseSelectorEventLoop()._ssock",
            "ctypes": "pythonapi._PyRuntime",
        },
    ),
    "pytest": Library(
        "8.4",
        "9.2",
        {
            # the item behind a fixture of a wider scope; which fixture asked for this one; which definition a test gets
            "_pytest.fixtures": "FixtureRequest()._pyfuncitem FixtureRequest._iter_chain "
            "FixtureRequest()._fixture_defs FixtureDef()._finalizers FuncFixtureInfo().name2fixturedefs",
            "_pytest.nodes": "Node._traceback_filter",
            "_pytest.python": "Function()._fixtureinfo Function()._request",
        },
    ),
    # the second sets `_loop_scope`
    "pytest-asyncio": Library(
        "1.2", "1.5", {"pytest_asyncio.plugin": "_function_scoped_runner _make_asyncio_fixture_function"}
    ),
    "anyio": Library("4.11", "4.16", {"anyio._backends._asyncio": "AsyncIOBackend.run_sync_in_worker_thread"}),
    # public, but that it can be set on the class, and is looked up there, is not promised
    "uvloop": Library("0.21", "0.23", {"uvloop": "Loop.call_soon"}),
    "uvicorn": Library(
        "0.33",
        "0.40",
        {
            "uvicorn.protocols.http.h11_impl": "RequestResponseCycle.run_asgi",
            "uvicorn.protocols.http.httptools_impl": "RequestResponseCycle.run_asgi",
        },
    ),
    "httpx": Library("0.28", "0.28", _httpx("httpx")),
    "httpx2": Library("2.16", "2.16", _httpx("httpx2")),
    "httpcore": Library("1.0.5", "1.0.9", _httpcore("httpcore")),
    "httpcore2": Library("2.16", "2.16", _httpcore("httpcore2")),
    "aiohttp": Library(
        "3.9",
        "3.14",
        {
            "aiohttp.connector": "BaseConnector.connect BaseConnector()._conns BaseConnector()._factory "
            "TCPConnector._create_connection TCPConnector._resolve_host",
            "aiohttp.client_proto": "ResponseHandler.set_exception",
            "aiohttp.payload": "Payload()._value",
        },
    ),
    "sqlalchemy": Library(
        "2.0.22",
        "2.1",
        {
            "sqlalchemy.pool.base": "_ConnectionRecord.get_connection _ConnectionRecord.close Pool._do_return_conn "
            "Pool()._dialect Pool()._creator Pool()._reset_on_return",
            "sqlalchemy.pool.impl": "StaticPool.connection",
            "sqlalchemy.event.attr": "_CompoundListener._set_asyncio",
            "sqlalchemy.engine.default": "DefaultDialect.connect",
        },
    ),
    "asyncpg": Library(
        "0.29",
        "0.32",
        {
            "asyncpg.connect_utils": "_connect _parse_connect_arguments",
            "asyncpg.connection": "Connection._drop_local_statement_cache",
            "asyncpg.protocol.protocol": "Protocol BaseProtocol.bind BaseProtocol.bind_execute "
            "BaseProtocol.bind_execute_many BaseProtocol.close_portal BaseProtocol.close_statement "
            "BaseProtocol.copy_in BaseProtocol.copy_out BaseProtocol.execute BaseProtocol.prepare BaseProtocol.query",
        },
    ),
    "psycopg": Library(
        "3.2",
        "3.3",
        {
            "psycopg": "AsyncConnection._check_connection_ok AsyncConnection._check_intrans_gen "
            "AsyncConnection._commit_gen AsyncConnection._connect_gen AsyncConnection._exec_command "
            "AsyncConnection._get_connection_params AsyncConnection._rollback_gen "
            "AsyncConnection._start_query AsyncConnection.wait AsyncCursor._execute_gen "
            "AsyncCursor._executemany_gen_no_pipeline AsyncCursor._executemany_gen_pipeline "
            "AsyncTransaction._enter_gen AsyncTransaction._exit_gen AsyncTransaction._pop_savepoint "
            "Connection._connect_gen Connection._get_connection_params Connection.wait",
            "psycopg._preparing": "PrepareManager._should_discard",
        },
    ),
    "aiosqlite": Library(
        "0.20",
        "0.22",
        {
            "aiosqlite.core": "Connection()._conn Connection._connect Connection._execute Connection._execute_fetchall "
            "Connection._execute_insert"
        },
    ),
    "redis": Library("5.0.1", "8.1", _redis("redis")),
    "valkey": Library("6", "6.2", _redis("valkey")),
    "fakeredis": Library(
        "2.40",
        "2.40",
        {
            "fakeredis._commands": "SUPPORTED_COMMANDS Signature",
            "fakeredis._core._database": "Database.notify_watch Database.schedule_expiry Item",
            "fakeredis._helpers": "NoResponse SimpleError SimpleString",
            "fakeredis._socket._async": "AsyncFakeSocket._async_blocking",
            "fakeredis._socket._base": "BaseFakeSocket._decode_result BaseFakeSocket._name_to_func "
            "BaseFakeSocket._process_command BaseFakeSocket.put_response BaseFakeSocket.resume",
            "fakeredis._socket._fakesocket": "FakeSocket._auth FakeSocket.client_getname FakeSocket.getex "
            "FakeSocket.hello FakeSocket.setex",
            "fakeredis.model._client_info": "ClientInfo.protocol_version",
        },
    ),
}

_fits: set[str] = set()


def check(name: str, module: ModuleType | None = None) -> None:
    """Raise `IncompatibleLibrary` if the library `name`, as far as it is imported, lacks a name that we lean on.

    `module`: the one whose import has just run, when that is why you ask.
    """
    if name in _fits:
        return
    gone = missing(name, module)
    if gone:
        raise IncompatibleLibrary(_message(name, gone))
    if all(_is_whole(sys.modules.get(each), module) for each in LIBRARIES[name].names):
        _fits.add(name)


def missing(name: str, module: ModuleType | None = None) -> list[str]:
    """The names that the imported modules of a library do not have, as `module.Class.attribute`."""
    return [
        f"{each}.{path}"
        for each, paths in LIBRARIES[name].names.items()
        if _is_whole(found := sys.modules.get(each), module)
        for path in paths.split()
        if not _has(found, path)
    ]


def _is_whole(found: ModuleType | None, module: ModuleType | None) -> bool:
    """Whether a module is imported to its end: modules import one another, and half of one lacks names."""
    return found is not None and (found is module or not getattr(found.__spec__, "_initializing", False))


def _has(owner: Any, path: str) -> bool:
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent.removesuffix("()"), None)
    found = getattr(owner, name, None)
    if hasattr(owner, name) or not path.endswith(f"().{name}"):
        return hasattr(owner, name) and not getattr(found, "__isabstractmethod__", False)
    return any(
        name in code.co_names
        for base in getattr(owner, "__mro__", ())
        for each in vars(base).values()
        if (code := getattr(each, "__code__", None)) is not None
    )


def versions(name: str) -> str:
    """Which versions of a library work, for messages."""
    oldest, newest, _ = LIBRARIES[name]
    return f"{name} {oldest}" if oldest == newest else f"{name} {oldest} to {newest}"


def _message(name: str, gone: list[str]) -> str:
    installed = sys.version.partition(" ")[0] if name == "Python" else metadata.version(name)
    oldest, newest, _ = LIBRARIES[name]
    after = re.sub(r"\d+$", lambda last: str(int(last[0]) + 1), newest)
    cure = "" if name == "Python" else f" Write: pip install '{name}>={oldest},<{after}'"
    return (
        f"pytest-asyncapi cannot put its hooks under {name} {installed}, which has no {', '.join(gone)}.\n"
        f"Versions that work: {versions(name)}.{cure}"
    )
