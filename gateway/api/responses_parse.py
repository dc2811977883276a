"""A response request out of the bytes of its body.

Source: https://platform.openai.com/docs/api-reference/responses/create.  As in `parse`, unknown members are ignored,
and members that would change the answer and are not served are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import RequestError
from ..model.chat import AnyTool, ChatRequest, Message, Tool, ToolChoice
from .json_body import json_body
from .members import Check, boolean, integer, kind_of, number, of_kind, switch, wrong
from .parse import MODEL_CHARACTERS
from .parse_parameters import INT32
from .responses_input import input_messages

__all__ = ["RESPONSE_PREFIX", "ResponsesRequest", "responses_request"]

RESPONSE_PREFIX = "resp_"
"""Before the id of a run, in the id of the response that it gave."""

# As OpenAI's limits: https://platform.openai.com/docs/api-reference/responses/create#responses-create-metadata.
METADATA_PAIRS = 16
METADATA_KEY_CHARACTERS = 64
METADATA_VALUE_CHARACTERS = 512
# Of a conversation's id, which becomes part of a session's key; see `sessions.keys.KEY_CHARACTERS`.
CONVERSATION_CHARACTERS = 256
# Of tools; OpenAI's limit for an agent of theirs.  Each is read by the model before every word it says.
TOOLS = 128

_RUN_ID = r"[0-9a-f]{32}"
_NAME = r"[A-Za-z0-9_-]{1,64}"
_NAME_IN_WORDS = "1 to 64 letters, digits, underscores and dashes"
_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_SUMMARIES = ("auto", "concise", "detailed")
_LOGPROBS = "message.output_text.logprobs"


class ResponsesRequest(NamedTuple):
    """`chat` is what the agent is asked.  `after` is the run whose response `previous_response_id` names.

    `conversation` is the id of one, `store` whether anything may be kept.  `echo` are the members of the response that
    repeat the request, as JSON values.
    """

    chat: ChatRequest
    after: str | None
    conversation: str | None
    store: bool
    echo: Mapping[str, Any]


def responses_request(body: bytes) -> ResponsesRequest:
    """Read and check a request body.

    Raises RequestError that names the member at fault: 400, and 404 for a `previous_response_id` that cannot be one.
    """
    value = json_body(body)
    if not isinstance(value, dict):
        raise RequestError(400, f"The request body has to be a JSON object, not {kind_of(value)}.")
    given = {name: one for name, one in value.items() if one is not None}  # null is the same as nothing
    for name, one in given.items():
        if name in _CHECKED:
            _CHECKED[name](name, one)
    echo: dict[str, Any] = {name: given.get(name, default) for name, default in _ECHOED.items()}
    parameters = {name: given[name] for name in ("temperature", "top_p", "parallel_tool_calls") if name in given}
    if "max_output_tokens" in given:
        parameters["max_completion_tokens"] = given["max_output_tokens"]
    echo["text"], form = _text(given.get("text", {}))
    echo["reasoning"] = reasoning = _reasoning(given.get("reasoning", {}))
    parameters |= form
    if reasoning["effort"] is not None:
        parameters["reasoning_effort"] = reasoning["effort"]
    tools = _tools(given.get("tools", []))
    chat = ChatRequest(
        (*_instructions(given), *input_messages(given.get("input"))),
        given.get("model"),
        boolean(given, "stream"),
        user=given.get("user", "").strip() or None,
        parameters=parameters,
        tools=tools,
        tool_choice=_tool_choice(given.get("tool_choice", "auto"), tools),
    )
    echo["tools"] = [
        {
            "type": "function",
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters,
            "strict": tool.strict,
        }
        for tool in tools
    ]
    conversation = _conversation(given)
    if conversation is not None:
        echo["conversation"] = {"id": conversation}
    return ResponsesRequest(chat, _after(given), conversation, given.get("store", True), echo)


# What a response repeats, with what it says where the request said nothing; the order is that of OpenAI's answers.
_ECHOED: Mapping[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": None,
    "safety_identifier": None,
    "store": True,
    "temperature": None,
    "text": None,
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "truncation": "disabled",
    "user": None,
    "metadata": {},
}


def _instructions(given: Mapping[str, Any]) -> tuple[Message, ...]:
    text = given.get("instructions")
    return (Message("system", text),) if text else ()


def _after(given: Mapping[str, Any]) -> str | None:
    previous: str | None = given.get("previous_response_id")
    if previous is None:
        return None
    if not re.fullmatch(RESPONSE_PREFIX + _RUN_ID, previous):
        message = f"Previous response with id '{previous[:64]}' not found."
        raise RequestError(404, message, param="previous_response_id", code="previous_response_not_found")
    return previous.removeprefix(RESPONSE_PREFIX)


def _conversation(given: Mapping[str, Any]) -> str | None:
    """A string, or an object with an `id`."""
    found, name = given.get("conversation"), "conversation"
    if isinstance(found, dict):
        found, name = found.get("id"), "conversation.id"
    elif found is None:
        return None
    if not isinstance(found, str):
        raise wrong(name, "a string", found)
    if not 0 < len(found) <= CONVERSATION_CHARACTERS:
        raise RequestError(400, f"`{name}` has to have 1 to {CONVERSATION_CHARACTERS} characters.", param=name)
    if "previous_response_id" in given:
        raise RequestError(400, "`previous_response_id` and `conversation` exclude each other.", param="conversation")
    if given.get("store") is False:
        raise RequestError(400, "`store` cannot be false: a conversation is kept.", param="store")
    return found


# -- how the answer is to be


def _text(text: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """`text` as the response repeats it, and as the parameters of a chat completion."""
    shown: dict[str, Any] = {"format": {"type": "text"}}
    found: dict[str, Any] = {}
    verbosity = text.get("verbosity")
    if verbosity is not None:
        shown["verbosity"] = found["verbosity"] = _choice("text.verbosity", verbosity, ("low", "medium", "high"))
    form = text.get("format")
    if form is None:
        return shown, found
    if not isinstance(form, dict):
        raise wrong("text.format", "an object", form)
    match form.get("type"):
        case "text":
            pass
        case "json_object":
            shown["format"] = found["response_format"] = {"type": "json_object"}
        case "json_schema":
            _require("text.format.name", form.get("name"), _NAME, _NAME_IN_WORDS)
            if not isinstance(form.get("schema"), dict):
                raise wrong("text.format.schema", "an object", form.get("schema"))
            _optional("text.format", form, {"description": (str, "a string"), "strict": (bool, "a boolean")})
            names = ("name", "description", "schema", "strict")
            schema = {name: form[name] for name in names if form.get(name) is not None}
            shown["format"] = {"type": "json_schema", **schema}
            found["response_format"] = {"type": "json_schema", "json_schema": schema}
        case _:
            message = "`text.format.type` has to be 'text', 'json_object' or 'json_schema'."
            raise RequestError(400, message, param="text.format.type")
    return shown, found


def _reasoning(reasoning: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: None if reasoning.get(name) is None else _choice(f"reasoning.{name}", reasoning[name], among)
        for name, among in (("effort", _EFFORTS), ("summary", _SUMMARIES))
    }


def _choice(name: str, value: Any, among: tuple[str, ...]) -> str:
    if not isinstance(value, str):
        raise wrong(name, "a string", value)
    if value not in among:
        known = ", ".join(f"'{one}'" for one in among)
        raise RequestError(400, f"`{name}` has to be one of {known}.", param=name)
    return value


def _require(name: str, value: Any, form: str, wanted: str) -> str:
    if not isinstance(value, str):
        raise wrong(name, "a string", value)
    if not re.fullmatch(form, value):
        raise RequestError(400, f"`{name}` has to be {wanted}.", param=name)
    return value


def _optional(place: str, value: Mapping[str, Any], kinds: Mapping[str, tuple[type, str]]) -> None:
    for name, (kind, description) in kinds.items():
        if value.get(name) is not None and not isinstance(value[name], kind):
            raise wrong(f"{place}.{name}", description, value[name])


# -- tools


def _tools(value: list[Any]) -> tuple[Tool, ...]:
    if len(value) > TOOLS:
        raise RequestError(400, f"`tools` has more than {TOOLS} entries.", param="tools")
    tools: dict[str, Tool] = {}
    for index, one in enumerate(value):
        place = f"tools[{index}]"
        if not isinstance(one, dict):
            raise wrong(place, "an object", one)
        kind = one.get("type")
        if kind != "function":
            shown = f"'{kind[:64]}'" if isinstance(kind, str) else kind_of(kind)
            message = f"`{place}.type` is {shown}; only tools of the type 'function' are served."
            raise RequestError(400, message, param=f"{place}.type")
        name = _require(f"{place}.name", one.get("name"), _NAME, _NAME_IN_WORDS)
        if name in tools:
            raise RequestError(400, f"`{place}.name` is that of another tool: '{name}'.", param=f"{place}.name")
        kinds = {"description": (str, "a string"), "parameters": (dict, "an object"), "strict": (bool, "a boolean")}
        _optional(place, one, kinds)
        tools[name] = Tool(name, one.get("description"), one.get("parameters"), one.get("strict"))
    return tuple(tools.values())


def _tool_choice(value: Any, tools: tuple[Tool, ...]) -> ToolChoice:
    if isinstance(value, str):
        _choice("tool_choice", value, ("none", "auto", "required"))
        if value == "required" and not tools:
            raise RequestError(400, "`tool_choice` is 'required', and there are no `tools`.", param="tool_choice")
        return AnyTool if value == "auto" else ToolChoice(value)
    if not isinstance(value, dict):
        raise wrong("tool_choice", "a string or an object", value)
    kind = value.get("type")
    if kind != "function":
        shown = f"'{kind[:64]}'" if isinstance(kind, str) else kind_of(kind)
        message = f"`tool_choice.type` is {shown}; only 'function' is served."
        raise RequestError(400, message, param="tool_choice.type")
    name = value.get("name")
    if not isinstance(name, str):
        raise wrong("tool_choice.name", "a string", name)
    if all(tool.name != name for tool in tools):
        raise RequestError(400, f"`tool_choice.name` is no tool of `tools`: '{name[:64]}'.", param="tool_choice.name")
    return ToolChoice("function", name)


# -- members by themselves


def _model(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise wrong(name, "a string", value)
    if len(value) > MODEL_CHARACTERS:
        raise RequestError(400, f"`{name}` is longer than {MODEL_CHARACTERS} characters.", param=name)


def _metadata(name: str, value: Any) -> None:
    if not isinstance(value, dict):
        raise wrong(name, "an object", value)
    if len(value) > METADATA_PAIRS:
        raise RequestError(400, f"`{name}` has more than {METADATA_PAIRS} pairs.", param=name)
    for key, one in value.items():
        if not isinstance(one, str):
            raise wrong(f"{name}.{key[:METADATA_KEY_CHARACTERS]}", "a string", one)
        if len(key) > METADATA_KEY_CHARACTERS or len(one) > METADATA_VALUE_CHARACTERS:
            most = f"{METADATA_KEY_CHARACTERS} characters of a key or {METADATA_VALUE_CHARACTERS} of a value"
            raise RequestError(400, f"`{name}` has more than {most}.", param=name)


def _include(name: str, value: Any) -> None:
    """What may be wanted besides: most of it belongs to tools that are not served, and is never there."""
    if not isinstance(value, list):
        raise wrong(name, "an array", value)
    for index, one in enumerate(value):
        if not isinstance(one, str):
            raise wrong(f"{name}[{index}]", "a string", one)
        if one == _LOGPROBS:
            place = f"{name}[{index}]"
            raise RequestError(400, f"`{place}` is not served: agents tell no probabilities.", param=place)


def _no_logprobs(name: str, value: Any) -> None:
    if value != 0 or isinstance(value, bool):
        raise RequestError(400, f"`{name}` is not served: agents tell no probabilities.", param=name)


def _no_background(name: str, value: Any) -> None:
    if value is not False:
        raise RequestError(400, f"`{name}` is not served: a response ends with its request.", param=name)


def _no_prompt(name: str, _value: Any) -> None:
    message = f"`{name}` is not served: there are no prompt templates here; send `instructions` and `input`."
    raise RequestError(400, message, param=name)


def _truncation(name: str, value: Any) -> None:
    _choice(name, value, ("auto", "disabled"))


_STRING = of_kind(str, "a string")
_BOOLEAN = switch
_OBJECT = of_kind(dict, "an object")

_CHECKED: Mapping[str, Check] = {
    "model": _model,
    "instructions": _STRING,
    "tools": of_kind(list, "an array"),
    "parallel_tool_calls": _BOOLEAN,
    "max_output_tokens": integer(1, INT32),
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "text": _OBJECT,
    "reasoning": _OBJECT,
    "metadata": _metadata,
    "store": _BOOLEAN,
    "previous_response_id": _STRING,
    "truncation": _truncation,
    "user": _STRING,
    "safety_identifier": _STRING,
    "prompt_cache_key": _STRING,
    "include": _include,
    "top_logprobs": _no_logprobs,
    "background": _no_background,
    "prompt": _no_prompt,
}
