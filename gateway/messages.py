"""Messages in the form of OpenAI's API, and images as text.

Source: https://platform.openai.com/docs/api-reference/chat/create.
"""

from __future__ import annotations

from binascii import b2a_base64
from typing import Any

from .model.chat import Image, Message, Part

__all__ = ["base64_of", "data_url", "document_of"]


def document_of(message: Message) -> dict[str, Any]:
    """The message as a JSON object."""
    document: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.parts:
        document["content"] = [_part(part) for part in message.parts]
    if message.name is not None:
        document["name"] = message.name
    if message.tool_call_id is not None:
        document["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        document["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    return document


def base64_of(image: Image) -> str:
    """Its bytes (RFC 4648, section 4), in one line."""
    return b2a_base64(image.data, newline=False).decode("ascii")


def data_url(image: Image) -> str:
    """The image itself as a URL (RFC 2397)."""
    return f"data:{image.media_type};base64,{base64_of(image)}"


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    url = {"url": data_url(part)}
    if part.detail is not None:
        url["detail"] = part.detail
    return {"type": "image_url", "image_url": url}
