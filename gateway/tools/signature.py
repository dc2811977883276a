"""What a Python function takes, as a JSON Schema, and arguments made into what its type hints ask for."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import re
import types
import typing
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any

from ..errors import ConfigError
from ..records import NamedTuple
from .schema import problems

__all__ = ["Signature", "described", "hints_of", "signature_of"]

_Convert = Callable[[Any], Any]


class Signature(NamedTuple):
    """`parameters` is the JSON Schema; `convert` makes arguments that it has passed into those of the function."""

    description: str | None
    parameters: dict[str, Any]
    convert: Callable[[Mapping[str, Any]], dict[str, Any]]


class _Kind(NamedTuple):
    schema: dict[str, Any]
    convert: _Convert


def _as_it_is(value: Any) -> Any:
    return value


_PLAIN: dict[Any, _Kind] = {
    str: _Kind({"type": "string"}, _as_it_is),
    int: _Kind({"type": "integer"}, int),
    float: _Kind({"type": "number"}, float),
    bool: _Kind({"type": "boolean"}, _as_it_is),
    type(None): _Kind({"type": "null"}, _as_it_is),
    None: _Kind({"type": "null"}, _as_it_is),
    Any: _Kind({}, _as_it_is),
    object: _Kind({}, _as_it_is),
    inspect.Parameter.empty: _Kind({}, _as_it_is),
    list: _Kind({"type": "array"}, _as_it_is),
    dict: _Kind({"type": "object"}, _as_it_is),
}


def signature_of(function: Callable[..., Any], what: str, given: Container[str] = ()) -> Signature:
    """From type hints, defaults and docstring.  `what` is how errors call it, `given` what it gets in another way.

    Raises ConfigError.
    """
    found, hints = hints_of(function, what)
    summary, told = _docstring(inspect.getdoc(function) or "")
    properties: dict[str, Any] = {}
    required: list[str] = []
    converts: dict[str, _Convert] = {}
    for parameter in found.parameters.values():
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            continue  # nobody could say what to put there
        if parameter.name in given:
            continue
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise ConfigError(f"{what}: `{parameter.name}` is positional-only; arguments come by their names")
        hint = hints.get(parameter.name, parameter.empty)
        try:
            schema, converts[parameter.name] = _kind(hint)
        except (TypeError, RecursionError) as error:  # the latter of a class that holds itself
            raise ConfigError(
                f"{what}: `{parameter.name}`: {error}; use str, int, float, bool, list, dict, Optional, Literal, "
                "an Enum, a TypedDict or a dataclass, or give its parameters as a JSON Schema"
            ) from None
        if parameter.name in told:
            schema = {**schema, "description": told[parameter.name]}
        if parameter.default is parameter.empty:
            required.append(parameter.name)
        elif (default := _json_of(parameter.default)) is not None:
            schema = {**schema, "default": default}
        properties[parameter.name] = schema
    parameters: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        parameters["required"] = required

    def convert(arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {key: converts[key](value) for key, value in arguments.items()}

    return Signature(summary or None, parameters, convert)


def hints_of(function: Callable[..., Any], what: str) -> tuple[inspect.Signature, dict[str, Any]]:
    """What a function takes, and the type hints of that by name.  Raises ConfigError, which begins with `what`."""
    try:
        return inspect.signature(function), typing.get_type_hints(_hinted(function), include_extras=True)
    except (TypeError, ValueError, NameError) as error:
        message = f"{what}: its signature cannot be read: {error}; give its parameters as a JSON Schema"
        raise ConfigError(message) from None


def described(function: Callable[..., Any]) -> str | None:
    """What the docstring says the function is for."""
    return _docstring(inspect.getdoc(function) or "")[0] or None


def _hinted(function: Callable[..., Any]) -> Any:
    """What holds the hints: a function, or the method that makes an object callable."""
    inner = getattr(function, "func", function)  # of a functools.partial
    return inner if inspect.isroutine(inner) else type(inner).__call__


def _json_of(default: Any) -> Any:
    """A default as JSON; None where it has none, or is null anyway."""
    if isinstance(default, enum.Enum):
        default = default.value
    return default if isinstance(default, str | int | float | bool | list | dict) else None


def _kind(hint: Any) -> _Kind:
    """Raises TypeError for a hint without a schema."""
    if isinstance(hint, typing.Hashable) and hint in _PLAIN:
        return _PLAIN[hint]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        kind = _kind(arguments[0])
        words = next((one for one in arguments[1:] if isinstance(one, str)), None)
        return kind if words is None else kind._replace(schema={**kind.schema, "description": words})
    if origin in {typing.Required, typing.NotRequired}:
        return _kind(arguments[0])
    if origin is typing.Literal:
        return _Kind({"enum": list(arguments)}, _as_it_is)
    if origin in {typing.Union, types.UnionType}:
        return _union(arguments)
    if origin in {list, Sequence, Iterable, set, frozenset, tuple}:
        return _array(origin, arguments)
    if origin in {dict, Mapping}:
        return _mapping(arguments)
    if isinstance(hint, type):
        return _class(hint)
    raise TypeError(f"{hint!r} has no JSON Schema")


def _union(hints: tuple[Any, ...]) -> _Kind:
    kinds = [_kind(hint) for hint in hints]
    names = [kind.schema.get("type") for kind in kinds]
    plain = all(len(kind.schema) == 1 and isinstance(name, str) for kind, name in zip(kinds, names, strict=True))
    schema = {"type": names} if plain else {"anyOf": [kind.schema for kind in kinds]}

    def convert(value: Any) -> Any:
        for kind in kinds:
            if not any(problems(value, kind.schema)):
                return kind.convert(value)
        return value

    return _Kind(schema, convert)


def _array(origin: Any, hints: tuple[Any, ...]) -> _Kind:
    make = origin if origin in {set, frozenset, tuple} else list
    if origin is tuple and (len(hints) != 2 or hints[1] is not Ellipsis):
        kinds = [_kind(hint) for hint in hints]
        schemas = [kind.schema for kind in kinds]
        schema = {"type": "array", "prefixItems": schemas, "minItems": len(kinds), "maxItems": len(kinds)}
        return _Kind(schema, lambda value: tuple(kind.convert(one) for kind, one in zip(kinds, value, strict=True)))
    kind = _kind(hints[0])
    return _Kind({"type": "array", "items": kind.schema}, lambda value: make(map(kind.convert, value)))


def _mapping(hints: tuple[Any, ...]) -> _Kind:
    if hints[0] is not str:
        raise TypeError("the keys of a JSON object are strings")
    kind = _kind(hints[1])
    return _Kind(
        {"type": "object", "additionalProperties": kind.schema},
        lambda value: {name: kind.convert(one) for name, one in value.items()},
    )


def _class(hint: type) -> _Kind:
    if issubclass(hint, enum.Enum):
        return _Kind({"enum": [member.value for member in hint]}, hint)
    if typing.is_typeddict(hint):
        # Not its own list of these alone: where annotations are strings, it does not know of NotRequired.
        marks = {name: typing.get_origin(one) for name, one in typing.get_type_hints(hint, include_extras=True).items()}
        listed: frozenset[str] = hint.__required_keys__  # type: ignore[attr-defined]  # of a TypedDict
        required = [
            name
            for name, mark in marks.items()
            if mark is typing.Required or (name in listed and mark is not typing.NotRequired)
        ]
        return _members(hint, required, dict)
    if dataclasses.is_dataclass(hint):
        required = [
            field.name
            for field in dataclasses.fields(hint)
            if field.init and field.default is field.default_factory is dataclasses.MISSING
        ]
        return _members(hint, required, hint)
    raise TypeError(f"{hint.__name__} has no JSON Schema")


def _members(hint: type, required: list[str], make: Callable[..., Any]) -> _Kind:
    kinds = {name: _kind(one) for name, one in typing.get_type_hints(hint, include_extras=True).items()}
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: kind.schema for name, kind in kinds.items()},
        "additionalProperties": False,
    }
    if required:
        schema["required"] = required
    return _Kind(schema, lambda value: make(**{name: kinds[name].convert(one) for name, one in value.items()}))


# -- docstrings: Google's, Sphinx's and NumPy's ways to tell of parameters

_SECTIONS = r"(?:Args|Arguments|Parameters|Params|Returns?|Raises|Yields?|Examples?|Notes?|Attributes|See Also)"
_SECTION = re.compile(rf"^{_SECTIONS}:?[ \t]*$|^:(?:param|type|returns?|rtype|raises)\b", re.MULTILINE)
_GOOGLE = re.compile(r"^(?:Args|Arguments|Parameters|Params):[ \t]*\n((?:[ \t]+.*\n?|[ \t]*\n)+)", re.MULTILINE)
_GOOGLE_ENTRY = re.compile(r"^\*{0,2}(\w+)(?:[ \t]*\([^)]*\))?:[ \t]*(.*)$")
_SPHINX = re.compile(r"^:param(?:[ \t]+[^:\n]+?)?[ \t]+(\w+):[ \t]*((?:.*)(?:\n[ \t]+.*)*)", re.MULTILINE)
_NUMPY = re.compile(r"^Parameters[ \t]*\n-{3,}[ \t]*\n((?:.*\n?)*?)(?=^\w[^\n]*\n-{3,}|\Z)", re.MULTILINE)
_NUMPY_ENTRY = re.compile(r"^(\w+(?:[ \t]*,[ \t]*\w+)*)[ \t]*(?::.*)?$")


def _docstring(text: str) -> tuple[str, dict[str, str]]:
    """What the function is for, and what is told of each parameter."""
    first = _SECTION.search(text)
    summary = " ".join(text[: first.start() if first else len(text)].split())
    told: dict[str, list[str]] = {}
    if (google := _GOOGLE.search(text)) is not None:
        _entries(google[1], _GOOGLE_ENTRY, told)
    elif (numpy := _NUMPY.search(text)) is not None:
        _entries(numpy[1], _NUMPY_ENTRY, told)
    for name, words in _SPHINX.findall(text):
        told[name] = [words]
    return summary, {name: " ".join(" ".join(words).split()) for name, words in told.items() if any(words)}


def _entries(body: str, entry: re.Pattern[str], told: dict[str, list[str]]) -> None:
    """Entries start where the first of them does; what is indented deeper belongs to the one before."""
    lines = [line for line in body.split("\n") if line.strip()]
    margin = min((len(line) - len(line.lstrip()) for line in lines), default=0)
    current: list[str] = []
    for line in lines:
        found = entry.match(line.strip()) if len(line) - len(line.lstrip()) == margin else None
        if found is None:
            current.append(line.strip())
            continue
        current = [found[2]] if entry.groups > 1 else []
        for name in found[1].split(","):
            told[name.strip()] = current
