"""What an IP address means to a limit."""

from __future__ import annotations

import pytest

from gateway.addresses import is_loopback, network_of


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8:0:0:ffff:ffff:ffff:ffff", "2001:db8::/64"),
        ("2001:db8:0:1::", "2001:db8:0:1::/64"),
        ("fe80::1", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("nobody", "nobody"),
        (":::", ":::"),
        ("2001:db8::1\0", "2001:db8::1\0"),
    ],
)
def test_network(host: str, network: str) -> None:
    assert network_of(host) == network


def test_loopback() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "127.255.255.254", "::1")] == [True] * 3
    assert [is_loopback(host) for host in ("128.0.0.1", "0.0.0.0", "::", "::2", "", "192.0.2.127")] == [False] * 6
