"""Cross-origin requests of web pages (https://fetch.spec.whatwg.org/#http-cors-protocol).

Stands before everything else, so that a page can read every answer, errors too: without these lines its browser tells
it nothing but "Failed to fetch".  Only what never became a request is answered without them.  No cookies and no other
credentials of the browser are involved: the page shows the secret itself, in Authorization.
"""

from __future__ import annotations

from collections.abc import Callable
from re import compile as pattern

from ..model.http import Headers
from ..model.names import FALLBACK
from ..ports import Exchange, Handler
from .pages import Origins
from .problem import render

__all__ = ["Cors"]

# RFC 9110, 5.6.1 and 5.6.2: a list of header names, as browsers write it.
_NAMES = pattern(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:, ?[!#$%&'*+.^_`|~0-9A-Za-z-]+)*")
# What is asked for is sent back, up to so many bytes; a browser with an SDK asks for 200.
REQUESTED_BYTES = 1024
# Seconds for which a browser may remember the answer to a preflight; Chromium's own most is 7,200.
MAX_AGE = 600

_VARY: Headers = ((b"vary", b"Origin"),)
_READABLE = (
    b"x-request-id, retry-after, idempotent-replayed, " + FALLBACK + b", "
    b"x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests"
)
_EXPOSED: Headers = ((b"access-control-expose-headers", _READABLE), *_VARY)


class Cors:
    """What stands around `handler`.  `methods` gives the methods that are served at a path, as Allow has them."""

    def __init__(self, origins: Origins, handler: Handler, methods: Callable[[str], bytes]) -> None:
        self._origins = origins
        self._handler = handler
        self._methods = methods

    async def serve(self, exchange: Exchange) -> None:
        """Answer a preflight, or let `handler` answer."""
        head = exchange.head
        fields = head.fields
        origin = fields.get(b"origin")
        allowed = origin is not None and self._origins.lists(origin)
        if origin is not None and allowed:
            exchange.decorate(((b"access-control-allow-origin", origin), *_EXPOSED))
        else:
            exchange.decorate(_VARY)
        if origin is None or head.method != "OPTIONS" or b"access-control-request-method" not in fields:
            await self._handler(exchange)
        elif allowed:
            exchange.respond(204, self._granted(exchange))
        else:
            exchange.respond(*render(self._origins.refusal(exchange)))

    def _granted(self, exchange: Exchange) -> Headers:
        """Whatever the page asks for: what is at the path then answers for itself, and is answered readably."""
        fields = exchange.head.fields
        headers: Headers = (
            (b"access-control-allow-methods", self._methods(exchange.head.path)),
            (b"access-control-max-age", b"%d" % MAX_AGE),
        )
        requested = fields.get(b"access-control-request-headers", b"")
        if len(requested) <= REQUESTED_BYTES and _NAMES.fullmatch(requested):
            headers += ((b"access-control-allow-headers", requested),)
        # https://wicg.github.io/private-network-access: a page of the Internet asks for an address at home.
        if fields.get(b"access-control-request-private-network") == b"true":
            headers += ((b"access-control-allow-private-network", b"true"),)
        return headers
