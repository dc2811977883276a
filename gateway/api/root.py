"""GET, HEAD or OPTIONS /: what this is and where its API lives, for whoever opens the bare address."""

from __future__ import annotations

import json
from collections.abc import Iterable

from ..errors import RequestError
from ..ports import Exchange
from ..wire.upgrade import accept, is_websocket
from .problem import JSON

__all__ = ["Root"]


class Root:
    """`paths` are those that serve something; neither versions nor agents are told, since anybody may ask."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._body = json.dumps({"service": "gateway", "paths": sorted(paths)}).encode()

    async def index(self, exchange: Exchange) -> None:
        """GET.  Raises RequestError (404, 426, 400) for a WebSocket, whose client would make nothing of a 200,
        and what `settle` raises.
        """
        if is_websocket(exchange.head):
            accept(exchange.head)  # a handshake that is no good anywhere is told so
            raise RequestError(404, "There is no WebSocket at `/`.", code="not_found")
        await exchange.settle()
        exchange.respond(200, JSON, self._body)

    async def options(self, exchange: Exchange) -> None:
        """OPTIONS (RFC 9110, 9.3.7)."""
        await exchange.settle()
        exchange.respond(204, ((b"allow", b"GET, HEAD, OPTIONS"),))
