"""A conversation, and a request to go on with it, after validation.

Source: https://platform.openai.com/docs/api-reference/chat/create.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeAlias

from ..records import NamedTuple

__all__ = [
    "ROLES",
    "AnyTool",
    "ChatRequest",
    "Image",
    "Message",
    "Part",
    "Tool",
    "ToolCall",
    "ToolChoice",
    "media_type_of",
]

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})


# Named tuples, here, in `http` and in `run`: as immutable as frozen dataclasses, made in half the time, for each
# request, and defined in a fifth of it, when the program starts.
class Image(NamedTuple):
    """A picture, as a file.  `media_type` is what its first bytes say: image/png, image/jpeg, image/gif, image/webp.

    `detail` is OpenAI's `low`, `high` or `auto`, None where it was not given.  `url` is where the picture comes from,
    None where the request brought it along; until it is fetched, which no agent sees, the other two are empty.
    """

    media_type: str
    data: bytes
    detail: str | None = None
    url: str | None = None


def media_type_of(data: bytes) -> str | None:
    """What the first bytes say (WHATWG MIME Sniffing, section 6.1); None for what models do not take."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data[:4] == b"RIFF" and data[8:14] == b"WEBPVP":
        return "image/webp"
    return None


Part: TypeAlias = str | Image
"""One part of a message's content."""


class ToolCall(NamedTuple):
    """A tool that a model wants called.  `arguments` is the JSON text as the model wrote it: it may be none."""

    id: str
    name: str
    arguments: str


class Message(NamedTuple):
    """One message.  `text` is the content: a string as it came, or the text parts joined by line feeds.

    `parts` is the content part by part where it holds more than text, else empty.  `tool_calls` are those of an
    assistant's message; `tool_call_id` tells which of them the message of a tool answers.
    """

    role: str
    text: str
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    parts: tuple[Part, ...] = ()


class Tool(NamedTuple):
    """A function that a model may call.  `parameters` is the JSON Schema of its arguments, None for no arguments."""

    name: str
    description: str | None = None
    parameters: Mapping[str, object] | None = None
    strict: bool | None = None


class ToolChoice(NamedTuple):
    """`mode` is `auto`, `none`, `required`, or `function` for the one that `name` tells."""

    mode: str = "auto"
    name: str | None = None


AnyTool = ToolChoice()
"""The model decides, as where nothing was said."""


class ChatRequest(NamedTuple):
    """`model` is the string of the request, None where it had none.  `user` is trimmed, None where empty.

    `parameters` are the generation parameters (`temperature`, `max_tokens`, ...) under their API names, checked, for
    agents that hand them to a model.  `tools` are those of the caller: an agent asks for calls of them with
    `ToolCallDelta`, and the caller answers with messages of the role `tool` in its next request.  `images` is how many
    images the messages hold.
    """

    messages: tuple[Message, ...]
    model: str | None = None
    stream: bool = False
    include_usage: bool = False
    user: str | None = None
    parameters: Mapping[str, object] = MappingProxyType({})
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = AnyTool
    images: int = 0
