"""The test's Redis: whatever client connects while a `Sandbox` is open, it is this server that it talks to.

with Sandbox() as sandbox:
    await redis.asyncio.Redis(host="cache.example.com").set("a", 1)      # never leaves the process
    sandbox.control.commands                                             # [("SET", "a", "1")]
"""

from __future__ import annotations

import asyncio
import errno
import weakref
from typing import TYPE_CHECKING, Any

from pytest_asyncapi.cache import clients
from pytest_asyncapi.cache.control import Control
from pytest_asyncapi.errors import CacheError

if TYPE_CHECKING:
    from pytest_asyncapi.cache.client import RedisCache
    from pytest_asyncapi.cache.server import RealServer


class Sandbox:
    """One Redis server of one test: in memory, or, given a `RealServer`, a real one that starts empty.

    The engine is made at the first connection: a test that uses no Redis pays for none.
    """

    def __init__(self, server: RealServer | None = None, *, dated: bool = False) -> None:
        self._server = server
        self._dated = dated  # whether to note when each command came
        self._control: Control | None = None
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()
        self.error: CacheError | None = None  # why no engine could be made: an app may have swallowed it

    @property
    def control(self) -> Control:
        if self._control is None:
            try:
                self._control = Control(self._make_engine(), dated=self._dated)
            except CacheError as error:
                self.error = error
                raise
        return self._control

    @property
    def used(self) -> bool:
        """Whether anything was asked of the server."""
        return self._control is not None

    def _make_engine(self) -> Any:
        if self._server is not None:
            return self._server.engine()
        from pytest_asyncapi.cache.memory import MemoryEngine

        return MemoryEngine()

    # -- life

    def open(self) -> Sandbox:
        clients.enter(self)
        return self

    def close(self) -> None:
        clients.leave(self)
        try:
            for connection in list(self._connections):
                clients.forget(connection)
            clients.unbind_pools()
        finally:
            if self._control is not None:
                self._control.engine.close()

    def __enter__(self) -> Sandbox:
        return self.open()

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def client(self, **options: Any) -> RedisCache:
        """A client of this server that also controls it."""
        from pytest_asyncapi.cache.client import RedisCache

        return RedisCache(self.control, **options)

    # -- what the hooks call

    async def open_streams(self, connection: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Serve an async client's connection."""
        control = self.control
        fault = self._meet(control)
        if fault == "hang":
            async with asyncio.timeout(connection.socket_connect_timeout):
                await asyncio.get_running_loop().create_future()
        self._connections.add(connection)
        from pytest_asyncapi.cache import endpoints

        return await endpoints.open_streams(control)

    def open_socket(self, connection: Any) -> Any:
        """Serve a sync client's connection."""
        control = self.control
        if self._meet(control) == "hang":
            raise TimeoutError(errno.ETIMEDOUT, "timed out")
        self._connections.add(connection)
        from pytest_asyncapi.cache import endpoints

        return endpoints.open_socket(control, connection.socket_timeout)

    def _meet(self, control: Control) -> str | None:
        """The outage or fault that meets a new connection; CONNECT is its name as a command."""
        fault = control.fault_for(b"CONNECT") if control.faults else None
        if control.is_down or (fault is not None and fault.kind in ("fail", "drop")):
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        return None if fault is None else fault.kind
