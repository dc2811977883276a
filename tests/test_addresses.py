"""What an IP address means to a limit, and what an API's URL is."""

from __future__ import annotations

import pytest

from gateway.addresses import base_url_fault, is_loopback, network_of
from gateway.providers.origin import parse_url
from gateway.providers.settings import provider


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


@pytest.mark.parametrize(
    "url",
    [
        "http://h",
        "https://h:/v1",
        "HTTPS://H:65535/v1",
        "http://a_b/~x/@v;1",
        "http://[fe80::1]:1/v1",
        "http://[::1]",
        "http://h:0/a:b/[c]",
        "http://h/a//b",
    ],
)
def test_a_base_url(url: str) -> None:
    assert base_url_fault(url) is None
    assert provider("mine", base_url=url).base_url == url
    assert parse_url(url)


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("", "like"),
        ("h", "like"),
        ("://h", "like"),
        ("ftp://h", "like"),
        ("http:/h", "like"),
        ("http://", "like"),
        ("http:///v1", "like"),
        ("http://:80", "like"),
        ("http://h:x", "like"),
        ("http://h:-1", "like"),
        ("http://h:\u0661", "like"),
        ("http://h:65536", "like"),
        ("http://h:000080", "like"),
        ("http://h:1:2", "like"),
        ("http://[::1", "like"),
        ("http://[]", "like"),
        ("http://[::1]x", "like"),
        ("http://[::::]", "like"),
        ("http://[1.2.3.4]", "like"),
        ("http://[fe80::1%eth0]", "like"),
        ("http://a]b", "like"),
        ("http://a[b", "like"),
        ("http://h/ a", "like"),
        ("http://h/\n", "like"),
        ("http://h/\u00e9", "like"),
        ("http://u@h", "user"),
        ("http://u:p@h:1", "user"),
        ("http://u@x@h", "user"),
        ("http://@h", "user"),
        ("http://h?", "'?'"),
        ("http://h#", "'?'"),
        ("http://h/a?b", "'?'"),
        ("http://h/?u@x", "'?'"),
        ("http://h/#?", "'?'"),
    ],
)
def test_what_is_no_base_url(url: str, fault: str) -> None:
    assert fault in (base_url_fault(url) or "")
