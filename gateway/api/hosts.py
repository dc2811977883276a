"""The names under which a gateway may be asked: a defence against DNS rebinding.

A web page of evil.example can have its own name resolve to 127.0.0.1 and then ask this gateway as its own origin, from
a browser inside.  What it cannot do is to change the name that it asks for: the Host header says evil.example.  A Host
that is an IP address took no name to resolve, so that addresses are known without being listed.
"""

from __future__ import annotations

from collections.abc import Iterable
from re import fullmatch

from ..errors import RequestError
from ..ports import Exchange, Visitor

__all__ = ["Hosts", "authority"]

_IPV4 = rb"[0-9]{1,3}(?:\.[0-9]{1,3}){3}"  # compiled when one comes

# Spellings (of the port, mostly) of known hosts that are remembered.
MEMO = 64


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
