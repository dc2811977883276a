"""Arguments checked against a JSON Schema, with faults told so that a model can mend them.

Source: JSON Schema, draft 2020-12 (https://json-schema.org/draft/2020-12/json-schema-validation), of it what schemas of
tools use; `_KEYWORDS` names it.  Other keywords are let through, as the standard asks for those that are not known.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..errors import ToolError
from ..records import NamedTuple

__all__ = ["check_arguments", "problems"]

PROBLEMS = 5
"""Told at a time: enough to mend a call, and no more than a model reads."""

DEPTH = 64
"""Of schemas within schemas; the references of one can go round in a circle."""


class _At(NamedTuple):
    """Where in the value, of which whole schema, and how deep."""

    place: str
    root: Any
    depth: int = 0

    @property
    def name(self) -> str:
        return f"`{self.place}`" if self.place else "the whole"

    def member(self, name: str) -> _At:
        return self._replace(place=f"{self.place}.{name}" if self.place else name, depth=self.depth + 1)

    def item(self, index: int) -> _At:
        return self._replace(place=f"{self.place}[{index}]", depth=self.depth + 1)

    def deeper(self) -> _At:
        return self._replace(depth=self.depth + 1)


_Check = Callable[[Any, Any, Mapping[str, Any], _At], Iterator[str]]
"""(the keyword's value, the value to check, the schema, where)"""


def check_arguments(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Raises ToolError that names the arguments at fault."""
    found = []
    for problem in problems(arguments, schema):
        found.append(problem)
        if len(found) == PROBLEMS:
            break
    if found:
        raise ToolError(f"The arguments are not right: {'; '.join(found)}.")


def problems(value: Any, schema: Any, root: Mapping[str, Any] | None = None) -> Iterator[str]:
    """What is wrong with a value, one by one; nothing where it is valid.  `root` is what `$ref` starts from."""
    yield from _problems(value, schema, _At("", schema if root is None else root))


def _problems(value: Any, schema: Any, at: _At) -> Iterator[str]:
    if at.depth > DEPTH:
        yield f"{at.name} is nested too deeply"
        return
    if schema is False:
        yield f"{at.name} is not allowed"
        return
    if not isinstance(schema, dict | Mapping):
        return
    kinds = schema.get("type")
    if kinds is not None and not _is_of(value, kinds):
        wanted = " or ".join(kinds) if isinstance(kinds, list) else kinds
        yield f"{at.name} has to be {_article(str(wanted))}, not {_kind_of(value)}"
        return
    for keyword, check in _KEYWORDS.items():
        if keyword in schema:
            yield from check(schema[keyword], value, schema, at)


def _article(kind: str) -> str:
    return f"an {kind}" if kind[:1] in "aeiou" else f"a {kind}"


def _kind_of(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"


def _is_of(value: Any, kinds: Any) -> bool:
    if isinstance(kinds, list):
        return any(_is_of(value, kind) for kind in kinds)
    match kinds:
        case "null":
            return value is None
        case "boolean":
            return isinstance(value, bool)
        case "integer":  # 1.0 is one (validation, 6.1.1)
            return not isinstance(value, bool) and (
                isinstance(value, int) or (isinstance(value, float) and value.is_integer())
            )
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "string":
            return isinstance(value, str)
        case "array":
            return isinstance(value, list)
        case "object":
            return isinstance(value, dict | Mapping)
        case _:
            return True


def _same(one: Any, other: Any) -> bool:
    """JSON equality: `true` is not 1, but 1 is 1.0."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    numbers = isinstance(one, int | float) and isinstance(other, int | float)
    return (numbers or type(one) is type(other)) and bool(one == other)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:80]}..."


# -- keywords


def _enum(choices: Any, value: Any, _: Any, at: _At) -> Iterator[str]:
    if isinstance(choices, list) and not any(_same(value, choice) for choice in choices):
        yield f"{at.name} has to be one of {', '.join(map(_shown, choices[:20]))}"


def _const(constant: Any, value: Any, _: Any, at: _At) -> Iterator[str]:
    if not _same(value, constant):
        yield f"{at.name} has to be {_shown(constant)}"


def _properties(properties: Any, value: Any, _: Any, at: _At) -> Iterator[str]:
    if isinstance(value, dict | Mapping) and isinstance(properties, dict | Mapping):
        for name, schema in properties.items():
            if name in value:
                yield from _problems(value[name], schema, at.member(name))


def _required(names: Any, value: Any, _: Any, at: _At) -> Iterator[str]:
    if isinstance(value, dict | Mapping) and isinstance(names, list):
        for name in names:
            if name not in value:
                yield f"{at.member(name).name} is missing"


