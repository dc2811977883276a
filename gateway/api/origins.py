"""The web pages that may use a gateway from a browser: one list, for CORS and for the Origin of WebSockets.

A browser names the page's origin in a header that the page cannot change (RFC 6454, section 7); other programs send
none.
"""

from __future__ import annotations

from collections.abc import Iterable
from re import fullmatch

from ..errors import RequestError
from ..ports import Exchange
from .hosts import Hosts, authority

__all__ = ["FORWARDED", "Origins", "is_origin"]

# RFC 6454, 6.2, and as long as the longest DNS name with scheme and port; browser extensions have schemes of their own.
_ORIGIN = rb"(?=.{1,512}\Z)([a-z][a-z0-9+.-]*)://([!-.0-~]+)"  # compiled, as below, when one comes

# Of this machine, wherever it was resolved.  An address has to be whole: 127.evil.example is a name.
_LOCAL = rb"(?:(?:[^:\[\]]+\.)?localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]+)?"

# A request with one of these came by way of a proxy, or says so.
FORWARDED = frozenset({b"forwarded", b"x-forwarded-for", b"x-real-ip"})


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
