"""The generation parameters of a request: checked as OpenAI does, and handed to agents that are models.

Source: https://platform.openai.com/docs/api-reference/chat/create.  What would change the answer and is not served is
refused; what is neither known nor of consequence (`store`, `metadata`, `service_tier` ...) is ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ..errors import RequestError
from .members import Check, function_name, integer, mapping, number, one_of, schema, switch, text, unsupported, wrong

__all__ = ["NO_PARAMETERS", "parameters"]

NO_PARAMETERS: Mapping[str, object] = MappingProxyType({})

# As large as any model's vocabulary is wide would be a list of all words; OpenAI's own users pass a few hundred.
BIASES = 1_024
INT32 = 2**31 - 1
INT64 = 2**63 - 1

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
FORMATS = ("text", "json_object", "json_schema")


def parameters(value: Mapping[str, Any], *, tools: bool) -> Mapping[str, object]:
    """Those that are there, under their names.  Raises RequestError (400) that names the member at fault."""
    if _CHECKED.keys().isdisjoint(value):
        return NO_PARAMETERS
    found = {}
    for name in value:
        if name in _CHECKED and value[name] is not None:  # null is the same as nothing
            checked = _CHECKED[name](name, value[name])
            if name in _PARAMETERS:
                found[name] = checked
    if not tools:
        found.pop("parallel_tool_calls", None)  # it says something about tools only
    return found or NO_PARAMETERS


def _stop(name: str, value: Any) -> Any:
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(one, str) and one for one in stops) or len(stops) > 4:
        raise RequestError(400, f"`{name}` has to be a string or up to 4 strings, none of them empty.", param=name)
    return value


def _response_format(name: str, value: Any) -> Any:
    kind = text(f"{name}.type", schema(name, value).get("type"))  # all of it is passed on
    if kind not in FORMATS:
        raise unsupported(f"{name}.type", kind, FORMATS)
    if kind == "json_schema":
        place = f"{name}.json_schema"
        described = mapping(place, value.get("json_schema"))
        function_name(f"{place}.name", described.get("name"))
        if described.get("description") is not None:
            text(f"{place}.description", described["description"])
        if described.get("schema") is not None:
            mapping(f"{place}.schema", described["schema"])
        if described.get("strict") is not None:
            switch(f"{place}.strict", described["strict"])
    return value


_bias = number(-100, 100)


def _logit_bias(name: str, value: Any) -> Any:
    if len(mapping(name, value)) > BIASES:
        raise RequestError(400, f"`{name}` has more than {BIASES} entries.", param=name)
    for token, bias in value.items():
        if not (token.isascii() and token.isdecimal() and len(token) < 10):
            what = f"Invalid key in `{name}`: '{token[:20]}'. Expected the number of a token, as a string."
            raise RequestError(400, what, param=name, code="invalid_value")
        _bias(f"{name}.{token}", bias)
    return value


_PARAMETERS: dict[str, Check] = {
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "presence_penalty": number(-2, 2),
    "frequency_penalty": number(-2, 2),
    "seed": integer(-INT64 - 1, INT64),
    "max_tokens": integer(1, INT32),
    "max_completion_tokens": integer(1, INT32),
    "stop": _stop,
    "response_format": _response_format,
    "reasoning_effort": one_of(*EFFORTS),
    "verbosity": one_of("low", "medium", "high"),
    "logit_bias": _logit_bias,
    "parallel_tool_calls": switch,
}


def _one_choice(name: str, value: Any) -> None:
    if value != 1 or isinstance(value, bool):
        raise RequestError(400, "`n` has to be 1: an agent gives one answer.", param=name)


def _no_functions(name: str, value: Any) -> None:
    if value not in ([], "none", "auto"):
        instead = "tools" if name == "functions" else "tool_choice"
        raise RequestError(400, f"`{name}` is not served: use `{instead}`, which took its place.", param=name)


def _no_logprobs(name: str, value: Any) -> None:
    if value is not False and not (name == "top_logprobs" and value == 0):
        raise RequestError(400, f"`{name}` is not served: agents do not tell probabilities.", param=name)


def _only_text(name: str, value: Any) -> None:
    if not isinstance(value, list):
        raise wrong(name, "an array", value)
    if value != ["text"]:
        raise RequestError(400, f"`{name}` has to be ['text']: agents answer with nothing else.", param=name)


def _no_search(name: str, _: Any) -> None:
    raise RequestError(400, f"`{name}` is not served: whether an agent searches the web is its own matter.", param=name)


_REFUSED: dict[str, Callable[[str, Any], None]] = {
    "n": _one_choice,
    "functions": _no_functions,
    "function_call": _no_functions,
    "logprobs": _no_logprobs,
    "top_logprobs": _no_logprobs,
    "modalities": _only_text,
    "web_search_options": _no_search,
}

_CHECKED: dict[str, Check] = {**_PARAMETERS, **_REFUSED}
