"""Reverse proxies, and the clients behind them.  The cases stand in data/proxies/hops.jsonl."""

from __future__ import annotations

import json
import time
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.http import Peer, RequestHead
from gateway.server.proxies import HOPS, TrustedProxies

CASES = [json.loads(line) for line in (Path(__file__).parents[1] / "data/proxies/hops.jsonl").read_text().splitlines()]
NETWORKS = ("10.0.0.0/8", "2001:db8:1::/48", "192.0.2.99", "unix")
PROXY = Peer("10.0.0.1", 4711, local=False)


def head(headers: dict[bytes, bytes]) -> RequestHead:
    return RequestHead(
        method="GET", target="/", path="/", query="", version="1.1", headers=tuple(headers.items()), fields=headers,
        content_length=None, chunked=False, keep_alive=True, expects_continue=False,
    )  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["say"])
def test_the_client(case: dict[str, Any]) -> None:
    proxies = TrustedProxies(NETWORKS, real_ip=case.get("real_ip", False))
    fields = {name.encode(): value.encode() for name, value in case["headers"].items()}
    client = proxies.client(PROXY, head(fields))
    assert client == Peer(
        case["client"], 0, local=False, tls=case.get("tls", False), authority=case.get("authority", "").encode()
    )


@pytest.mark.parametrize(
    ("host", "trusted"),
    [
        ("10.0.0.1", True), ("10.255.255.255", True), ("11.0.0.1", False), ("192.0.2.99", True), ("192.0.2.98", False),
        ("2001:db8:1:ffff::1", True), ("2001:db8:2::1", False), ("127.0.0.1", False), ("", True), ("?", False),
    ],
)  # fmt: skip
def test_who_is_trusted(host: str, trusted: bool) -> None:
    assert TrustedProxies(NETWORKS).trusts(Peer(host, 0, local=not host)) is trusted


def test_unix_sockets_are_trusted_only_where_they_are_listed() -> None:
    assert not TrustedProxies(["127.0.0.1"]).trusts(Peer("", 0, local=True))


@pytest.mark.parametrize("network", ["10.0.0.1/8", "proxy.example.com", "", "10.0.0.0/33", "10.0.0"])
def test_what_is_no_network(network: str) -> None:
    with pytest.raises(ValueError, match=r"does not appear|has host bits|is not"):
        TrustedProxies([network])


def test_only_so_many_hops_are_read() -> None:
    proxies = TrustedProxies(NETWORKS)
    for count, client in ((HOPS, "192.0.2.7"), (HOPS + 1, "10.2.3.4")):
        listed = b", ".join([b"192.0.2.7", *[b"10.2.3.4"] * (count - 1)])
        assert proxies.client(PROXY, head({b"x-forwarded-for": listed})).host == client
        elements = b", ".join(b"for=" + hop for hop in listed.split(b", "))
        assert proxies.client(PROXY, head({b"forwarded": elements})).host == client


VALUE = st.binary(max_size=60) | st.text('0123456789.:[]", ;=forunknow', max_size=60).map(str.encode)


@given(st.dictionaries(st.sampled_from([b"x-forwarded-for", b"forwarded", b"x-real-ip", b"x-forwarded-host"]), VALUE))
def test_whatever_comes_is_an_address(fields: dict[bytes, bytes]) -> None:
    client = TrustedProxies(NETWORKS, real_ip=True).client(PROXY, head(fields))
    assert client.host == str(ip_address(client.host))
    assert not client.local


def test_long_headers_cost_little() -> None:
    proxies = TrustedProxies(NETWORKS)
    for value in (b"10.0.0.1," * 3000, b'for="' * 6000, b"for=a;" * 5000, b"for=10.0.0.1," * 2500, b'for="\\' * 5000):
        for name in (b"x-forwarded-for", b"forwarded"):
            began = time.process_time()
            assert proxies.client(PROXY, head({name: value})).host == PROXY.host
            assert time.process_time() - began < 0.1
