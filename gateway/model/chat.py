"""A chat completion request after validation.  Source: https://platform.openai.com/docs/api-reference/chat/create."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

__all__ = ["ROLES", "ChatRequest", "Message"]

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})


# Named tuples, here, in `http` and in `run`: as immutable as frozen dataclasses, made in half the time, for each
# request, and defined in a fifth of it, when the program starts.
class Message(NamedTuple):
    """One message.  `text` is the content: a string as it came, or the text parts joined by line feeds."""

    role: str
    text: str
    name: str | None = None
    tool_call_id: str | None = None


class ChatRequest(NamedTuple):
    """`model` is the string of the request, None where it had none.  `user` is trimmed, None where empty.

    `parameters` are the generation parameters (`temperature`, `max_tokens`, ...) under their API names, checked, for
    agents that hand them to a model.
    """

    messages: tuple[Message, ...]
    model: str | None = None
    stream: bool = False
    include_usage: bool = False
    user: str | None = None
    parameters: Mapping[str, object] = MappingProxyType({})
