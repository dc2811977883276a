"""Anthropic's Messages API.

Source: https://docs.anthropic.com/en/api/messages.  What it has no form for and what only tunes an answer is left out,
as Anthropic's own OpenAI-compatible endpoint does (`seed`, `logit_bias`, the penalties); what the caller would miss in
the answer is refused (`response_format` without a schema).
"""

from __future__ import annotations

import json
from re import fullmatch, sub
from typing import Any

from ..errors import AgentError
from ..messages import base64_of
from ..model.chat import ChatRequest, Image, Message
from ..model.http import Headers
from ..model.run import INSTRUCTIONS, RunInput
from .anthropic_stream import MessageReader
from .openai import limit_of
from .settings import ModelSettings, Provider
from .thoughts import Thoughts, scope_of

__all__ = ["Messages"]

VERSION = b"2023-06-01"

MAX_TOKENS = 8192
"""Of an answer where nobody said: the API wants a number.  All models since Claude 3.5 can say as much."""

BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 24_576, "xhigh": 32_768}
"""Tokens to think, by `reasoning_effort`; `none`, and words not known here, are no thinking."""

LEAST_BUDGET = 1024

# claude-3-7-sonnet-20250219, claude-opus-4-6, claude-sonnet-5: the version, not the date.
_VERSIONED = r"(?:.*[/.])?claude-(?:[a-z]+-)?([0-9]{1,2})(?:[-.]([0-9]{1,2}))?(?![0-9]).*"
ADAPTIVE = (4, 6)
"""From here on a model itself decides how much it thinks, told only the effort."""
UNTUNED = (4, 7)
"""From here on a model refuses temperature and top_p."""


class Messages:
    """See `dialect.Dialect`.  Keeps the thoughts that have to come back with the results of tools."""

    def __init__(self) -> None:
        self._thoughts = Thoughts()

    def url(self, base_url: str) -> str:
        """See `Dialect.url`.  The base URL may end in /v1 or not: Anthropic's SDKs put it there themselves."""
        return f"{base_url}/messages" if base_url.endswith("/v1") else f"{base_url}/v1/messages"

    def headers(self, provider: Provider) -> Headers:
        """See `Dialect.headers`."""
        key = ((b"x-api-key", provider.api_key.encode("ascii")),) if provider.api_key else ()
        return (*key, (b"anthropic-version", VERSION))

    def body(self, run: RunInput, provider: Provider, model: ModelSettings, system_prompt: str | None) -> bytes:  # noqa: ARG002 - Dialect.body
        """See `Dialect.body`."""
        conversation = run.conversation
        system = [system_prompt or "", *(one.text for one in conversation if one.role in INSTRUCTIONS)]
        said = [one for one in conversation if one.role not in INSTRUCTIONS]
        document: dict[str, Any] = {
            "model": model.id,
            "max_tokens": limit_of(run, model) or MAX_TOKENS,
            "stream": True,
            **_sampling(run.request, model),
            **(_tools(run.request) or _tools_of_old(said)),
        }
        if text := "\n\n".join(filter(None, system)):
            document["system"] = text
        _think(document, run, model, may_begin=self._may_think(run, said))
        document["messages"] = self._messages(run, said, thinking="thinking" in document)
        return json.dumps(document, separators=(",", ":")).encode()

    def reader(self, provider: Provider, model: str, run: RunInput) -> MessageReader:
        """See `Dialect.reader`."""
        return MessageReader(provider, model, self._thoughts.keeper(run))

    def _may_think(self, run: RunInput, said: list[Message]) -> bool:
        """Whether a turn begins, or goes on whose thoughts are known.

        The API wants one mode for all of a turn: one that has called tools without thinking, or whose thoughts are no
        longer known, has to be ended without.
        """
        start = len(said)
        while start and said[start - 1].role != "user":
            start -= 1
        called = next((at for at in range(start, len(said)) if said[at].tool_calls), None)
        return called is None or bool(self._thoughts.find(scope_of(run, said, called), said[called]))

    def _messages(self, run: RunInput, said: list[Message], *, thinking: bool) -> list[dict[str, Any]]:
        """The conversation in messages of users and assistants, in turns; neighbours of one role become one."""
        messages: list[dict[str, Any]] = []
        for index, message in enumerate(said):
            role = "assistant" if message.role == "assistant" else "user"
            blocks = _blocks(message)
            if thinking and message.tool_calls:
                blocks = [*self._thoughts.find(scope_of(run, said, index), message), *blocks]
            if not blocks:
                continue
            if messages and messages[-1]["role"] == role:
                messages[-1]["content"] += blocks
            else:
                messages.append({"role": role, "content": blocks})
        for document in messages:
            if document["role"] == "user":  # the results of tools have to come first
                document["content"].sort(key=lambda block: block["type"] != "tool_result")
        if messages and messages[0]["role"] == "assistant":  # the API wants a user to begin
            messages.insert(0, {"role": "user", "content": [{"type": "text", "text": "."}]})
        _trim_last(messages)
        return messages


