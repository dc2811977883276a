"""A chat completion request out of the bytes of its body.

Source: https://platform.openai.com/docs/api-reference/chat/create.  Unknown members are ignored, as OpenAI's clients
expect of servers that are not OpenAI's; members that would change the answer and are not served are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from json import JSONDecodeError, JSONDecoder
from types import MappingProxyType
from typing import Any

from ..errors import RequestError
from ..model.chat import ROLES, ChatRequest, Message

__all__ = ["chat_request", "json_body"]

# Of one request, to bound the work that small messages make; the longest real conversations have hundreds.
MESSAGES = 10_000
# Values and keys of one request: reading one takes a microsecond, in which nobody else is served, and 100 bytes.
VALUES = 100_000
# Of an integer: the time to read one grows with the square of its digits, and Python's own limit is 4,300.
DIGITS = 400
# Answers repeat the model's name, streams with each token; no name of an agent comes near.
MODEL_CHARACTERS = 512


# What the constructor of a named tuple does in the end: without its Python function in between, a quarter of the time.
_new = tuple.__new__


class _NoConstant(Exception):
    """The json module met NaN or Infinity, which it reads although they are not JSON."""


def _no_constant(name: str) -> Any:
    raise _NoConstant(name)


def _limited_int(digits: str) -> int:
    if len(digits) > DIGITS:
        raise ValueError
    return int(digits)


_decoder = JSONDecoder(parse_constant=_no_constant, parse_int=_limited_int)
_scan: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once  # type: ignore[attr-defined]  # made in __init__
_STRING_OR_CONSTANT = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|NaN|-?Infinity')
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def json_body(body: bytes) -> Any:
    """The value of a JSON text (RFC 8259).  Raises RequestError (400) that tells line and column."""
    if len(body) > 2 * VALUES and _too_many_values(body):  # in fewer bytes there is no room for so many
        raise RequestError(400, f"The request body holds more than {VALUES} values and keys.", code="invalid_json")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise RequestError(
            400, f"The request body is not UTF-8: byte {error.start} is 0x{body[error.start]:02x}.", code="invalid_json"
        ) from None
    text = text.removeprefix("\ufeff")  # a byte order mark, which some clients on Windows send
    try:
        # What `decode` does, but for the white space around the value, which most clients do not send.
        try:
            value, end = _scan(text, 0)
        except StopIteration:  # it does not begin with a value, or breaks off: `decode` says so in words
            value, end = None, 0
        if end != len(text) or not end:
            value = _decoder.decode(text)
        if body.find(b"\\u") >= 0 and _SURROGATE.search(body):  # `in` would first try, and fail, to read it as a number
            _check_text(value)
    except _NoConstant as error:
        found = next(match for match in _STRING_OR_CONSTANT.finditer(text) if match[0][0] != '"')
        line, column = text.count("\n", 0, found.start()) + 1, found.start() - text.rfind("\n", 0, found.start())
        what = f"The request body is not valid JSON: {error} is no JSON value, at line {line} column {column}."
        raise RequestError(400, what, code="invalid_json") from None
    except JSONDecodeError as error:
        what = "The request body is empty." if not text.strip() else f"The request body is not valid JSON: {error.msg}"
        place = f" at line {error.lineno} column {error.colno}." if text.strip() else ""
        raise RequestError(400, what + place, code="invalid_json") from None
    except RecursionError:
        raise RequestError(400, "The request body is nested too deeply.", code="invalid_json") from None
    except ValueError:  # of `_limited_int`
        raise RequestError(400, "The request body holds a number that is too long.", code="invalid_json") from None
    return value


def _too_many_values(body: bytes) -> bool:
    """Whether the marks before values and keys are more than VALUES, up to the first fault at least."""
    if len(body) - len(body.translate(None, b",:[{")) < VALUES:
        return False
    bare = body.replace(b"\\\\", b"").replace(b'\\"', b"")  # and now without those that stand in strings
    if bare.count(b'"') > 2 * VALUES:
        return True
    outside = b"".join(bare.split(b'"')[::2])
    return len(outside) - len(outside.translate(None, b",:[{")) >= VALUES


def _check_text(value: Any) -> None:
    """Escapes of one half of a surrogate pair make a string that is no Unicode text and could not be passed on."""
    match value:
        case str():
            try:
                value.encode()
            except UnicodeEncodeError:
                message = "The request body holds an escaped surrogate without its other half."
                raise RequestError(400, message, code="invalid_json") from None
        case list():
            for one in value:
                _check_text(one)
        case dict():
            for key, one in value.items():
                _check_text(key)
                _check_text(one)
        case _:
            pass


def chat_request(body: bytes) -> ChatRequest:
    """Read and check a request body.  Raises RequestError (400) that names the member at fault."""
    value = json_body(body)
    if not isinstance(value, dict):
        raise RequestError(400, f"The request body has to be a JSON object, not {_kind(value)}.")
    parameters = {}
    if not _CHECKED.keys().isdisjoint(value):
        for name in value:
            if name in _CHECKED and value[name] is not None:  # null is the same as nothing
                parameters[name] = _CHECKED[name](name, value[name])
    options = value.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise _wrong("stream_options", "an object", options)
    model = value.get("model")
    if model is not None and not isinstance(model, str):
        raise _wrong("model", "a string", model)
    if model is not None and len(model) > MODEL_CHARACTERS:
        raise RequestError(400, f"`model` is longer than {MODEL_CHARACTERS} characters.", param="model")
    user = value.get("user")
    if user is not None and not isinstance(user, str):
        raise _wrong("user", "a string", user)
    members = (
        _messages(value.get("messages")),
        model,
        _boolean(value, "stream"),
        _boolean(options, "include_usage", "stream_options.") if options else False,
        (user.strip() or None) if user else None,
        {name: parameters[name] for name in parameters if name not in _REFUSED} if parameters else _NO_PARAMETERS,
    )
    return _new(ChatRequest, members)


_NO_PARAMETERS: Mapping[str, object] = MappingProxyType({})


def _messages(value: Any) -> tuple[Message, ...]:
    if value is None:
        raise RequestError(400, "Missing required parameter: `messages`.", param="messages")
    if not isinstance(value, list):
        raise _wrong("messages", "an array", value)
    if len(value) > MESSAGES:
        raise RequestError(400, f"`messages` has more than {MESSAGES} entries.", param="messages")
    asked = False
    messages = []
    for one in value:
        if one.__class__ is dict and len(one) == 2 and "role" in one and "content" in one:
            role, content = one["role"], one["content"]
            if content.__class__ is str and role.__class__ is str and role in ROLES:  # nothing is left to check
                messages.append(_new(Message, (role, content, None, None)))
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
        raise _wrong(f"messages[{index}]", "an object", value)
    role, content = value.get("role"), value.get("content")
    if not isinstance(role, str) or role not in ROLES:
        roles = ", ".join(f"'{one}'" for one in sorted(ROLES))
        raise RequestError(400, f"`messages[{index}].role` has to be one of {roles}.", param=f"messages[{index}].role")
    text = content if isinstance(content, str) else _text(f"messages[{index}].content", content)
    name, call = value.get("name"), value.get("tool_call_id")
    if name is not None and not isinstance(name, str):
        raise _wrong(f"messages[{index}].name", "a string", name)
    if call is not None and not isinstance(call, str):
        raise _wrong(f"messages[{index}].tool_call_id", "a string", call)
    return Message(role, text, name, call)


# The content parts that are text, and the member that holds it.
_TEXT_MEMBERS = {"text": "text", "input_text": "text", "refusal": "refusal"}


def _text(place: str, content: Any) -> str:
    if content is None:  # an assistant's message that only called tools
        return ""
    if not isinstance(content, list):
        raise _wrong(place, "a string or an array of parts", content)
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
            raise _wrong(f"{at}.{member}", "a string", text)
        texts.append(text)
    return "\n".join(texts)


def _boolean(value: Mapping[str, Any], name: str, prefix: str = "") -> bool:
    found = value.get(name)
    if found is None or found is False:
        return False
    if found is True:
        return True
    raise _wrong(prefix + name, "a boolean", found)


Check = Callable[[str, Any], Any]


def _number(low: float, high: float) -> Check:
    def check(name: str, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _wrong(name, "a number", value)
        if not low <= value <= high:
            raise RequestError(400, f"`{name}` must be between {low:g} and {high:g}.", param=name)
        return value

    return check


def _integer(low: int | None) -> Check:
    def check(name: str, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int):
            raise _wrong(name, "an integer", value)
        if low is not None and value < low:
            raise RequestError(400, f"`{name}` must be at least {low}.", param=name)
        return value

    return check


def _stop(name: str, value: Any) -> Any:
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(one, str) and one for one in stops) or len(stops) > 4:
        raise RequestError(400, f"`{name}` has to be a string or up to 4 strings, none of them empty.", param=name)
    return value


def _member(kinds: type | tuple[type, ...], description: str) -> Check:
    def check(name: str, value: Any) -> Any:
        if not isinstance(value, kinds):
            raise _wrong(name, description, value)
        return value

    return check


# Generation parameters: checked here, and handed to agents that are models.
_PARAMETERS: dict[str, Check] = {
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
    "presence_penalty": _number(-2, 2),
    "frequency_penalty": _number(-2, 2),
    "seed": _integer(None),
    "max_tokens": _integer(1),
    "max_completion_tokens": _integer(1),
    "stop": _stop,
    "response_format": _member(dict, "an object"),
    "reasoning_effort": _member(str, "a string"),
    "logit_bias": _member(dict, "an object"),
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


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"


def _wrong(name: str, wanted: str, value: Any) -> RequestError:
    return RequestError(400, f"Invalid type for `{name}`: expected {wanted}, got {_kind(value)}.", param=name)
