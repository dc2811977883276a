"""Calls of the gateway's tools without a model, by whoever may."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from logging import getLogger
from typing import Any

from ..errors import AgentError, GatewayError, ToolError
from ..model.caller import Caller
from ..ports import GatewayTool, Offer
from .toolbox import ToolServer

__all__ = ["InvocationError", "Invoker"]

_logger = getLogger(__name__)


class InvocationError(GatewayError):
    """A call that gave no result.  `status` is that of HTTP; `type` a word of the product's, or an AgentError's."""

    def __init__(self, status: int, type: str, message: str) -> None:  # noqa: A002 - the name of the member
        super().__init__(message)
        self.status = status
        self.type = type
        self.message = message


class Invoker:
    """`everything` are all tools, `offers` those of each agent: who may use some agents only may call what these have.
    `origin` gives the server that a tool is of, by its name.  `most` calls are under way at a time, whoever asked, each
    for at most `seconds`.
    """

    def __init__(
        self,
        everything: Offer,
        offers: Mapping[str, Offer],
        most: int,
        seconds: float | None,
        origin: Callable[[str], ToolServer | None] = lambda _: None,
    ) -> None:
        self._everything = everything
        self._offers = offers
        self._most = most
        self._seconds = seconds
        self._under_way = 0
        self.origin = origin

    async def tools(self, caller: Caller, agent_id: str | None = None) -> Mapping[str, GatewayTool]:
        """Those that a caller may call, by name; of one agent, where it is named."""
        if agent_id is not None:
            offer = self._offers.get(agent_id)
            return await offer() if offer is not None and caller.uses(agent_id) else {}
        if caller.agents is None:
            return await self._everything()
        tools: dict[str, GatewayTool] = {}
        for one, offer in self._offers.items():
            if caller.uses(one):
                tools |= await offer()
        return tools

    async def invoke(self, tool: GatewayTool | None, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The result: `content`, and `details` where it is a JSON object or array.  Raises InvocationError.

        Who is cancelled ends the call.
        """
        if tool is None:
            raise InvocationError(404, "not_found", f"Tool not available: {name[:64]}")
        if self._under_way >= self._most:
            raise InvocationError(429, "rate_limited", f"{self._most} calls are under way; try again later")
        limit = asyncio.timeout(self._seconds)
        self._under_way += 1
        try:
            async with limit:
                return _result(await tool.call(arguments))
        except ToolError as error:
            raise InvocationError(400, "tool_error", error.message) from error
        except AgentError as error:
            raise InvocationError(error.status, error.code, error.message) from error
        except Exception as error:  # it is somebody's program, and may fail in any way
            if limit.expired():
                raise InvocationError(504, "timeout", f"The tool took longer than {self._seconds:g} s.") from None
            _logger.exception("tool %s failed", tool.name)
            raise InvocationError(500, "tool_error", "The tool failed; the gateway's log tells why.") from error
        finally:
            self._under_way -= 1


def _result(text: str) -> dict[str, Any]:
    result: dict[str, Any] = {"content": [{"type": "text", "text": text}]}
    if text[:1] in {"{", "["}:
        try:
            result["details"] = json.loads(text)
        except (ValueError, RecursionError):
            return result  # text that only looks like it
    return result
