"""POST /tools/invoke: one call of one of the gateway's tools, without a model.

The form is that of the product: `{"tool": NAME, "args": {...}}` is answered with `{"ok": true, "result": {"content":
[...], "details": ...}}`, or `{"ok": false, "error": {"type", "message"}}`.  `name` is another word for `tool`; `action`
goes into `args` where the tool has such a parameter.  `details` is the result, where that is a JSON object or array.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from logging import getLogger
from typing import Any, NamedTuple

from ..errors import AgentError, RequestError, ToolError
from ..model.caller import Caller
from ..ports import Exchange, GatewayTool, Offer
from .json_body import body_of, json_body
from .members import kind_of
from .problem import JSON

__all__ = ["BODY_BYTES", "Invoke"]

_logger = getLogger(__name__)

BODY_BYTES = 2 << 20
"""The largest request body, as the product has it."""

RETRY_AFTER = b"1"
"""Seconds: most calls are over in one."""


class _Call(NamedTuple):
    tool: str
    action: str | None
    arguments: dict[str, Any]


class _Refused(Exception):
    """`type` is a word of the answer's `error`."""

    def __init__(self, status: int, type: str, message: str) -> None:  # noqa: A002 - the name of the member
        super().__init__(message)
        self.status = status
        self.type = type
        self.message = message


class Invoke:
    """The handler.  `everything` are all tools, `offers` those of each agent: who may use some agents only may call
    what these have.  `most` calls are under way at a time, each for at most `seconds`.
    """

    def __init__(self, everything: Offer, offers: Mapping[str, Offer], most: int, seconds: float | None) -> None:
        self._everything = everything
        self._offers = offers
        self._most = most
        self._seconds = seconds
        self._under_way = 0

    async def create(self, exchange: Exchange) -> None:
        """Answer one request.  A client that leaves ends its call."""
        body = await body_of(exchange, BODY_BYTES)
        try:
            call = _read(body)
            tool = (await self._tools(exchange.caller)).get(call.tool)
            if tool is None:
                raise _Refused(404, "not_found", f"Tool not available: {call.tool[:64]}")
            result = await self._invoke(tool, call)
        except _Refused as refused:
            headers = (*JSON, (b"retry-after", RETRY_AFTER)) if refused.status == 429 else JSON
            error = {"type": refused.type, "message": refused.message}
            exchange.respond(refused.status, headers, _json({"ok": False, "error": error}))
        else:
            exchange.respond(200, JSON, _json({"ok": True, "result": result}))

    async def _tools(self, caller: Caller) -> Mapping[str, GatewayTool]:
        if caller.agents is None:
            return await self._everything()
        tools: dict[str, GatewayTool] = {}
        for agent_id, offer in self._offers.items():
            if caller.uses(agent_id):
                tools |= await offer()
        return tools

    async def _invoke(self, tool: GatewayTool, call: _Call) -> dict[str, Any]:
        if self._under_way >= self._most:
            raise _Refused(429, "rate_limited", f"{self._most} calls are under way; try again later")
        arguments = call.arguments
        if call.action is not None and "action" not in arguments and "action" in tool.parameters.get("properties", {}):
            arguments = {**arguments, "action": call.action}
        limit = asyncio.timeout(self._seconds)
        self._under_way += 1
        try:
            async with limit:
                return _result(await tool.call(arguments))
        except ToolError as error:
            raise _Refused(400, "tool_error", error.message) from error
        except AgentError as error:
            raise _Refused(error.status, error.code, error.message) from error
        except Exception as error:  # it is somebody's program, and may fail in any way
            if limit.expired():
                raise _Refused(504, "timeout", f"The tool took longer than {self._seconds:g} s.") from None
            _logger.exception("tool %s failed", tool.name)
            raise _Refused(500, "tool_error", "The tool failed; the gateway's log tells why.") from error
        finally:
            self._under_way -= 1


def _read(body: bytes) -> _Call:
    try:
        value = json_body(body)
    except RequestError as error:
        raise _wrong(error.message) from error
    if not isinstance(value, dict):
        raise _wrong(f"The request body has to be a JSON object, not {kind_of(value)}.")
    tool = value.get("tool") or value.get("name")
    if not isinstance(tool, str) or not tool.strip():
        raise _wrong("tools.invoke requires `tool`, the name of a tool.")
    arguments = value.get("args")
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        raise _wrong(f"`args` has to be an object, not {kind_of(arguments)}.")
    action = value.get("action")
    if action is not None and not isinstance(action, str):
        raise _wrong(f"`action` has to be a string, not {kind_of(action)}.")
    if value.get("dryRun"):  # to do it all the same would be the worst of answers
        raise _wrong("`dryRun` is not served: a tool does what it does.")
    return _Call(tool.strip(), action, arguments)


def _wrong(message: str) -> _Refused:
    return _Refused(400, "invalid_request_error", message)


def _result(text: str) -> dict[str, Any]:
    result: dict[str, Any] = {"content": [{"type": "text", "text": text}]}
    if text[:1] in {"{", "["}:
        try:
            result["details"] = json.loads(text)
        except (ValueError, RecursionError):
            return result  # text that only looks like it
    return result


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
