"""OpenAI's Responses API, as a provider.

Source: https://platform.openai.com/docs/api-reference/responses/create.  Nothing is stored there (`store: false`).
What it has no form for and what only tunes an answer is left out (`seed`, `logit_bias`, the penalties); `stop`, which
the caller would miss in the answer, is refused.
"""

from __future__ import annotations

import json
from typing import Any

from ..errors import AgentError
from ..messages import data_url
from ..model.chat import AnyTool, ChatRequest, Image, Message
from ..model.http import Headers
from ..model.run import INSTRUCTIONS, RunInput
from .openai import bearer, function, limit_of
from .responses_stream import ResponseReader
from .settings import ModelSettings, Provider
from .thoughts import Thoughts, scope_of

__all__ = ["Responses"]

LEAST_TOKENS = 16
"""The API takes no fewer as the limit of an answer."""

_SAME = ("temperature", "top_p", "parallel_tool_calls", "metadata", "service_tier")
"""Parameters that have the same name here."""


class Responses:
    """See `dialect.Dialect`.  Keeps the thoughts that have to come back with the results of tools."""

    def __init__(self) -> None:
        self._thoughts = Thoughts()

    def url(self, base_url: str) -> str:
        """See `Dialect.url`."""
        return f"{base_url}/responses"

    def headers(self, provider: Provider) -> Headers:
        """See `Dialect.headers`."""
        return bearer(provider)

    def body(self, run: RunInput, provider: Provider, model: ModelSettings, system_prompt: str | None) -> bytes:  # noqa: ARG002 - Dialect.body
        """See `Dialect.body`."""
        given = run.request.parameters
        if given.get("stop") is not None:
            message = "`stop` is not possible for this agent: the API of its model has no stop sequences"
            raise AgentError(message, code="unsupported_parameter", status=400)
        conversation = run.conversation
        system = [system_prompt or "", *(one.text for one in conversation if one.role in INSTRUCTIONS)]
        document: dict[str, Any] = {
            "model": model.id,
            "input": [
                item
                for index, one in enumerate(conversation)
                if one.role not in INSTRUCTIONS
                for item in self._items(one, scope_of(run, conversation, index) if one.tool_calls else 0)
            ],
            "stream": True,
            "store": False,
            **{name: given[name] for name in _SAME if name in given},
        }
        if text := "\n\n".join(filter(None, system)):
            document["instructions"] = text
        if limit := limit_of(run, model):
            document["max_output_tokens"] = max(limit, LEAST_TOKENS)
        effort = given.get("reasoning_effort")
        if effort is not None:
            document["reasoning"] = {"effort": effort, "summary": "auto"}
        if effort is not None or model.reasoning:
            document["include"] = ["reasoning.encrypted_content"]
        if shape := _shape(given):
            document["text"] = shape
        document |= _tools(run.request)
        if not run.request.tools:
            document.pop("parallel_tool_calls", None)
        return json.dumps(document, separators=(",", ":")).encode()

    def reader(self, provider: Provider, model: str, run: RunInput) -> ResponseReader:
        """See `Dialect.reader`."""
        return ResponseReader(provider, model, self._thoughts.keeper(run))

    def _items(self, message: Message, scope: int) -> list[dict[str, Any]]:
        if message.role == "tool":
            output: Any = [_part(part) for part in message.parts] if message.parts else message.text
            return [{"type": "function_call_output", "call_id": message.tool_call_id or "", "output": output}]
        items: list[dict[str, Any]] = []
        if message.role == "assistant":
            items += self._thoughts.find(scope, message)
            if message.text:
                items.append({"role": "assistant", "content": message.text})
            items += [
                {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments or "{}"}
                for call in message.tool_calls
            ]
            return items
        content = [_part(part) for part in message.parts] if message.parts else message.text
        return [{"role": "user", "content": content}]


def _part(part: str | Image) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "input_text", "text": part}
    return {"type": "input_image", "image_url": data_url(part), "detail": part.detail or "auto"}


def _shape(given: Any) -> dict[str, Any]:
    """The member `text`: what the text has to be."""
    shape: dict[str, Any] = {}
    wanted = given.get("response_format")
    if isinstance(wanted, dict) and wanted.get("type") == "json_schema" and isinstance(wanted.get("json_schema"), dict):
        shape["format"] = {**wanted["json_schema"], "type": "json_schema"}
    elif isinstance(wanted, dict):
        shape["format"] = wanted
    if "verbosity" in given:
        shape["verbosity"] = given["verbosity"]
    return shape


def _tools(request: ChatRequest) -> dict[str, Any]:
    if not request.tools:
        return {}
    # Here a schema is strict where nobody says otherwise, unlike in chat completions.
    tools = [{"type": "function", "strict": False, "parameters": None, **function(tool)} for tool in request.tools]
    choice = request.tool_choice
    if choice.mode == "function":
        return {"tools": tools, "tool_choice": {"type": "function", "name": choice.name}}
    return {"tools": tools} if choice == AnyTool else {"tools": tools, "tool_choice": choice.mode}
