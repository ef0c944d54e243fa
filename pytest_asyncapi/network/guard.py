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

    `allow` takes names, addresses, networks (``10.0.0.0/8``) and patterns (``*.example.com``). With ``loopback=False``
    not even this machine may be reached.
    """

    def __init__(self, allow: Iterable[str] = (), *, loopback: bool = True) -> None:
        self.blocked: list[Blocked] = []
        self._loopback = loopback
        self._hosts = Hosts(allow)
        self._resolved: set[str] = set()  # addresses of allowed names: connect() sees no names

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
        before = self._hosts, self._resolved
        self._hosts, self._resolved = Hosts([host]), set(self._resolved)
        previous = before[0]
        self._hosts.names |= previous.names
        self._hosts.patterns += previous.patterns
        self._hosts.networks += previous.networks
        try:
            yield
        finally:
            self._hosts, self._resolved = before

    # -- decisions

    def allows(self, host: Any) -> bool:
        """Whether a name or an address may be reached."""
        if host is None:
            return True  # the loopback, or every interface of this machine
        name = plain(host)
        if not name or name in self._resolved or name in self._hosts:
            return True
        return self._loopback and is_loopback(name)

    def allows_address(self, family: int, address: Any) -> bool:
        """Whether a socket of this family may be connected to the address."""
        if family in (socket.AF_INET, socket.AF_INET6):
            return self.allows(address[0])
        return True  # Unix sockets, netlink and the like stay on this machine

    def resolved(self, host: Any, addresses: Iterable[Any]) -> None:
        """A name was looked up: the addresses of an allowed one are allowed too."""
        if host is not None and plain(host) in self._hosts:
            self._resolved.update(plain(address) for address in addresses)

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


def _guess(host: str, port: Any) -> str:
    host = f"[{host}]" if ":" in host else host
    scheme = "http" if port == 80 else "https"
    return f"{scheme}://{host}" + ("" if port in (None, 80, 443) else f":{port}") + "/"
