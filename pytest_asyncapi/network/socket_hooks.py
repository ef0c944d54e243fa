"""Every door that Python code can leave by, with the guard in front of it.

An audit hook would see less: libuv connects in C, under uvloop there is no event, and a hook can never be removed. So
these are patches, of the socket module, of uvloop's loop, and of the HTTP clients, where the URL is known and the app
is on the stack.
"""

from __future__ import annotations

import socket
from types import ModuleType
from typing import Any

from pytest_asyncapi.compatibility import check
from pytest_asyncapi.errors import ours
from pytest_asyncapi.network import guard as guards
from pytest_asyncapi.wire.patches import Patches

__tracebackhide__ = ours

_patches: Patches | None = None


def install() -> None:
    """Put the guard in front of the doors."""
    global _patches
    patches = _patches = Patches()
    for name in ("connect", "connect_ex"):
        patches.replace(socket.socket, name, _connect)
    for name in ("sendto", "sendmsg"):
        patches.replace(socket.socket, name, _send)
    patches.replace(socket, "getaddrinfo", _getaddrinfo)
    for name in ("gethostbyname", "gethostbyname_ex"):
        patches.replace(socket, name, _gethostbyname)
    patches.replace(socket, "gethostbyaddr", _gethostbyaddr)
    patches.replace(socket, "getnameinfo", _getnameinfo)
    patches.when_imported("asyncio.base_events", lambda module: _asyncio(patches, module))
    patches.when_imported("uvloop", lambda module: _uvloop(patches, module))
    patches.when_imported("aiohttp.connector", lambda module: _aiohttp(patches, module))
    patches.when_imported("httpcore", lambda module: _httpcore(patches, module))
    patches.when_imported("httpcore2", lambda module: _httpcore(patches, module))


def uninstall() -> None:
    """Take it away again."""
    global _patches
    if _patches is not None:
        _patches.undo()
        _patches = None


def _guard() -> guards.Guard | None:
    return guards.STACK[-1] if guards.STACK else None


def _pass(what: str, host: Any, port: Any = None, url: str | None = None) -> None:
    guard = _guard()
    if guard is not None and not guard.allows(host, port):
        raise guard.refuse(what, host, port, url)


def _look_up(host: Any, port: Any = None) -> None:
    _pass("a connection to" if port else "a look-up of", host, port)  # who looks up a port is about to connect


# -- the socket module


def _connect(original: Any) -> Any:
    def connect(self: socket.socket, address: Any) -> Any:
        guard = _guard()
        if guard is not None and not guard.allows_address(self.family, address):
            raise guard.refuse("a connection to", *address[:2])
        return original(self, address)

    return connect


def _send(original: Any) -> Any:
    def send(self: socket.socket, data: Any, *args: Any) -> Any:
        guard = _guard()
        address = args[-1] if args else None  # of sendto(data, [flags,] address), sendmsg(data, extra, flags, address)
        if guard is not None and isinstance(address, tuple) and not guard.allows_address(self.family, address):
            raise guard.refuse("a datagram to", *address[:2])
        return original(self, data, *args)

    return send


def _getaddrinfo(original: Any) -> Any:
    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        _look_up(host, port)
        found = original(host, port, *args, **kwargs)
        if (guard := _guard()) is not None:
            guard.resolved(host, (each[4][0] for each in found))
        return found

    return getaddrinfo


def _gethostbyname(original: Any) -> Any:
    def gethostbyname(host: Any) -> Any:
        _look_up(host)
        found = original(host)
        if (guard := _guard()) is not None:
            guard.resolved(host, [found] if isinstance(found, str) else found[2])
        return found

    return gethostbyname


def _gethostbyaddr(original: Any) -> Any:
    def gethostbyaddr(host: Any) -> Any:
        if host != socket.gethostname():  # socket.getfqdn() asks for the name of this machine
            _look_up(host)
        return original(host)

    return gethostbyaddr


def _getnameinfo(original: Any) -> Any:
    def getnameinfo(address: Any, flags: int) -> Any:
        if not flags & socket.NI_NUMERICHOST:  # with it, nobody is asked
            _look_up(address[0])
        return original(address, flags)

    return getnameinfo


# -- event loops


