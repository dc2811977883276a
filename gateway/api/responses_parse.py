"""A response request out of the bytes of its body.

Source: https://platform.openai.com/docs/api-reference/responses/create.  As in `parse`, unknown members are ignored,
and members that would change the answer and are not served are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..errors import RequestError
from ..model.chat import ChatRequest, Message
from ..records import NamedTuple
from .images import NO_URLS, ImageLimits
from .json_body import json_body
from .members import (
    Check,
    boolean,
    function_name,
    integer,
    kind_of,
    mapping,
    number,
    one_of,
    schema,
    switch,
    text,
    wrong,
)
from .parse import MODEL_CHARACTERS
from .parse_parameters import INT32
from .parse_tools import tool_choice, tools
from .responses_input import Reference, input_messages

__all__ = ["RESPONSE_PREFIX", "ResponsesRequest", "responses_request"]

RESPONSE_PREFIX = "resp_"
"""Before the id of a run, in the id of the response that it gave."""

# As OpenAI's limits: https://platform.openai.com/docs/api-reference/responses/create#responses-create-metadata.
METADATA_PAIRS = 16
METADATA_KEY_CHARACTERS = 64
METADATA_VALUE_CHARACTERS = 512
# Of a conversation's id, which becomes part of a session's key; see `sessions.keys.KEY_CHARACTERS`.
CONVERSATION_CHARACTERS = 256
_RUN_ID = r"[0-9a-f]{32}"
_LOGPROBS = "message.output_text.logprobs"


_effort = one_of("none", "minimal", "low", "medium", "high", "xhigh", "max")
_summary = one_of("auto", "concise", "detailed")
_verbosity = one_of("low", "medium", "high")
_format = one_of("text", "json_object", "json_schema")


class ResponsesRequest(NamedTuple):
    """`chat` is what the agent is asked.  `after` is the run whose response `previous_response_id` names.

    `conversation` is the id of one, `store` whether anything may be kept.  `echo` are the members of the response that
    repeat the request, as JSON values.  `places` are those of the items that the messages begin with; `references` are
    what has to be added to messages yet, by the index of these.
    """

    chat: ChatRequest
    after: str | None
    conversation: str | None
    store: bool
    echo: Mapping[str, Any]
    places: tuple[str, ...]
    references: Mapping[int, Reference]

    def place(self, message: int, part: int) -> str:
        """How the request calls a part of a message of `chat`."""
        return f"{self.places[message]}.content[{part}]"


def responses_request(body: bytes, images: ImageLimits = NO_URLS) -> ResponsesRequest:
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
    found = tools(given.get("tools"), nested=False)
    echo["tools"] = [{"type": "function", **tool._asdict()} for tool in found]
    if not found:
        parameters.pop("parallel_tool_calls", None)  # it says something about tools only
    said = input_messages(given.get("input"), images)
    instructions = _instructions(given)
    chat = ChatRequest(
        (*instructions, *said.messages),
        given.get("model"),
        boolean(given, "stream"),
        user=given.get("user", "").strip() or None,
        parameters=parameters,
        tools=found,
        tool_choice=tool_choice(given.get("tool_choice"), found, nested=False),
        images=said.images.count,
    )
    conversation = _conversation(given)
    if conversation is not None:
        echo["conversation"] = {"id": conversation}
    places = (*("instructions" for _ in instructions), *said.places)
    references = {index + len(instructions): reference for index, reference in said.references.items()}
    return ResponsesRequest(chat, _after(given), conversation, given.get("store", True), echo, places, references)


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
    said = given.get("instructions")
    return (Message("system", said),) if said else ()


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


def _text(given: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """`text` as the response repeats it, and as the parameters of a chat completion."""
    shown: dict[str, Any] = {"format": {"type": "text"}}
    found: dict[str, Any] = {}
    if (verbosity := given.get("verbosity")) is not None:
        shown["verbosity"] = found["verbosity"] = _verbosity("text.verbosity", verbosity)
    if given.get("format") is None:
        return shown, found
    place = "text.format"
    form = mapping(place, given["format"])
    kind = _format("text.format.type", form.get("type"))
    if kind == "json_object":
        shown["format"] = found["response_format"] = {"type": kind}
    elif kind == "json_schema":
        described: dict[str, Any] = {"name": function_name(f"{place}.name", form.get("name"))}
        for name, check in (("description", text), ("schema", schema), ("strict", switch)):
            if name == "schema" or form.get(name) is not None:
                described[name] = check(f"{place}.{name}", form.get(name))
        shown["format"] = {"type": kind, **described}
        found["response_format"] = {"type": kind, "json_schema": described}
    return shown, found


def _reasoning(given: Any) -> dict[str, Any]:
    return {
        name: None if given.get(name) is None else check(f"reasoning.{name}", given[name])
        for name, check in (("effort", _effort), ("summary", _summary))
    }


# -- members by themselves


def _model(name: str, value: Any) -> None:
    if len(text(name, value)) > MODEL_CHARACTERS:
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


_CHECKED: Mapping[str, Check] = {
    "model": _model,
    "instructions": text,
    "parallel_tool_calls": switch,
    "max_output_tokens": integer(1, INT32),
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "text": mapping,
    "reasoning": mapping,
    "metadata": _metadata,
    "store": switch,
    "previous_response_id": text,
    "truncation": one_of("auto", "disabled"),
    "user": text,
    "safety_identifier": text,
    "prompt_cache_key": text,
    "include": _include,
    "top_logprobs": _no_logprobs,
    "background": _no_background,
    "prompt": _no_prompt,
}
