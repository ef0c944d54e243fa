"""Which hosts are this machine, and which of them a user allows."""

from __future__ import annotations

import pytest

from pytest_asyncapi.wire.hosts import Hosts, is_loopback


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("app.localhost", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", True),
        ("10.0.0.1", False),
        ("example.com", False),
        ("127.example.com", False),
        ("", False),
    ],
)
def test_what_is_the_loopback(host, expected):
    assert is_loopback(host) is expected


def test_allowed_hosts_are_names_patterns_addresses_and_networks():
    hosts = Hosts(["Minio.local.", "*.example.com", "10.0.0.0/8", "[2001:db8::1]"])

    allowed = ["minio.local", "a.example.com", "10.1.2.3", "2001:db8::1"]
    assert [host for host in [*allowed, "example.com", "11.0.0.1", "2001:db8::2", "evil"] if host in hosts] == allowed
