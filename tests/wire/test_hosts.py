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
    others = ["example.com", "11.0.0.1", "2001:db8::2", "evil"]
    assert [host for host in [*allowed, *others] if hosts.allows(host, 80)] == allowed


def test_an_allowed_host_may_have_a_port():
    hosts = Hosts(["minio.local:9000", "[2001:db8::1]:81", "10.0.0.1:5432", "*.example.com:443", "free.local"])

    wanted = [("minio.local", 9000), ("2001:db8::1", 81), ("10.0.0.1", 5432), ("a.example.com", 443), ("free.local", 7)]
    assert all(hosts.allows(*each) for each in wanted)
    assert [host for host, _ in wanted if hosts.allows(host, 80)] == ["free.local"]
    assert all(hosts.allows(host) for host, _ in wanted)  # to be looked up
    hosts.add("minio.local", ["192.0.2.7"])
    hosts.add("elsewhere.local", ["192.0.2.8"])
    assert [hosts.allows(*each) for each in (("192.0.2.7", 9000), ("192.0.2.7", 80), ("192.0.2.8", 80))] == [
        True,
        False,
        False,
    ]
