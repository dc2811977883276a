"""A chat completion request out of the bytes of its body.

Source: https://platform.openai.com/docs/api-reference/chat/create.  Unknown members are ignored, as OpenAI's clients
expect of servers that are not OpenAI's; members that would change the answer and are not served are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ..errors import RequestError
from ..model.chat import ROLES, AnyTool, ChatRequest, Message
from .json_body import json_body
from .members import Check, boolean, integer, kind_of, member, number, wrong

__all__ = ["chat_request"]

# Of one request, to bound the work that small messages make; the longest real conversations have hundreds.
MESSAGES = 10_000
# Answers repeat the model's name, streams with each token; no name of an agent comes near.
MODEL_CHARACTERS = 512


# What the constructor of a named tuple does in the end: without its Python function in between, a quarter of the time.
_new = tuple.__new__


def chat_request(body: bytes) -> ChatRequest:
    """Read and check a request body.  Raises RequestError (400) that names the member at fault."""
    value = json_body(body)
    if not isinstance(value, dict):
        raise RequestError(400, f"The request body has to be a JSON object, not {kind_of(value)}.")
    parameters = {}
    if not _CHECKED.keys().isdisjoint(value):
        for name in value:
            if name in _CHECKED and value[name] is not None:  # null is the same as nothing
                parameters[name] = _CHECKED[name](name, value[name])
    options = value.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise wrong("stream_options", "an object", options)
    model = value.get("model")
    if model is not None and not isinstance(model, str):
        raise wrong("model", "a string", model)
    if model is not None and len(model) > MODEL_CHARACTERS:
        raise RequestError(400, f"`model` is longer than {MODEL_CHARACTERS} characters.", param="model")
    user = value.get("user")
    if user is not None and not isinstance(user, str):
        raise wrong("user", "a string", user)
    members = (
        _messages(value.get("messages")),
        model,
        boolean(value, "stream"),
        boolean(options, "include_usage", "stream_options.") if options else False,
        (user.strip() or None) if user else None,
        {name: parameters[name] for name in parameters if name not in _REFUSED} if parameters else _NO_PARAMETERS,
        (),
        AnyTool,
    )
    return _new(ChatRequest, members)


_NO_PARAMETERS: Mapping[str, object] = MappingProxyType({})


def _messages(value: Any) -> tuple[Message, ...]:
    if value is None:
        raise RequestError(400, "Missing required parameter: `messages`.", param="messages")
    if not isinstance(value, list):
        raise wrong("messages", "an array", value)
    if len(value) > MESSAGES:
        raise RequestError(400, f"`messages` has more than {MESSAGES} entries.", param="messages")
    asked = False
    messages = []
    for one in value:
        if one.__class__ is dict and len(one) == 2 and "role" in one and "content" in one:
            role, content = one["role"], one["content"]
            if content.__class__ is str and role.__class__ is str and role in ROLES:  # nothing is left to check
                messages.append(_new(Message, (role, content, None, None, (), ())))
                if content and role in _ASKING:
                    asked = True
                continue
        message = _message(len(messages), one)
        messages.append(message)
        if message.text and message.role in _ASKING:
            asked = True
    if asked:
        return tuple(messages)
    raise RequestError(400, "Missing user message in `messages`: there is nothing to answer.", param="messages")


_ASKING = {"user", "tool", "function"}


def _message(index: int, value: Any) -> Message:
    if not isinstance(value, dict):
        raise wrong(f"messages[{index}]", "an object", value)
    role, content = value.get("role"), value.get("content")
    if not isinstance(role, str) or role not in ROLES:
        roles = ", ".join(f"'{one}'" for one in sorted(ROLES))
        raise RequestError(400, f"`messages[{index}].role` has to be one of {roles}.", param=f"messages[{index}].role")
    text = content if isinstance(content, str) else _text(f"messages[{index}].content", content)
    name, call = value.get("name"), value.get("tool_call_id")
    if name is not None and not isinstance(name, str):
        raise wrong(f"messages[{index}].name", "a string", name)
    if call is not None and not isinstance(call, str):
        raise wrong(f"messages[{index}].tool_call_id", "a string", call)
    return Message(role, text, name, call)


# The content parts that are text, and the member that holds it.
_TEXT_MEMBERS = {"text": "text", "input_text": "text", "refusal": "refusal"}


def _text(place: str, content: Any) -> str:
    if content is None:  # an assistant's message that only called tools
        return ""
    if not isinstance(content, list):
        raise wrong(place, "a string or an array of parts", content)
    texts = []
    for index, part in enumerate(content):
        at = f"{place}[{index}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if not isinstance(kind, str) or kind not in _TEXT_MEMBERS:
            served = "only parts of type 'text' are served"
            what = f"has the type '{kind[:64]}'" if isinstance(kind, str) else "is not a content part"
            raise RequestError(400, f"`{at}` {what}; {served}.", param=at)
        member = _TEXT_MEMBERS[kind]
        text = part.get(member)
        if not isinstance(text, str):
            raise wrong(f"{at}.{member}", "a string", text)
        texts.append(text)
    return "\n".join(texts)


def _stop(name: str, value: Any) -> Any:
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(one, str) and one for one in stops) or len(stops) > 4:
        raise RequestError(400, f"`{name}` has to be a string or up to 4 strings, none of them empty.", param=name)
    return value


# Generation parameters: checked here, and handed to agents that are models.
_PARAMETERS: dict[str, Check] = {
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "presence_penalty": number(-2, 2),
    "frequency_penalty": number(-2, 2),
    "seed": integer(None),
    "max_tokens": integer(1),
    "max_completion_tokens": integer(1),
    "stop": _stop,
    "response_format": member(dict, "an object"),
    "reasoning_effort": member(str, "a string"),
    "logit_bias": member(dict, "an object"),
}


def _one_choice(name: str, value: Any) -> None:
    if value != 1 or isinstance(value, bool):
        raise RequestError(400, "`n` has to be 1: an agent gives one answer.", param=name)


def _no_tools(name: str, value: Any) -> None:
    if value not in ([], "none", "auto"):
        raise RequestError(400, f"`{name}` is not served: agents use tools of their own.", param=name)


_REFUSED: dict[str, Callable[[str, Any], None]] = {
    "n": _one_choice,
    "tools": _no_tools,
    "tool_choice": _no_tools,
    "functions": _no_tools,
    "function_call": _no_tools,
}


_CHECKED: dict[str, Check] = {**_PARAMETERS, **_REFUSED}
