"""POST /v1/embeddings: passed to a provider.

Source: https://platform.openai.com/docs/api-reference/embeddings/create.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from ..errors import RequestError
from ..model.caller import Caller
from ..model.embeddings import EmbeddingsRequest
from ..model.names import FAMILIES
from ..ports import Exchange
from .embeddings_parse import embeddings_request
from .json_body import body_of
from .problem import JSON

__all__ = ["Embed", "Embeddings"]

# Names in an error: enough to choose from, and not a page.
SHOWN = 20

Embed: TypeAlias = Callable[[str, EmbeddingsRequest], Awaitable[bytes]]
"""(`provider/model`, request) -> the body of the answer.  Raises AgentError."""


class Embeddings:
    """The handler.  `models`: the names that requests may use, to `provider/model`; `default`: for those without one.

    Who may choose models (the scope `model`) may also name a `provider/model` themselves.
    """

    def __init__(self, embed: Embed, default: str | None, models: Mapping[str, str], body_limit: int) -> None:
        self._embed = embed
        self._default = default
        self._models = models
        self._body_limit = body_limit

    async def create(self, exchange: Exchange) -> None:
        """Answer one request."""
        request = embeddings_request(await body_of(exchange, self._body_limit))
        model = self._find(request.model, exchange.caller)
        exchange.respond(200, JSON, await self._embed(model, request))

    def _find(self, name: str | None, caller: Caller) -> str:
        """The `provider/model` that a request means."""
        if name is None or name.lower() in FAMILIES:
            if self._default is not None:
                return self._default
            if name is None:
                raise RequestError(400, "Missing required parameter: `model`.", param="model")
        elif (found := self._models.get(name)) is not None:
            return found
        elif "/" in name:
            if name == self._default or name in self._models.values() or caller.may("model"):
                return name
            message = f"This API key may not choose the model `{name[:64]}`: it has no scope `model`."
            raise RequestError(403, message, type="permission_error", param="model", code="insufficient_scope")
        known = ", ".join(f"`{one}`" for one in (*list(self._models)[:SHOWN], "provider/model"))
        message = f"The model `{name[:64]}` does not exist. Use one of: {known}."
        raise RequestError(404, message, param="model", code="model_not_found")
