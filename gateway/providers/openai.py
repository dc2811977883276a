"""OpenAI's chat completions, which most servers speak.

Source: https://platform.openai.com/docs/api-reference/chat/create.
"""

from __future__ import annotations

import json
from typing import Any

from ..model.chat import Message
from ..model.http import Headers
from ..model.run import RunInput
from .openai_stream import CompletionReader
from .settings import Provider

__all__ = ["Completions"]


class Completions:
    """See `dialect.Dialect`."""

    path = "/chat/completions"

    def headers(self, provider: Provider) -> Headers:
        """See `Dialect.headers`."""
        return ((b"authorization", f"Bearer {provider.api_key}".encode("ascii")),) if provider.api_key else ()

    def body(self, run: RunInput, model: str, system_prompt: str | None) -> bytes:
        """See `Dialect.body`."""
        messages = [_message(message) for message in run.conversation]
        if system_prompt:
            messages.insert(0, {"role": "system", "content": system_prompt})
        document = {
            **run.request.parameters,
            "model": model,
            "messages": messages,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        return json.dumps(document, separators=(",", ":")).encode()

    def reader(self, provider: Provider, model: str) -> CompletionReader:
        """See `Dialect.reader`."""
        return CompletionReader(provider, model)


def _message(message: Message) -> dict[str, Any]:
    document: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.name is not None:
        document["name"] = message.name
    if message.tool_call_id is not None:
        document["tool_call_id"] = message.tool_call_id
    return document
