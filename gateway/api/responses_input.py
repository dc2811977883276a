"""The `input` of POST /v1/responses as messages.

Source: https://platform.openai.com/docs/api-reference/responses/create#responses-create-input.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import RequestError
from ..model.chat import Message, ToolCall
from .members import kind_of, wrong

__all__ = ["ITEMS", "input_messages"]

# Of one request, as `parse.MESSAGES` is of a chat completion's.
ITEMS = 10_000

_ROLES = ("assistant", "developer", "system", "user")
# The content parts that are text, and the member that holds it.
_TEXT_MEMBERS = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}
_SERVED = "'message', 'function_call', 'function_call_output', 'reasoning'"


def input_messages(value: Any) -> list[Message]:
    """The messages that the input makes up, at least one of them a user's or a tool's.

    What an assistant said and what it called, item after item, are one message, as a session keeps it.  Raises
    RequestError (400) that names the item at fault.
    """
    if value is None:
        raise RequestError(400, "Missing required parameter: `input`.", param="input")
    if isinstance(value, str):
        messages = [Message("user", value)]
    elif isinstance(value, list):
        if len(value) > ITEMS:
            raise RequestError(400, f"`input` has more than {ITEMS} items.", param="input")
        messages = []
        for index, item in enumerate(value):
            _add(messages, f"input[{index}]", item)
    else:
        raise wrong("input", "a string or an array of items", value)
    if not any(one.role == "tool" or (one.role == "user" and (one.text or one.parts)) for one in messages):
        raise RequestError(400, "Missing user message in `input`: there is nothing to answer.", param="input")
    return messages


def _add(messages: list[Message], place: str, item: Any) -> None:
    if not isinstance(item, dict):
        raise wrong(place, "an object", item)
    last = messages[-1] if messages and messages[-1].role == "assistant" else None
    match item.get("type", "message"):
        case "message":
            message = _message(place, item)
            if last is not None and last.tool_calls and message.role == "assistant":
                messages[-1] = last._replace(text=_joined(last.text, message.text))
            else:
                messages.append(message)
        case "function_call":
            call = ToolCall(_text(place, item, "call_id"), _text(place, item, "name"), _text(place, item, "arguments"))
            if last is None:
                messages.append(Message("assistant", "", tool_calls=(call,)))
            else:
                messages[-1] = last._replace(tool_calls=(*last.tool_calls, call))
        case "function_call_output":
            call_id = _text(place, item, "call_id")
            messages.append(Message("tool", _content(f"{place}.output", item.get("output")), tool_call_id=call_id))
        case "reasoning":
            pass  # what a model thought is its provider's to use
        case "item_reference":
            what = "refers to an item that is not kept; send the item itself, or `previous_response_id`"
            raise RequestError(400, f"`{place}` {what}.", param=place)
        case other:
            shown = f"the type '{other[:64]}'" if isinstance(other, str) else f"{kind_of(other)} for a type"
            raise RequestError(400, f"`{place}` has {shown}; items that are served: {_SERVED}.", param=f"{place}.type")


def _joined(one: str, other: str) -> str:
    return f"{one}\n{other}" if one and other else one or other


def _text(place: str, item: Mapping[str, Any], name: str) -> str:
    value = item.get(name)
    if not isinstance(value, str):
        raise wrong(f"{place}.{name}", "a string", value)
    return value


def _message(place: str, item: Mapping[str, Any]) -> Message:
    role = item.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        roles = ", ".join(f"'{one}'" for one in _ROLES)
        raise RequestError(400, f"`{place}.role` has to be one of {roles}.", param=f"{place}.role")
    return Message(role, _content(f"{place}.content", item.get("content")))


def _content(place: str, content: Any) -> str:
    """A string, or parts that are text."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise wrong(place, "a string or an array of parts", content)
    texts = []
    for index, part in enumerate(content):
        at = f"{place}[{index}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if not isinstance(kind, str) or kind not in _TEXT_MEMBERS:
            served = "parts that are served: 'input_text', 'output_text', 'refusal'"
            what = f"has the type '{kind[:64]}'" if isinstance(kind, str) else "is not a content part"
            raise RequestError(400, f"`{at}` {what}; {served}.", param=at)
        texts.append(_text(at, part, _TEXT_MEMBERS[kind]))
    return "\n".join(texts)