def _others(allowed: Any, value: Any, schema: Mapping[str, Any], at: _At) -> Iterator[str]:
    """`additionalProperties`."""
    if not isinstance(value, dict | Mapping):
        return
    known = schema.get("properties") or {}
    patterns = schema.get("patternProperties") or {}
    for name, member in value.items():
        if name in known or any(_found(pattern, name) for pattern in patterns):
            continue
        inner = at.member(name)
        if allowed is False:
            yield f"there is no {inner.name}; there {'are' if known else 'is'} {', '.join(known) or 'none at all'}"
        else:
            yield from _problems(member, allowed, inner)


def _items(schema: Any, value: Any, whole: Mapping[str, Any], at: _At) -> Iterator[str]:
    if isinstance(value, list):
        first = len(whole.get("prefixItems") or ())
        for index, item in enumerate(value[first:], first):
            yield from _problems(item, schema, at.item(index))


def _prefix_items(schemas: Any, value: Any, _: Any, at: _At) -> Iterator[str]:
    if isinstance(value, list) and isinstance(schemas, list):
        for index, (item, schema) in enumerate(zip(value, schemas, strict=False)):
            yield from _problems(item, schema, at.item(index))


def _any_of(schemas: Any, value: Any, _: Any, at: _At) -> Iterator[str]:
    """One fault by the first of the schemas: which of them was meant, nobody can tell."""
    first: list[str] = []
    for schema in schemas if isinstance(schemas, list) else ():
        found = list(_problems(value, schema, at.deeper()))
        if not found:
            return
        first = first or found
    yield from first[:1]


def _one_of(schemas: Any, value: Any, schema: Mapping[str, Any], at: _At) -> Iterator[str]:
    fits = [one for one in schemas if not any(_problems(value, one, at.deeper()))]
    if not fits:
        yield from _any_of(schemas, value, schema, at)
    elif len(fits) > 1:
        yield f"{at.name} has to be one thing only, and may be taken for {len(fits)}"


def _all_of(schemas: Any, value: Any, _: Any, at: _At) -> Iterator[str]:
    for schema in schemas if isinstance(schemas, list) else ():
        yield from _problems(value, schema, at.deeper())


def _ref(reference: Any, value: Any, _: Any, at: _At) -> Iterator[str]:
    if not isinstance(reference, str) or not reference.startswith("#"):
        return  # of another document: nothing is fetched
    target = at.root
    for part in reference[1:].split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        target = target.get(key) if isinstance(target, dict | Mapping) else None
    if target is not None:
        yield from _problems(value, target, at.deeper())


def _bound(test: Callable[[Any, Any], bool], words: str) -> _Check:
    def check(limit: Any, value: Any, _: Any, at: _At) -> Iterator[str]:
        if _is_of(value, "number") and _is_of(limit, "number") and not test(value, limit):
            yield f"{at.name} has to be {words} {limit}"

    return check


def _length(kind: str, test: Callable[[int, int], bool], words: str) -> _Check:
    def check(limit: Any, value: Any, _: Any, at: _At) -> Iterator[str]:
        if _is_of(value, kind) and _is_of(limit, "integer") and not test(len(value), limit):
            what = {"string": "characters", "array": "items", "object": "members"}[kind]
            yield f"{at.name} has to have {words} {limit} {what}"

    return check


def _found(pattern: Any, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except (re.error, TypeError):  # written for another dialect of regular expressions
        return True


def _pattern(pattern: Any, value: Any, _: Any, at: _At) -> Iterator[str]:
    if isinstance(value, str) and not _found(pattern, value):
        yield f"{at.name} has to match {pattern}"


_KEYWORDS: dict[str, _Check] = {
    "$ref": _ref,
    "enum": _enum,
    "const": _const,
    "properties": _properties,
    "required": _required,
    "additionalProperties": _others,
    "prefixItems": _prefix_items,
    "items": _items,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "allOf": _all_of,
    "minimum": _bound(lambda value, limit: bool(value >= limit), "at least"),
    "maximum": _bound(lambda value, limit: bool(value <= limit), "at most"),
    "exclusiveMinimum": _bound(lambda value, limit: bool(value > limit), "more than"),
    "exclusiveMaximum": _bound(lambda value, limit: bool(value < limit), "less than"),
    "minLength": _length("string", lambda size, limit: size >= limit, "at least"),
    "maxLength": _length("string", lambda size, limit: size <= limit, "at most"),
    "minItems": _length("array", lambda size, limit: size >= limit, "at least"),
    "maxItems": _length("array", lambda size, limit: size <= limit, "at most"),
    "minProperties": _length("object", lambda size, limit: size >= limit, "at least"),
    "maxProperties": _length("object", lambda size, limit: size <= limit, "at most"),
    "pattern": _pattern,
}
