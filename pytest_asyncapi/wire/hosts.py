"""Which hosts are this machine, and which a user allows: what the upstream router lets by, and what the guard lets
out."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from pytest_asyncapi.errors import ConfigurationError, ours

__tracebackhide__ = ours


def plain(host: object) -> str:
    """A host name or address as text, without a trailing dot, brackets or a zone."""
    text = host.decode("ascii", "replace") if isinstance(host, bytes | bytearray) else str(host)
    return text.lower().rstrip(".").strip("[]").partition("%")[0]


def is_loopback(host: str) -> bool:
    """``localhost``, a name under it, or an address that never leaves the machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    if not host or (host[0] not in "0123456789" and ":" not in host):
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped if mapped is not None else address
    return address.is_loopback or address.is_unspecified


@dataclass(frozen=True)
class Rule:
    """A name, a pattern of names or a network; for one port, or (None) for all."""

    host: str | ipaddress.IPv4Network | ipaddress.IPv6Network
    port: int | None = None

    def holds(self, host: str, port: int | None) -> bool:
        """Whether a host is allowed; without a port, when it is on some port."""
        if self.port is not None and port not in (None, self.port):
            return False
        if isinstance(self.host, str):
            return fnmatchcase(host, self.host) if "*" in self.host else host == self.host
        try:
            return ipaddress.ip_address(host) in self.host
        except ValueError:
            return False


class Hosts:
    """Hosts that a user allows: names, addresses, networks (``10.0.0.0/8``) and patterns (``*.example.com``), each for
    all ports, or for one (``minio.local:9000``)."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        if isinstance(allowed, str):
            raise ConfigurationError(f"allowed hosts {allowed!r}: give a list of them.")
        self.rules = [_rule(each) for each in allowed]

    def allows(self, host: str, port: int | None = None) -> bool:
        return any(rule.holds(host, port) for rule in self.rules)

    def add(self, name: str, addresses: Iterable[str]) -> None:
        """Allow the addresses of a name as far as the name is allowed."""
        ports = [rule.port for rule in self.rules if rule.holds(name, None)]
        self.rules += [Rule(address, port) for address in addresses for port in ports]


def _rule(host: str) -> Rule:
    if not isinstance(host, str) or not host.strip():
        raise ConfigurationError(f"the allowed host {host!r} is no name, address, network or pattern.")
    text, port = host.strip(), None
    if found := _WITH_PORT.fullmatch(text):
        text, port = found[1], int(found[2])
    try:
        return Rule(ipaddress.ip_network(text.strip("[]"), strict=False), port)
    except ValueError:
        name = plain(text)
    if "/" in name or ":" in name:
        meant = urlsplit(name if "//" in name else f"//{name}").hostname or name
        raise ConfigurationError(
            f"the allowed host {host!r} is no name, address, network or pattern; is {meant!r} meant?"
        )
    return Rule(name, port)


_WITH_PORT = re.compile(r"(\[[^\]]+\]|[^:/\[\]]+):([0-9]{1,5})")
