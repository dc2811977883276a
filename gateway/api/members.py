"""Members of a request: what each has to be, told to who sent it.

A check takes the member's name and value, and returns the value.  All raise RequestError (400) that names the member.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from ..errors import RequestError

__all__ = ["Check", "boolean", "integer", "kind_of", "member", "number", "wrong"]


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


def integer(low: int | None) -> Check:
    def check(name: str, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong(name, "an integer", value)
        if low is not None and value < low:
            raise RequestError(400, f"`{name}` must be at least {low}.", param=name)
        return value

    return check


def member(kinds: type | tuple[type, ...], description: str) -> Check:
    def check(name: str, value: Any) -> Any:
        if not isinstance(value, kinds):
            raise wrong(name, description, value)
        return value

    return check
