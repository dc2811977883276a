"""The log: `logs.tail`."""

from __future__ import annotations

from typing import Any

from ...logring import DEFAULT_BYTES, DEFAULT_LINES
from ..method import READ, Call, Method
from ..problem import FORBIDDEN, RpcError
from ..services import Services

__all__ = ["methods"]

_NOTHING = {"file": "none: this program keeps no log for clients", "cursor": 0, "size": 0, "lines": []}


class _LogMethods:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def tail(self, call: Call) -> dict[str, Any]:
        """The last lines, or those since the cursor of an earlier answer."""
        if call.client.welcome.caller.agents is not None:
            raise RpcError(FORBIDDEN, "this key is for single agents, and the log is about all of them")
        ring = self._services.logs
        if ring is None:
            return dict(_NOTHING)
        params = call.params
        return ring.tail(
            params.get("cursor"), params.get("limit", DEFAULT_LINES), params.get("maxBytes", DEFAULT_BYTES)
        )


def methods(services: Services) -> list[Method]:
    """Those of this file."""
    return [Method("logs.tail", READ, _LogMethods(services).tail)]
