"""Which web pages may connect.

A browser lets any page open a WebSocket to anywhere, and says in Origin which page it was (RFC 6455, 10.2).  Unlike the
HTTP API, which answers 403, the protocol tells a refused page so in its own words; the rules are the product's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from ..addresses import is_loopback
from ..model.http import Peer, RequestHead

__all__ = ["INVALID", "REFUSED", "Origins", "is_local"]

INVALID = "origin missing or invalid"
REFUSED = "origin not allowed"

# RFC 6454, 6.2, without user information; as long as the longest DNS name with scheme and port.
_ORIGIN = re.compile(
    rb"(?=.{1,512}\Z)([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[^/?#\\@:\[\]\x00-\x20\x7f]+)(?::([0-9]{1,5}))?/?"
)
_USUAL_PORTS = {b"http": b"80", b"https": b"443", b"ws": b"80", b"wss": b"443"}
# What a name on the network at hand ends with: mDNS (RFC 6762), and the private names of Tailscale.
_NEARBY = (".local", ".ts.net")
# RFC 1918, RFC 3927, RFC 6598; RFC 4291, RFC 4193.
_PRIVATE = [
    ip_network(network)
    for network in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10", "fe80::/10", "fc00::/7",
    )
]  # fmt: skip


class Origins:
    """`listed` are origins as browsers write them; `*` stands for all."""

    def __init__(self, listed: Iterable[str] = ()) -> None:
        self._listed = frozenset(origin.strip().lower().rstrip("/") for origin in listed)

    def fault(self, head: RequestHead, peer: Peer) -> str | None:
        """Why the page that asks may not connect: INVALID or REFUSED; None for one that may."""
        match = _ORIGIN.fullmatch(head.fields.get(b"origin", b"").strip().lower())
        if match is None:
            return INVALID
        scheme, name, port = match.groups()
        own_port = b"" if port is None or port == _USUAL_PORTS.get(scheme) else b":" + port
        host = (name + own_port).decode("latin-1")
        if "*" in self._listed or f"{scheme.decode()}://{host}" in self._listed:
            return None
        local = is_local(head, peer)
        if host == _authority(head, peer) and _is_near(_name(host), local=local):
            return None
        return None if local and _is_loopback(_name(host)) else REFUSED


def is_local(head: RequestHead, peer: Peer) -> bool:
    """Whether a program of this machine asks for itself, and not a proxy for somebody.

    A proxy says so in its headers, or leaves the name in Host that it was asked for: one that is not this machine's is
    not taken for local, which pairs devices and keeps scopes without anybody's approval.  Where proxies of this machine
    are trusted, `peer` is never local; who comes from here without their headers did not come by way of them.
    """
    fields = head.fields
    here = peer.local or not peer.host or is_loopback(peer.host)
    if not here or any(_is_forwarded(name) for name in fields):
        return False
    host = fields.get(b"host", b"").decode("latin-1").lower()
    return not peer.host or not host or _is_loopback(_name(host)) or _address(_name(host)) is not None


def _is_forwarded(name: bytes) -> bool:
    return name in {b"forwarded", b"x-real-ip"} or name.startswith((b"x-forwarded-", b"tailscale-"))


def _authority(head: RequestHead, peer: Peer) -> str:
    return (peer.authority or head.fields.get(b"host", b"")).decode("latin-1").strip().lower()


def _name(authority: str) -> str:
    """Without the port, and an address without its brackets."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    return authority if authority.count(":") > 1 else authority.partition(":")[0]


def _address(name: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(name)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_loopback(name: str) -> bool:
    name = name.rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(name)
    return address is not None and address.is_loopback


def _is_near(name: str, *, local: bool) -> bool:
    """Whether a name cannot be that of a stranger's page, led here by its DNS."""
    if _is_loopback(name):
        return local
    address = _address(name)
    if address is None:
        return name.endswith(_NEARBY)
    return any(address in network for network in _PRIVATE)
