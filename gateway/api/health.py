"""GET or HEAD /healthz, /health, /readyz, /ready: for supervisors and load balancers, without authentication."""

from __future__ import annotations

import json
from collections.abc import Callable

from ..ports import Exchange
from .problem import JSON

__all__ = ["Health"]


class Health:
    """`failing` gives the names of what keeps the gateway from taking requests: `starting`, `draining`."""

    def __init__(self, failing: Callable[[], list[str]]) -> None:
        self._failing = failing

    async def live(self, exchange: Exchange) -> None:
        """The process answers; true also while it drains."""
        exchange.respond(200, JSON, b'{"ok":true,"status":"live"}')

    async def ready(self, exchange: Exchange) -> None:
        """Whether requests should be sent here."""
        failing = self._failing()
        body = {"ready": not failing, "failing": failing}
        exchange.respond(503 if failing else 200, JSON, json.dumps(body).encode())
