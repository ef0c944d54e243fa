"""Which hosts are this machine, and which a user allows: what the upstream router lets by, and what the guard lets
out."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from pytest_asyncapi.errors import ConfigurationError


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


class Hosts:
    """Hosts that a user allows: names, addresses, networks (``10.0.0.0/8``) and patterns (``*.example.com``)."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self.names: set[str] = set()
        self.patterns: list[str] = []
        self.networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        if isinstance(allowed, str):
            raise ConfigurationError(f"allowed hosts {allowed!r}: give a list of them.")
        for each in allowed:
            self.add(each)

    def add(self, host: str) -> None:
        if not isinstance(host, str) or not host.strip():
            raise ConfigurationError(f"the allowed host {host!r} is no name, address, network or pattern.")
        try:
            self.networks.append(ipaddress.ip_network(host.strip("[]"), strict=False))
        except ValueError:
            name = plain(host)
            if "/" in name or ":" in name:
                meant = urlsplit(name if "//" in name else f"//{name}").hostname or name
                raise ConfigurationError(
                    f"the allowed host {host!r} is no name, address, network or pattern; is {meant!r} meant?"
                ) from None
            if "*" in name:
                self.patterns.append(name)
            else:
                self.names.add(name)

    def __contains__(self, host: str) -> bool:
        if host in self.names or any(fnmatchcase(host, pattern) for pattern in self.patterns):
            return True
        if not self.networks:
            return False
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self.networks)
