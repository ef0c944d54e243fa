"""The hooks under redis-py and valkey: where a client would open its socket, it gets the test's server instead.

Only `Connection._connect` of each client library is replaced (with its Unix, TLS and sync twins), so pools, parsers,
retries, handshake, health checks, pub/sub and time-outs stay the client's own. The hooks are in while a sandbox is
open.

Everything that leans on private names of redis-py and valkey stands here: read from redis 5.0 to 8.1, valkey 6.2.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Any

from pytest_asyncapi.cache import sentinel
from pytest_asyncapi.compatibility import check
from pytest_asyncapi.errors import IncompatibleLibrary
from pytest_asyncapi.wire.patches import Patches

if TYPE_CHECKING:
    from pytest_asyncapi.cache.sandbox import Sandbox

LIBRARIES = ("redis", "valkey")
_ASYNC = ("Connection", "UnixDomainSocketConnection")
_SYNC = ("Connection", "SSLConnection", "UnixDomainSocketConnection")

sandboxes: list[Sandbox] = []  # the last one serves; nested ones shadow one another
_patches = Patches()
_pools: weakref.WeakSet[Any] = weakref.WeakSet()


def current() -> Sandbox | None:
    return sandboxes[-1] if sandboxes else None


def enter(sandbox: Sandbox) -> None:
    """From now on connections go to this sandbox, also those of a client library that is imported later."""
    if not sandboxes:
        try:
            for library in LIBRARIES:
                _patches.when_imported(f"{library}.asyncio.connection", _hook_async)
                _patches.when_imported(f"{library}.connection", _hook_sync)
                _patches.when_imported(f"{library}.asyncio.sentinel", _hook_sentinel)
                _patches.when_imported(f"{library}.sentinel", _hook_sentinel)
        except IncompatibleLibrary:
            _patches.undo()
            raise
    sandboxes.append(sandbox)


def leave(sandbox: Sandbox) -> None:
    sandboxes.remove(sandbox)
    if not sandboxes:
        _patches.undo()


def _hook_async(module: Any) -> None:
    check(module.__name__.partition(".")[0], module)
    for kind in _ASYNC:
        _patches.replace(getattr(module, kind), "_connect", _async_connect)
    _patches.replace(module.ConnectionPool, "make_connection", _make_connection)


def _hook_sync(module: Any) -> None:
    check(module.__name__.partition(".")[0], module)
    for kind in _SYNC:
        _patches.replace(getattr(module, kind), "_connect", _sync_connect)


def _hook_sentinel(module: Any) -> None:
    sentinel.hook(module, _patches, current)


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
            _abort(writer.transport)
    else:
        sock, connection._sock = connection._sock, None
        if sock is not None:
            sock.close()


def _abort(transport: Any) -> None:
    try:
        transport.abort()
    except RuntimeError:  # its loop is closed
        sock = getattr(transport, "_sock", None)
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
