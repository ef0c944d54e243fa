"""The hooks under redis-py and valkey: where a client would open its socket, it gets the test's server instead.

Only `Connection._connect` of each client library is replaced (with its Unix, TLS and sync twins), so pools, parsers,
retries, handshake, health checks, pub/sub and time-outs stay the client's own. The hooks are put in once, when the
library is imported, and do nothing while no sandbox is `current`.

Everything that leans on private names of redis-py and valkey stands here, read from redis 5.0 to 8.1, valkey 6.0 to 6.2.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pytest_asyncapi.cache.versions import explain
from pytest_asyncapi.errors import CacheError

if TYPE_CHECKING:
    from pytest_asyncapi.cache.sandbox import Sandbox

LIBRARIES = ("redis", "valkey")
_ASYNC = ("Connection", "UnixDomainSocketConnection")
_SYNC = ("Connection", "SSLConnection", "UnixDomainSocketConnection")

PRIVATE_NAMES = {
    f"{library}.{module}:{kind}._connect": versions
    for library, versions in (("redis", "5.0 to 8.1"), ("valkey", "6.0 to 6.2"))
    for module, kinds in (("asyncio.connection", _ASYNC), ("connection", _SYNC))
    for kind in kinds
} | {
    "redis.asyncio.connection:ConnectionPool.make_connection": "5.0 to 8.1",
    "valkey.asyncio.connection:ConnectionPool.make_connection": "6.0 to 6.2",
}

sandboxes: list[Sandbox] = []  # the last one serves; nested ones shadow one another
_hooked: set[str] = set()
_pools: weakref.WeakSet[Any] = weakref.WeakSet()


def current() -> Sandbox | None:
    return sandboxes[-1] if sandboxes else None


def imported() -> Iterator[str]:
    """The client libraries that something in this process has imported."""
    return (library for library in LIBRARIES if library in sys.modules)


class ImportWatch:
    """Stands first in `sys.meta_path` while a sandbox is open: a client library imported now is hooked at once."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name not in LIBRARIES:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                _hook_after(spec.loader, name)
                return spec
        return None


def _hook_after(loader: Any, library: str) -> None:
    execute = loader.exec_module

    def exec_module(module: Any) -> None:
        del loader.exec_module  # the class's own, for whoever reloads
        execute(module)
        hook(library)

    loader.exec_module = exec_module


WATCH = ImportWatch()


def hook(library: str) -> None:
    """Put the hooks into a client library (which is imported for it), once."""
    if library in _hooked:
        return
    try:
        asynchronous = importlib.import_module(f"{library}.asyncio.connection")
        synchronous = importlib.import_module(f"{library}.connection")
        changes = [
            *_wrapped(asynchronous, _ASYNC, "_connect", _async_connect),
            *_wrapped(asynchronous, ("ConnectionPool",), "make_connection", _make_connection),
            *_wrapped(synchronous, _SYNC, "_connect", _sync_connect),
        ]
    except (ImportError, AttributeError, KeyError) as error:
        raise CacheError(explain(error)) from error
    for owner, name, value in changes:
        setattr(owner, name, value)
    _hooked.add(library)


def _wrapped(
    module: Any, kinds: tuple[str, ...], method: str, wrap: Callable[[Any], Any]
) -> Iterator[tuple[Any, str, Any]]:
    for kind in kinds:
        owner = getattr(module, kind)
        if method not in vars(owner):
            raise AttributeError(f"{module.__name__}.{kind} has no method {method}")
        yield owner, method, wrap(vars(owner)[method])


def _async_connect(real: Any) -> Any:
    async def _connect(self: Any) -> None:
        sandbox = current()
        if sandbox is None:
            await real(self)
            return
        self._reader, self._writer = await sandbox.open_streams(self)

    return _connect


def _sync_connect(real: Any) -> Any:
    def _connect(self: Any) -> Any:
        sandbox = current()
        return real(self) if sandbox is None else sandbox.open_socket(self)

    return _connect


def _make_connection(real: Any) -> Any:
    def make_connection(self: Any) -> Any:
        _pools.add(self)
        return real(self)

    return make_connection


def forget(connection: Any) -> None:
    """Disconnect a client's connection object without touching its event loop, which may be closed."""
    connection._parser.on_disconnect()
    if hasattr(connection, "_writer"):
        writer, connection._reader, connection._writer = connection._writer, None, None
        if writer is not None:
            writer.transport.abort()
    else:
        sock, connection._sock = connection._sock, None
        if sock is not None:
            sock.close()


def unbind_pools() -> None:
    """Make the pools that outlive this test's loop usable in the next one: fresh locks, nothing checked out."""
    for pool in list(_pools):
        for name, value in list(vars(pool).items()):
            if isinstance(value, asyncio.Lock | asyncio.Condition) and getattr(value, "_loop", None) is not None:
                setattr(pool, name, type(value)())
        in_use: set[Any] = getattr(pool, "_in_use_connections", set())
        for connection in list(in_use):
            if not getattr(connection, "is_connected", True):  # its task ended with the loop
                in_use.discard(connection)
