"""Web pages at the door: the names under which a gateway may be asked, and the pages that may use it.

Names are a defence against DNS rebinding: a web page of evil.example can have its own name resolve to 127.0.0.1 and
then ask this gateway as its own origin, from a browser inside.  What it cannot do is to change the name that it asks
for: the Host header says evil.example.  A Host that is an IP address took no name to resolve, so that addresses are
known without being listed.

Origins are one list, for CORS and for the Origin of WebSockets.  A browser names the page's origin in a header that the
page cannot change (RFC 6454, section 7); other programs send none.
"""

from __future__ import annotations

from collections.abc import Iterable
from re import fullmatch

from ..errors import RequestError
from ..ports import Exchange, Visitor

__all__ = ["FORWARDED", "Hosts", "Origins", "authority", "is_origin"]

_IPV4 = rb"[0-9]{1,3}(?:\.[0-9]{1,3}){3}"  # compiled when one comes

# Spellings (of the port, mostly) of known hosts that are remembered.
MEMO = 64

# RFC 6454, 6.2, and as long as the longest DNS name with scheme and port; browser extensions have schemes of their own.
_ORIGIN = rb"(?=.{1,512}\Z)([a-z][a-z0-9+.-]*)://([!-.0-~]+)"  # compiled, as below, when one comes

# Of this machine, wherever it was resolved.  An address has to be whole: 127.evil.example is a name.
_LOCAL = rb"(?:(?:[^:\[\]]+\.)?localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]+)?"

# A request with one of these came by way of a proxy, or says so.
FORWARDED = frozenset({b"forwarded", b"x-forwarded-for", b"x-real-ip"})


def authority(exchange: Visitor) -> bytes:
    """`host` or `host:port` as the client wrote it, in lower case; empty for a request of HTTP/1.0 without a Host.

    What a trusted proxy says that it was asked for, else that of an absolute target (RFC 9112, 3.2.2), else Host.
    """
    head = exchange.head
    if exchange.peer.authority:
        return exchange.peer.authority.lower()
    _, absolute, rest = head.target.partition("://")
    if absolute and not head.target.startswith("/"):
        return rest.partition("/")[0].partition("?")[0].lower().encode()
    return head.fields.get(b"host", b"").lower()


class Hosts:
    """`names` are host names in any case; `.example.com` stands for that name and all below it, `*` for any name."""

    def __init__(self, names: Iterable[str]) -> None:
        listed = {name.lower().rstrip(".").encode() for name in names}
        self._any = b"*" in listed
        self._names = {b"localhost", *(name for name in listed if not name.startswith(b"."))}
        self._tails = (b".localhost", *(name for name in listed if name.startswith(b".")))
        self._memo: set[bytes] = set()

    def know(self, authority: bytes) -> bool:
        """Whether `host` or `host:port`, in lower case, means this gateway."""
        if self._any or authority in self._memo:
            return True
        if authority.startswith(b"["):
            known = True
        else:
            host = authority.partition(b":")[0].removesuffix(b".")
            known = host in self._names or (b"." + host).endswith(self._tails) or fullmatch(_IPV4, host) is not None
        if known:
            if len(self._memo) >= MEMO:
                self._memo.clear()
            self._memo.add(authority)
        return known

    def check(self, exchange: Exchange) -> None:
        """Raises RequestError (421) for a request that was meant for somebody else (RFC 9110, 7.4).

        Browsers always send a Host, and reach no unix socket: without the one, or over the other, nothing is to fear.
        """
        name = authority(exchange)
        if name and exchange.peer.host and not self.know(name):
            raise RequestError(
                421,
                f"`{name.decode('latin-1')}` is not a name of this gateway. If it should be, add it to "
                "gateway.http.allowedHosts in the gateway's configuration.",
                code="host_not_allowed",
            )


def is_origin(value: bytes) -> bool:
    """Whether a header holds an origin as browsers write it, and not `null` or garbage."""
    return fullmatch(_ORIGIN, value) is not None


class Origins:
    """`listed` are origins as browsers write them (`https://app.example.com`, `null`).

    `*` stands for all but `null`, which any page can make its origin.
    """

    def __init__(self, listed: Iterable[str], hosts: Hosts) -> None:
        self._listed = frozenset(origin.encode() for origin in listed)
        self._any = b"*" in self._listed
        self._hosts = hosts

    def lists(self, origin: bytes) -> bool:
        """Whether the pages of this origin may read what they are answered."""
        return origin in self._listed or (self._any and is_origin(origin))

    def admits(self, exchange: Exchange) -> bool:
        """Whether the request comes from no page, from a listed one, from one of ours, or from one of this machine."""
        origin = exchange.head.fields.get(b"origin")
        if origin is None or self.lists(origin):
            return True
        match = fullmatch(_ORIGIN, origin)
        if match is None:
            return False
        scheme, host = match[1], match[2]
        own = authority(exchange)
        # Of our own host, but not of a plain page where we are served encrypted: anybody on the way could have made it.
        if host == own and self._hosts.know(own) and not (scheme == b"http" and exchange.peer.tls):
            return True
        return (
            exchange.peer.local and FORWARDED.isdisjoint(exchange.head.fields) and fullmatch(_LOCAL, host) is not None
        )

    def check(self, exchange: Exchange) -> None:
        """Raises RequestError (403) for a request of a web page that has no business here."""
        if not self.admits(exchange):
            raise self.refusal(exchange)

    @staticmethod
    def refusal(exchange: Exchange) -> RequestError:
        origin = exchange.head.fields[b"origin"].decode("latin-1")
        return RequestError(
            403,
            f"The origin `{origin}` is not allowed. If its pages should use this gateway, add it to "
            "gateway.http.cors.allowedOrigins in the gateway's configuration.",
            code="origin_not_allowed",
        )