def _loop_getaddrinfo(original: Any) -> Any:
    async def getaddrinfo(self: Any, host: Any, port: Any, **kwargs: Any) -> Any:
        _look_up(host, port)
        found = await original(self, host, port, **kwargs)
        if (guard := _guard()) is not None:
            guard.resolved(host, (each[4][0] for each in found))
        return found

    return getaddrinfo


def _loop_getnameinfo(original: Any) -> Any:
    async def getnameinfo(self: Any, sockaddr: Any, flags: int = 0) -> Any:
        if not flags & socket.NI_NUMERICHOST:
            _look_up(sockaddr[0])
        return await original(self, sockaddr, flags)

    return getnameinfo


def _asyncio(patches: Patches, module: ModuleType) -> None:
    # those of the socket module would refuse too, but in a worker thread, where the line of the app is not on the stack
    patches.replace(module.BaseEventLoop, "getaddrinfo", _loop_getaddrinfo)
    patches.replace(module.BaseEventLoop, "getnameinfo", _loop_getnameinfo)


def _uvloop(patches: Patches, module: ModuleType) -> None:
    def create_connection(original: Any) -> Any:
        async def create_connection(self: Any, factory: Any, host: Any = None, port: Any = None, **kwargs: Any) -> Any:
            if kwargs.get("sock") is None:
                _pass("a connection to", host, port)
            return await original(self, factory, host, port, **kwargs)

        return create_connection

    def create_datagram_endpoint(original: Any) -> Any:
        async def create_datagram_endpoint(
            self: Any, factory: Any, local_addr: Any = None, remote_addr: Any = None, **kwargs: Any
        ) -> Any:
            if remote_addr is not None:
                _pass("a datagram to", *remote_addr[:2])
            return await original(self, factory, local_addr, remote_addr, **kwargs)

        return create_datagram_endpoint

    patches.replace(module.Loop, "create_connection", create_connection)
    patches.replace(module.Loop, "create_datagram_endpoint", create_datagram_endpoint)
    patches.replace(module.Loop, "getaddrinfo", _loop_getaddrinfo)
    patches.replace(module.Loop, "getnameinfo", _loop_getnameinfo)


# -- HTTP clients


def _aiohttp(patches: Patches, connector: ModuleType) -> None:
    check("aiohttp")

    def create_connection(original: Any) -> Any:
        async def _create_connection(self: Any, req: Any, traces: Any, timeout: Any) -> Any:
            url = req.proxy or req.url
            _pass(f"aiohttp's {req.method}", url.raw_host, url.port, url=_without_query(str(req.url)))
            return await original(self, req, traces, timeout)

        return _create_connection

    def resolve_host(original: Any) -> Any:  # aiodns looks up in C
        async def _resolve_host(self: Any, host: str, port: int, *args: Any, **kwargs: Any) -> Any:
            _look_up(host, port)
            found = await original(self, host, port, *args, **kwargs)
            if (guard := _guard()) is not None:
                guard.resolved(host, (each["host"] for each in found))
            return found

        return _resolve_host

    patches.replace(connector.TCPConnector, "_create_connection", create_connection)
    patches.replace(connector.TCPConnector, "_resolve_host", resolve_host)


def _httpcore(patches: Patches, core: ModuleType) -> None:
    check(core.__name__)

    def connect_tcp_async(original: Any) -> Any:
        async def connect_tcp(self: Any, host: str, port: int, *args: Any, **kwargs: Any) -> Any:
            _pass("a connection to", host, port)
            return await original(self, host, port, *args, **kwargs)

        return connect_tcp

    def connect_tcp(original: Any) -> Any:
        def connect_tcp(self: Any, host: str, port: int, *args: Any, **kwargs: Any) -> Any:
            _pass("a connection to", host, port)
            return original(self, host, port, *args, **kwargs)

        return connect_tcp

    # Deeper down, anyio would wrap the refusal in an ExceptionGroup.
    patches.replace(core._backends.auto.AutoBackend, "connect_tcp", connect_tcp_async)
    patches.replace(core._backends.sync.SyncBackend, "connect_tcp", connect_tcp)


def _without_query(url: str) -> str:
    return url.partition("?")[0]
