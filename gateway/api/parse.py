"""A chat completion request out of the bytes of its body.

Source: https://platform.openai.com/docs/api-reference/chat/create.  Unknown members are ignored, as OpenAI's clients
expect of servers that are not OpenAI's; members that would change the answer and are not served are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from ..errors import RequestError
from ..model.chat import AnyTool, ChatRequest, Tool, ToolChoice
from .images import NO_URLS, ImageLimits
from .json_body import json_body
from .members import boolean, kind_of, wrong
from .parse_messages import messages
from .parse_parameters import NO_PARAMETERS, parameters
from .parse_tools import tool_choice, tools

__all__ = ["chat_request"]

# Answers repeat the model's name, streams with each token; no name of an agent comes near.
MODEL_CHARACTERS = 512


# What the constructor of a named tuple does in the end: without its Python function in between, a quarter of the time.
_new = tuple.__new__


def chat_request(body: bytes, images: ImageLimits = NO_URLS) -> ChatRequest:
    """Read and check a request body.  Raises RequestError (400) that names the member at fault."""
    value = json_body(body)
    if not isinstance(value, dict):
        raise RequestError(400, f"The request body has to be a JSON object, not {kind_of(value)}.")
    model = value.get("model")
    if len(value) == 2 and model.__class__ is str and len(model) <= MODEL_CHARACTERS and "messages" in value:
        # As of most requests: nothing is left to look for.
        said, pictures = messages(value["messages"], images)
        return _new(ChatRequest, (said, model, False, False, None, NO_PARAMETERS, (), AnyTool, pictures))
    given, found, choice = _NOTHING_MORE if _PLAIN.issuperset(value) else _more(value)
    options = value.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise wrong("stream_options", "an object", options)
    if model is not None and not isinstance(model, str):
        raise wrong("model", "a string", model)
    if model is not None and len(model) > MODEL_CHARACTERS:
        raise RequestError(400, f"`model` is longer than {MODEL_CHARACTERS} characters.", param="model")
    user = value.get("user")
    if user is not None and not isinstance(user, str):
        raise wrong("user", "a string", user)
    said, pictures = messages(value.get("messages"), images)
    members = (
        said,
        model,
        boolean(value, "stream") if "stream" in value else False,
        boolean(options, "include_usage", "stream_options.") if options else False,
        (user.strip() or None) if user else None,
        given,
        found,
        choice,
        pictures,
    )
    return _new(ChatRequest, members)


_PLAIN = frozenset({"messages", "model", "stream", "stream_options", "user"})
_More: TypeAlias = tuple[Mapping[str, object], tuple[Tool, ...], ToolChoice]
_NOTHING_MORE: _More = (NO_PARAMETERS, (), AnyTool)


def _more(value: Mapping[str, Any]) -> _More:
    """Parameters and tools: what most requests do not have."""
    found = tools(value.get("tools"))
    return parameters(value, tools=bool(found)), found, tool_choice(value.get("tool_choice"), found)