def _trim_last(messages: list[dict[str, Any]]) -> None:
    """An answer that is begun must not end in white space."""
    if messages and messages[-1]["role"] == "assistant" and messages[-1]["content"][-1]["type"] == "text":
        block = messages[-1]["content"][-1]
        block["text"] = block["text"].rstrip()


def _sampling(request: ChatRequest, model: ModelSettings) -> dict[str, Any]:
    given = request.parameters
    members: dict[str, Any] = {}
    if _version(model.id) < UNTUNED:
        temperature, top_p = given.get("temperature"), given.get("top_p")
        if isinstance(temperature, int | float):
            members["temperature"] = min(temperature, 1)  # OpenAI's goes up to 2
        elif isinstance(top_p, int | float):  # newer models take one of them only
            members["top_p"] = top_p
    stop = given.get("stop")
    stops = [stop] if isinstance(stop, str) else stop
    if isinstance(stops, list) and (kept := [one for one in stops if one.strip()]):  # the API refuses blank ones
        members["stop_sequences"] = kept
    if schema := _schema(given.get("response_format")):
        members["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    return members


def _schema(wanted: object) -> object:
    if not isinstance(wanted, dict) or wanted.get("type") in {None, "text"}:
        return None
    inner = wanted.get("json_schema")
    schema = inner.get("schema") if wanted.get("type") == "json_schema" and isinstance(inner, dict) else None
    if not isinstance(schema, dict):
        message = "`response_format` has to be a json_schema for this agent: its model has no JSON mode without one"
        raise AgentError(message, code="unsupported_parameter", status=400)
    return schema


def _tools(request: ChatRequest) -> dict[str, Any]:
    if not request.tools:
        return {}
    tools = []
    for tool in request.tools:
        members: dict[str, Any] = {"name": tool.name, "input_schema": tool.parameters or {"type": "object"}}
        if tool.description is not None:
            members["description"] = tool.description
        tools.append(members)
    mode = request.tool_choice.mode
    choice: dict[str, Any] = {"type": {"required": "any", "function": "tool"}.get(mode, mode)}
    if mode == "function":
        choice["name"] = request.tool_choice.name
    if request.parameters.get("parallel_tool_calls") is False and mode != "none":
        choice["disable_parallel_tool_use"] = True
    return {"tools": tools} if choice == {"type": "auto"} else {"tools": tools, "tool_choice": choice}


def _tools_of_old(said: list[Message]) -> dict[str, Any]:
    """For a request without tools after calls of some: the API wants them to be there, and told not to be used."""
    names = dict.fromkeys(call.name for message in said for call in message.tool_calls)
    tools = [{"name": name, "input_schema": {"type": "object"}} for name in names]
    return {"tools": tools, "tool_choice": {"type": "none"}} if tools else {}


def _think(document: dict[str, Any], run: RunInput, model: ModelSettings, *, may_begin: bool) -> None:
    """Let the model think, where the request says how hard, and the API allows it."""
    effort = run.request.parameters.get("reasoning_effort")
    choice = document.get("tool_choice", {}).get("type", "auto")
    if not isinstance(effort, str) or effort not in BUDGETS or model.reasoning is False or choice in {"any", "tool"}:
        return  # a model that thinks must be free in its choice
    if _version(model.id) >= ADAPTIVE:
        document["thinking"] = {"type": "adaptive"}
        config = document.setdefault("output_config", {})
        config["effort"] = "low" if effort == "minimal" else effort
    elif may_begin:
        limited = limit_of(run, model) is not None
        budget = min(BUDGETS[effort], document["max_tokens"] // 2) if limited else BUDGETS[effort]
        if budget < LEAST_BUDGET:
            return
        if not limited:
            document["max_tokens"] += budget
        document["thinking"] = {"type": "enabled", "budget_tokens": budget}
    else:
        return
    for name in ("temperature", "top_p"):  # the API refuses them then
        document.pop(name, None)


def _version(model_id: str) -> tuple[int, int]:
    """(4, 6) of claude-opus-4-6; (0, 0) where a name tells none."""
    found = fullmatch(_VERSIONED, model_id.lower())
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def _blocks(message: Message) -> list[dict[str, Any]]:
    parts = message.parts or (message.text,)
    blocks = [_part(part) for part in parts if isinstance(part, Image) or part.strip()]  # the API refuses blank text
    if message.role == "tool":
        return [{"type": "tool_result", "tool_use_id": _id(message.tool_call_id or ""), "content": blocks}]
    blocks += [
        {"type": "tool_use", "id": _id(call.id), "name": call.name, "input": _input(call.arguments)}
        for call in message.tool_calls
    ]
    return blocks


def _part(part: str | Image) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    return {"type": "image", "source": {"type": "base64", "media_type": part.media_type, "data": base64_of(part)}}


def _id(call_id: str) -> str:
    """The id of a call, which may have come from another provider, with the characters that this one takes."""
    return sub(r"[^A-Za-z0-9_-]", "_", call_id) or "_"


def _input(arguments: str) -> dict[str, Any]:
    """The arguments of a call as the object that the API wants, whatever the model wrote."""
    try:
        value = json.loads(arguments) if arguments.strip() else {}
    except (ValueError, RecursionError):
        value = arguments
    return value if isinstance(value, dict) else {"arguments": value}
