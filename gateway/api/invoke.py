"""POST /tools/invoke: one call of one of the gateway's tools, without a model.

The form is that of the product: `{"tool": NAME, "args": {...}}` is answered with `{"ok": true, "result": {"content":
[...], "details": ...}}`, or `{"ok": false, "error": {"type", "message"}}`.  `name` is another word for `tool`; `action`
goes into `args` where the tool has such a parameter.  `details` is the result, where that is a JSON object or array.
"""

from __future__ import annotations

import json
from typing import Any

from ..errors import RequestError
from ..ports import Exchange, GatewayTool
from ..records import NamedTuple
from ..tools.invoker import InvocationError, Invoker
from .json_body import body_of, json_body
from .members import kind_of
from .problem import JSON

__all__ = ["BODY_BYTES", "Invoke"]

BODY_BYTES = 2 << 20
"""The largest request body, as the product has it."""

RETRY_AFTER = b"1"
"""Seconds: most calls are over in one."""


class _Call(NamedTuple):
    tool: str
    action: str | None
    arguments: dict[str, Any]


class Invoke:
    """The handler."""

    def __init__(self, invoker: Invoker) -> None:
        self._invoker = invoker

    async def create(self, exchange: Exchange) -> None:
        """Answer one request.  A client that leaves ends its call."""
        body = await body_of(exchange, BODY_BYTES)
        try:
            call = _read(body)
            tool = (await self._invoker.tools(exchange.caller)).get(call.tool)
            result = await self._invoker.invoke(tool, call.tool, _arguments(call, tool))
        except InvocationError as error:
            headers = (*JSON, (b"retry-after", RETRY_AFTER)) if error.status == 429 else JSON
            told = {"type": error.type, "message": error.message}
            exchange.respond(error.status, headers, _json({"ok": False, "error": told}))
        else:
            exchange.respond(200, JSON, _json({"ok": True, "result": result}))


def _arguments(call: _Call, tool: GatewayTool | None) -> dict[str, Any]:
    """With the action, where the tool has such a parameter."""
    known = {} if tool is None else tool.parameters.get("properties", {})
    if call.action is None or "action" in call.arguments or "action" not in known:
        return call.arguments
    return {**call.arguments, "action": call.action}


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


def _wrong(message: str) -> InvocationError:
    return InvocationError(400, "invalid_request_error", message)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
