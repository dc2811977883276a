"""Members of a request: what each has to be, told to who sent it.

A check takes the member's name and value, and returns the value.  All raise RequestError (400) that names the member.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from ..errors import RequestError

__all__ = [
    "Check",
    "boolean",
    "function_name",
    "integer",
    "kind_of",
    "mapping",
    "missing",
    "number",
    "of_kind",
    "one_of",
    "schema",
    "switch",
    "text",
    "unsupported",
    "wrong",
]

# Of what was sent, in an error: enough to find it again.
SHOWN = 64
# Of a schema that is passed on: OpenAI takes 10, and whoever writes it down again needs a stack for each.
SCHEMA_LEVELS = 100


def kind_of(value: Any) -> str:
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


def wrong(name: str, wanted: str, value: Any) -> RequestError:
    return RequestError(400, f"Invalid type for `{name}`: expected {wanted}, got {kind_of(value)}.", param=name)


def boolean(value: Mapping[str, Any], name: str, prefix: str = "") -> bool:
    found = value.get(name)
    if found is None or found is False:
        return False
    if found is True:
        return True
    raise wrong(prefix + name, "a boolean", found)


Check: TypeAlias = Callable[[str, Any], Any]


def number(low: float, high: float) -> Check:
    def check(name: str, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong(name, "a number", value)
        if not low <= value <= high:
            raise RequestError(400, f"`{name}` must be between {low:g} and {high:g}.", param=name)
        return value

    return check


def integer(low: int | None, high: int | None = None) -> Check:
    def check(name: str, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong(name, "an integer", value)
        if low is not None and value < low:
            raise RequestError(400, f"`{name}` must be at least {low}.", param=name)
        if high is not None and value > high:
            raise RequestError(400, f"`{name}` must be at most {high}.", param=name)
        return value

    return check


def of_kind(kind: type, description: str) -> Check:
    """Whatever is of this kind, which `description` tells with its article."""

    def check(name: str, value: Any) -> Any:
        if not isinstance(value, kind):
            raise wrong(name, description, value)
        return value

    return check


def one_of(*values: str) -> Check:
    def check(name: str, value: Any) -> Any:
        if not isinstance(value, str):
            raise wrong(name, "a string", value)
        if value not in values:
            raise unsupported(name, value, values)
        return value

    return check


def unsupported(name: str, value: str, values: tuple[str, ...]) -> RequestError:
    """`value` is none of those there are."""
    supported = ", ".join(f"'{one}'" for one in values)
    what = f"Invalid value for `{name}`: '{value[:SHOWN]}'. Supported values are: {supported}."
    return RequestError(400, what, param=name, code="invalid_value")


def switch(name: str, value: Any) -> Any:
    """A boolean."""
    if not isinstance(value, bool):
        raise wrong(name, "a boolean", value)
    return value


def text(name: str, value: Any) -> str:
    """A string, which has to be there."""
    if value is None:
        raise missing(name)
    if not isinstance(value, str):
        raise wrong(name, "a string", value)
    return value


def mapping(name: str, value: Any) -> dict[str, Any]:
    """An object, which has to be there."""
    if value is None:
        raise missing(name)
    if not isinstance(value, dict):
        raise wrong(name, "an object", value)
    return value


def missing(name: str) -> RequestError:
    return RequestError(400, f"Missing required parameter: `{name}`.", param=name, code="missing_required_parameter")


def function_name(name: str, value: Any) -> str:
    """The name of a function, or of a schema: what every provider takes."""
    found = text(name, value)
    if not re.fullmatch(_FUNCTION_NAME, found):
        what = f"Invalid `{name}`: '{found[:SHOWN]}'. Expected 1 to 64 of the characters a-z, A-Z, 0-9, '_' and '-'."
        raise RequestError(400, what, param=name, code="invalid_value")
    return found


def schema(name: str, value: Any) -> dict[str, Any]:
    """An object that is passed on, a JSON Schema for one: what it says is for who uses it, but its depth is limited."""
    found = mapping(name, value)
    layer: list[Any] = [found]
    for _ in range(SCHEMA_LEVELS):
        layer = [
            inner
            for one in layer
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not layer:
            return found
    raise RequestError(400, f"`{name}` is nested more than {SCHEMA_LEVELS} levels deep.", param=name)


_FUNCTION_NAME = r"[a-zA-Z0-9_-]{1,64}"  # compiled at its first use: most requests bring no tools
