"""GET /v1/models and /v1/models/{id}: the agents, as models; to a key those that it may use.

Source: https://platform.openai.com/docs/api-reference/models.
"""

from __future__ import annotations

import json
from typing import Any

from ..agents.registry import Registry
from ..errors import RequestError
from ..model.names import PUBLIC
from ..ports import Exchange
from .problem import JSON

__all__ = ["Models"]

PREFIX = "/v1/models/"


class Models:
    """The handlers.  `created` is in seconds since the epoch: when the gateway was started."""

    def __init__(self, registry: Registry, created: int) -> None:
        self._registry = registry
        self._created = created

    async def index(self, exchange: Exchange) -> None:
        """All models."""
        rows = [self._row(name) for name in self._registry.models_of(exchange.caller)]
        exchange.respond(200, JSON, json.dumps({"object": "list", "data": rows}).encode())

    async def one(self, exchange: Exchange) -> None:
        """One model; the slash in its id plain or percent-encoded."""
        from urllib.parse import unquote  # noqa: PLC0415 - for this one path; with ipaddress it costs the start 3 ms

        try:
            name = unquote(exchange.head.path.removeprefix(PREFIX), errors="strict")
        except UnicodeDecodeError:
            raise RequestError(400, "The model id in the path is not percent-encoded UTF-8.", param="model") from None
        if name not in self._registry.models_of(exchange.caller):
            raise RequestError(404, f"The model `{name}` does not exist.", param="model", code="model_not_found")
        exchange.respond(200, JSON, json.dumps(self._row(name)).encode())

    def _row(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._created, "owned_by": PUBLIC, "permission": []}
