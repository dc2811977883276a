"""Reverse proxies whose word is taken for who the client is.  Loaded where there are any: `ipaddress` is costly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from re import compile as pattern

from ..addresses import network_of
from ..errors import RequestError
from ..model.http import Peer, RequestHead
from ..ports import Exchange, Handler
from ..wire.grammar import AUTHORITY

__all__ = ["UNIX", "BehindProxies", "TrustedProxies"]

UNIX = "unix"
"""Stands for all peers on unix sockets."""

# More proxies than that stand in no row; what is further left is not looked at.
HOPS = 32

# Seconds.  One of the requests that are under way ends at any moment.
RETRY_AFTER = 5

# RFC 7239, 4: forwarded-pair = token "=" ( token / quoted-string ), then `;` before another pair or `,` before a hop.
_PAIR = pattern(
    rb"[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=([!#$%&'*+.^_`|~0-9A-Za-z-]+|"
    rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*")[ \t]*(?:([;,])|\Z)'
)


class TrustedProxies:
    """`networks` are addresses, networks in CIDR notation (RFC 4632), or `unix`.  Raises ValueError for others.

    `real_ip`: where nothing else tells the client, X-Real-IP does.
    """

    def __init__(self, networks: Iterable[str], *, real_ip: bool = False) -> None:
        listed = set(networks)
        self._unix = UNIX in listed
        self._networks = [ip_network(network) for network in listed - {UNIX}]
        self._real_ip = real_ip

    def trusts(self, peer: Peer) -> bool:
        """Whether the peer of a connection is such a proxy."""
        if not peer.host:
            return self._unix
        address = _address(peer.host.encode())
        return address is not None and self._trusts(address)

    def _trusts(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._networks)

    def client(self, proxy: Peer, head: RequestHead) -> Peer:
        """The client that a trusted proxy speaks for: the rightmost hop that is not trusted itself.

        Whatever stands left of it was written by nobody we know.  A hop that is no address (`unknown`, garbage) ends
        the search at the last good one, in the end at the proxy itself.
        """
        fields = head.fields
        tls, authority = proxy.tls, b""
        proto, host = _last(fields.get(b"x-forwarded-proto")), _last(fields.get(b"x-forwarded-host"))
        listed, forwarded = fields.get(b"x-forwarded-for"), fields.get(b"forwarded")
        if listed is not None:
            hops = iter(listed.rsplit(b",", HOPS)[: -HOPS - 1 : -1])
        elif forwarded is not None:
            elements = _elements(forwarded)
            hops = (element.get(b"for", b"") for element in reversed(elements[-HOPS:]))
            if elements:
                proto, host = elements[-1].get(b"proto", proto), elements[-1].get(b"host", host)
        else:
            hops = iter((fields[b"x-real-ip"],) if self._real_ip and b"x-real-ip" in fields else ())
        if proto:
            tls = proto.lower() in {b"https", b"wss"}
        if AUTHORITY.fullmatch(host):
            authority = host
        return Peer(self._rightmost(hops) or proxy.host, 0, local=False, tls=tls, authority=authority)

    def _rightmost(self, hops: Iterator[bytes]) -> str:
        found = ""
        for hop in hops:
            address = _address(hop)
            if address is None:
                break
            found = str(address)
            if not self._trusts(address):
                break
        return found


def _address(hop: bytes) -> IPv4Address | IPv6Address | None:
    """An address as proxies write it: plain, with a port, in brackets."""
    try:
        text = hop.decode("ascii").strip(" \t")
        if text.startswith("["):
            text = text[1:].partition("]")[0]
        elif text.count(":") == 1:
            text = text.partition(":")[0]
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _last(value: bytes | None) -> bytes:
    """The last element of a list: what the nearest proxy has written."""
    return b"" if value is None else value.rpartition(b",")[2].strip(b" \t")


def _elements(value: bytes) -> list[dict[bytes, bytes]]:
    """The hops of a Forwarded header, each a dict of its pairs; none at all where the header is not well-formed."""
    elements: list[dict[bytes, bytes]] = [{}]
    at = 0
    while at < len(value):
        match = _PAIR.match(value, at)
        if match is None:
            return []
        text = match[2]
        elements[-1][match[1].lower()] = text[1:-1].replace(b"\\", b"") if text.startswith(b'"') else text
        at = match.end()
        if match[3] == b",":
            elements.append({})
    return elements


class BehindProxies:
    """Stands around `handler`, and finds the client of each request that a trusted proxy hands on.

    One client may have `most` requests (WebSockets among them) under way, as it may have so many connections where
    there is no proxy.
    """

    def __init__(self, proxies: TrustedProxies, handler: Handler, most: int) -> None:
        self._proxies = proxies
        self._handler = handler
        self._most = most
        self._under_way: dict[str, int] = {}

    async def serve(self, exchange: Exchange) -> None:
        """Answer one request.  Raises RequestError (503) where a client has too many under way."""
        proxy = exchange.peer
        if not self._proxies.trusts(proxy):
            await self._handler(exchange)
            return
        exchange.peer = client = self._proxies.client(proxy, exchange.head)
        network = network_of(client.host)
        count = self._under_way.get(network, 0)
        if client.host != proxy.host and count >= self._most:  # a proxy that does not tell its clients stands for all
            retry = ((b"retry-after", b"%d" % RETRY_AFTER),)
            raise RequestError(503, "too many requests at a time from this address", type="api_error", headers=retry)
        self._under_way[network] = count + 1
        try:
            await self._handler(exchange)
        finally:
            left = self._under_way[network] - 1
            if left:
                self._under_way[network] = left
            else:
                del self._under_way[network]
