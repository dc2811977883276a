"""OpenAI's chat completions, which most servers speak.

Source: https://platform.openai.com/docs/api-reference/chat/create.
"""

from __future__ import annotations

import json
from typing import Any

from ..messages import document_of
from ..model.chat import AnyTool, ChatRequest, Message, Tool
from ..model.http import Headers
from ..model.run import RunInput
from .openai_stream import CompletionReader
from .settings import ModelSettings, Provider

__all__ = ["Completions", "bearer", "function", "limit_of"]

LIMITS = ("max_completion_tokens", "max_tokens")
"""What limits an answer: the name of today, and the old one, which is all that many other servers know."""

OPENAI = "https://api.openai.com"
"""Whose newer models refuse the old name.  Others may know neither the new one nor the role `developer`."""


class Completions:
    """See `dialect.Dialect`."""

    def url(self, base_url: str) -> str:
        """See `Dialect.url`."""
        return f"{base_url}/chat/completions"

    def headers(self, provider: Provider) -> Headers:
        """See `Dialect.headers`."""
        return bearer(provider)

    def body(self, run: RunInput, provider: Provider, model: ModelSettings, system_prompt: str | None) -> bytes:
        """See `Dialect.body`."""
        is_openai = provider.base_url.startswith(OPENAI)
        messages = [_message(message) for message in run.conversation]
        if not is_openai:
            for message in messages:
                if message["role"] == "developer":
                    message["role"] = "system"
        if system_prompt:
            messages.insert(0, {"role": "system", "content": system_prompt})
        document: dict[str, Any] = {**run.request.parameters}
        if model.max_tokens and not any(name in document for name in LIMITS):
            document[LIMITS[not is_openai]] = model.max_tokens
        document |= {
            "model": model.id,
            "messages": messages,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if run.request.tools:
            document |= _tools(run.request)
        else:
            document.pop("parallel_tool_calls", None)  # which OpenAI refuses then
        return json.dumps(document, separators=(",", ":")).encode()

    def reader(self, provider: Provider, model: str, run: RunInput) -> CompletionReader:  # noqa: ARG002 - Dialect.reader
        """See `Dialect.reader`."""
        return CompletionReader(provider, model)


def bearer(provider: Provider) -> Headers:
    """The header that shows the key."""
    return ((b"authorization", f"Bearer {provider.api_key}".encode("ascii")),) if provider.api_key else ()


def limit_of(run: RunInput, model: ModelSettings) -> int | None:
    """The most tokens of the answer; None where nobody said."""
    limits = (run.request.parameters.get(name) for name in LIMITS)
    return next((limit for limit in limits if isinstance(limit, int)), model.max_tokens)


def function(tool: Tool) -> dict[str, Any]:
    """A tool in OpenAI's form."""
    members: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        members["description"] = tool.description
    if tool.parameters is not None:
        members["parameters"] = tool.parameters
    if tool.strict is not None:
        members["strict"] = tool.strict
    return members


def _tools(request: ChatRequest) -> dict[str, Any]:
    members: dict[str, Any] = {"tools": [{"type": "function", "function": function(tool)} for tool in request.tools]}
    choice = request.tool_choice
    if choice.mode == "function":
        members["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    elif choice != AnyTool:
        members["tool_choice"] = choice.mode
    return members


def _message(message: Message) -> dict[str, Any]:
    document = document_of(message)
    if message.tool_calls:
        document["content"] = document["content"] or None
    return document
