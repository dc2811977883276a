"""The tools of a request's caller, which of them is to be called, and the calls that its messages repeat.

Source: https://platform.openai.com/docs/api-reference/chat/create and the guide on function calling.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ..errors import RequestError
from ..model.chat import AnyTool, Message, Tool, ToolCall, ToolChoice
from .members import function_name, mapping, missing, schema, switch, text, unsupported, wrong

__all__ = ["check_answers", "tool_calls", "tool_choice", "tools", "word"]

# As OpenAI.
TOOLS = 128
# Of all tools together, written as JSON: a tenth of what the largest models can read in one request.
TOOL_CHARACTERS = 1_000_000
# Of one message; models call a handful at a time.
CALLS = 128
# Of the id and of the name of a call, which a model made up and its caller repeats; OpenAI's ids have 29 characters.
WORD_CHARACTERS = 256

_MODES = ("none", "auto", "required")


def tools(value: Any, *, nested: bool = True) -> tuple[Tool, ...]:
    """`tools`.  Raises RequestError (400) that names the member at fault.

    `nested`: a tool's members stand in its `function`, as in chat completions; else, as in responses, in itself.
    """
    if value is None:
        return ()
    if not isinstance(value, list):
        raise wrong("tools", "an array", value)
    if len(value) > TOOLS:
        raise RequestError(400, f"`tools` has more than {TOOLS} entries.", param="tools", code="array_above_max_length")
    found: dict[str, Tool] = {}
    for index, one in enumerate(value):
        tool = _tool(f"tools[{index}]", one, nested=nested)
        if found.setdefault(tool.name, tool) is not tool:
            place = f"tools[{index}].function.name" if nested else f"tools[{index}].name"
            what = f"`{place}` is '{tool.name}', as that of another tool: names have to be unique."
            raise RequestError(400, what, param=place, code="invalid_value")
    if sum(map(_characters, found.values())) > TOOL_CHARACTERS:
        raise RequestError(400, f"`tools` has more than {TOOL_CHARACTERS} characters.", param="tools")
    return tuple(found.values())


def _tool(place: str, value: Any, *, nested: bool) -> Tool:
    kind = text(f"{place}.type", mapping(place, value).get("type"))
    if kind != "function":
        raise unsupported(f"{place}.type", kind, ("function",))
    function = value
    if nested:
        place = f"{place}.function"
        function = mapping(place, value.get("function"))
    name = function_name(f"{place}.name", function.get("name"))
    description, parameters, strict = function.get("description"), function.get("parameters"), function.get("strict")
    return Tool(
        name,
        None if description is None else text(f"{place}.description", description),
        None if parameters is None else schema(f"{place}.parameters", parameters),
        None if strict is None else switch(f"{place}.strict", strict),
    )


def _characters(tool: Tool) -> int:
    """Of what is passed on; members that nobody knows are not, however many and deep they are."""
    parameters = "" if tool.parameters is None else json.dumps(tool.parameters, ensure_ascii=False)
    return len(tool.name) + len(tool.description or "") + len(parameters)


def tool_choice(value: Any, found: tuple[Tool, ...], *, nested: bool = True) -> ToolChoice:
    """`tool_choice`, given the tools there are.  `nested` as of `tools`.  Raises RequestError (400)."""
    if value is None:
        return AnyTool
    if isinstance(value, str):
        if value not in _MODES:
            raise unsupported("tool_choice", value, _MODES)
        choice = AnyTool if value == "auto" else ToolChoice(value)
    elif isinstance(value, dict):
        kind = text("tool_choice.type", value.get("type"))
        if kind != "function":
            raise unsupported("tool_choice.type", kind, ("function",))
        if nested:
            function = mapping("tool_choice.function", value.get("function"))
            choice = ToolChoice("function", text("tool_choice.function.name", function.get("name")))
        else:
            choice = ToolChoice("function", text("tool_choice.name", value.get("name")))
    else:
        raise wrong("tool_choice", "a string or an object", value)
    if choice.mode in {"required", "function"} and not found:
        raise RequestError(400, "`tool_choice` is only allowed when `tools` are specified.", param="tool_choice")
    if choice.name is not None and choice.name not in {tool.name for tool in found}:
        what = f"Tool choice '{choice.name[:64]}' not found in `tools`."
        raise RequestError(400, what, param="tool_choice", code="invalid_value")
    return choice


def tool_calls(place: str, value: Any) -> tuple[ToolCall, ...]:
    """The calls of an assistant's message, at `place`.  Raises RequestError (400)."""
    if not isinstance(value, list):
        raise wrong(place, "an array", value)
    if len(value) > CALLS:
        raise RequestError(400, f"`{place}` has more than {CALLS} entries.", param=place)
    return tuple(_tool_call(f"{place}[{index}]", one) for index, one in enumerate(value))


def _tool_call(place: str, value: Any) -> ToolCall:
    call_id = word(f"{place}.id", mapping(place, value).get("id"))
    kind = text(f"{place}.type", value.get("type"))
    if kind != "function":
        raise unsupported(f"{place}.type", kind, ("function",))
    function = mapping(f"{place}.function", value.get("function"))
    name = word(f"{place}.function.name", function.get("name"))  # a model may have made it up
    return ToolCall(call_id, name, text(f"{place}.function.arguments", function.get("arguments")))


def word(place: str, value: Any) -> str:
    """An id, or the name of a function that was called.  Raises RequestError (400)."""
    found = text(place, value)
    if not found:
        raise missing(place)
    if len(found) > WORD_CHARACTERS:
        raise RequestError(400, f"`{place}` is longer than {WORD_CHARACTERS} characters.", param=place)
    return found


def check_answers(messages: Iterable[Message]) -> None:
    """Each tool's message has to answer a call of the assistant's message before it, and each call to be answered.

    But for those at the beginning: what they answer may stand in the session, where a request brings only what is new.
    Raises RequestError (400), in OpenAI's words.
    """
    called: frozenset[str] | None = None  # by the assistant's message before; None where that is not in the request
    unanswered: dict[str, None] = {}
    for index, message in enumerate(messages):
        if message.role == "tool":
            if called is None:
                continue
            if not called:
                what = "messages with role 'tool' must be a response to a preceding message with 'tool_calls'."
                raise _misplaced(what, f"messages[{index}].role")
            if message.tool_call_id not in called:
                shown = (message.tool_call_id or "")[:64]
                what = f"'tool_call_id' of '{shown}' not found in 'tool_calls' of previous message."
                raise _misplaced(what, f"messages[{index}].tool_call_id")
            unanswered.pop(message.tool_call_id or "", None)
            continue
        if unanswered:
            raise _unanswered(index, unanswered)
        if message.role == "assistant":
            unanswered = dict.fromkeys(call.id for call in message.tool_calls)
            called = frozenset(unanswered)
        elif called is not None or message.role == "user":
            called = frozenset()
    if unanswered:
        raise _unanswered(index, unanswered)


def _misplaced(what: str, place: str) -> RequestError:
    return RequestError(400, f"Invalid parameter: {what}", param=place)


def _unanswered(index: int, calls: Iterable[str]) -> RequestError:
    what = (
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
        f"The following tool_call_ids did not have response messages: {', '.join(calls)[:64]}"
    )
    return RequestError(400, what, param=f"messages[{index}].role")
