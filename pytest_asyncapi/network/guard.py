"""What may leave the process: loopback, Unix sockets, and the hosts that the user allows. All else is refused, and
noted.

Noted, because an app may swallow the refusal: whoever opened the guard looks at ``blocked`` afterwards.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from pytest_asyncapi.errors import BlockedConnection, ours
from pytest_asyncapi.network import culprit
from pytest_asyncapi.wire.hosts import Hosts, is_loopback, plain

__tracebackhide__ = ours

STACK: list[Guard] = []
"""The guards that are open; the innermost decides. It holds for all threads and tasks of the process."""


@dataclass(frozen=True)
class Blocked:
    """A connection that was refused: by which call, where to, from which line, and all of it in words."""

    what: str
    host: str
    port: int | None
    line: str
    message: str


class Guard:
    """Refuses connections that leave this machine, as long as its ``with`` block runs, on asyncio and uvloop.

    `allow` takes names, addresses, networks (``10.0.0.0/8``) and patterns (``*.example.com``), each with a port
    (``minio.local:9000``) or for all. With ``loopback=False``
    not even this machine may be reached.
    """

    def __init__(self, allow: Iterable[str] = (), *, loopback: bool = True) -> None:
        self.blocked: list[Blocked] = []
        self._loopback = loopback
        self._hosts = Hosts(allow)

    def __enter__(self) -> Guard:
        from pytest_asyncapi.network import socket_hooks

        if not STACK:
            socket_hooks.install()
        STACK.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        from pytest_asyncapi.network import socket_hooks

        STACK.remove(self)
        if not STACK:
            socket_hooks.uninstall()

    @contextmanager
    def allowing(self, host: str) -> Iterator[None]:
        """Let a host be reached for a while, for a recording."""
        before = self._hosts
        self._hosts = Hosts([host])
        self._hosts.rules += before.rules
        try:
            yield
        finally:
            self._hosts = before

    # -- decisions

    def allows(self, host: Any, port: Any = None) -> bool:
        """Whether a name or an address may be reached; without a port, whether it may be looked up."""
        if host is None:
            return True  # the loopback, or every interface of this machine
        name = plain(host)
        if not name or self._hosts.allows(name, _number(port)):
            return True
        return self._loopback and is_loopback(name)

    def allows_address(self, family: int, address: Any) -> bool:
        """Whether a socket of this family may be connected to the address."""
        if family in (socket.AF_INET, socket.AF_INET6):
            return self.allows(address[0], address[1])
        return True  # Unix sockets, netlink and the like stay on this machine

    def resolved(self, host: Any, addresses: Iterable[Any]) -> None:
        """A name was looked up: the addresses of an allowed one are allowed too, for connect() sees no names."""
        if host is not None:
            self._hosts.add(plain(host), map(plain, addresses))

    def refuse(self, what: str, host: Any, port: Any = None, url: str | None = None) -> BlockedConnection:
        """Note a refusal; returns the error to raise."""
        found = culprit.find()
        host = plain(host)
        target = host if not port else f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [
            f"network: {what} {url or target} would leave this machine{f' ({found.line})' if found.line else ''}",
            f"  {found.cure(url or _guess(host, port))}",
            f"  or allow it: @pytest.mark.upstream(allow=[{host!r}]), or asyncapi_allow_hosts = {host}",
        ]
        message = "\n".join(lines)
        self.blocked.append(Blocked(what, host, port, found.line, message))
        return BlockedConnection(message)


def _number(port: Any) -> int | None:
    """A port as a number; None for the name of a service, and for none."""
    text = port.decode("ascii", "replace") if isinstance(port, bytes) else str(port)
    return int(text) if text.isdecimal() and int(text) else None


def _guess(host: str, port: Any) -> str:
    host = f"[{host}]" if ":" in host else host
    scheme = "http" if port == 80 else "https"
    return f"{scheme}://{host}" + ("" if port in (None, 80, 443) else f":{port}") + "/"
