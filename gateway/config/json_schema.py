"""The option table as a JSON Schema, with what forms need to show it.

Source: https://json-schema.org/draft-07, which editors and the product's forms read; these know no `patternProperties`.
It describes what has an effect here, as it is after `$include` and `${VAR}` have been replaced.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from .fields import REQUIRED, Boolean, Choice, Integer, Kind, ListOf, MapOf, Option, Secret, Section
from .kinds import ById, ModelName, NameOr, Price, RateOr
from .schema import Config
from .schema_tools import JsonSchema, ToolNames

__all__ = ["json_schema", "ui_hints"]

_TEXT = {"type": "string"}


def json_schema() -> dict[str, Any]:
    """The schema of a configuration file."""
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Configuration", **_section(Section(Config))}


def ui_hints() -> dict[str, dict[str, Any]]:
    """By path, `[]` for an index and `*` for a key of one's own: label, help, order, and what is secret."""
    hints: dict[str, dict[str, Any]] = {}
    _hint(Section(Config), "", hints)
    return hints


def _schema(kind: Kind) -> dict[str, Any]:
    if isinstance(kind, Secret):
        reference = {"source": {"const": "env"}, "id": _TEXT}
        return {"anyOf": [_TEXT, {"type": "object", "properties": reference, "required": ["source", "id"]}]}
    if isinstance(kind, NameOr | RateOr):
        return {"anyOf": [_TEXT, _section(kind.section if isinstance(kind, NameOr) else kind)]}
    if isinstance(kind, Section):
        return _section(kind)
    if isinstance(kind, ById):
        member = _section(kind.section)
        return {"type": "object", "additionalProperties": {**member, "required": []}}
    if isinstance(kind, MapOf):
        return {"type": "object", "additionalProperties": _schema(kind.item)}
    if isinstance(kind, ListOf):
        return {"type": "array", "items": _schema(kind.item)}
    if isinstance(kind, Integer):
        return {"type": "integer", "minimum": kind.least, "maximum": kind.most}
    if isinstance(kind, Price):
        return {"type": "number", "minimum": 0, "maximum": kind.most}
    if isinstance(kind, Boolean):
        return {"type": "boolean"}
    if isinstance(kind, Choice):
        return {"type": "string", "enum": [*kind.values]}
    if isinstance(kind, ModelName):
        members = {"primary": _TEXT, "fallbacks": {"type": "array", "items": _TEXT}}
        closed = {"type": "object", "properties": members, "required": ["primary"], "additionalProperties": False}
        return {"anyOf": [_TEXT, closed]}
    if isinstance(kind, ToolNames):
        return {"anyOf": [{"type": "array", "items": _TEXT}, {"type": "object"}]}
    return {"type": "object"} if isinstance(kind, JsonSchema) else _TEXT


def _section(kind: Section) -> dict[str, Any]:
    cls = kind.cls
    properties = {option.key: _option(option) for option in cls.OPTIONS.values()}
    required = [option.key for option in cls.OPTIONS.values() if option.default is REQUIRED]
    return {
        "type": "object",
        "properties": properties,
        "additionalProperties": cls.OPEN,
        **({"required": required} if required else {}),
    }


def _option(option: Option) -> dict[str, Any]:
    schema = {**_schema(option.kind)}
    if option.help:
        schema["description"] = option.help
    plain = not isinstance(option.kind, Section | Secret)
    if plain and option.default is not REQUIRED and option.default is not None and not option.shown:
        default = dict(option.default) if isinstance(option.default, Mapping) else option.default
        schema["default"] = json.loads(json.dumps(default))
    return schema


def _hint(kind: Kind, path: str, hints: dict[str, dict[str, Any]]) -> None:
    if isinstance(kind, ListOf):
        _hint(kind.item, f"{path}[]", hints)
    elif isinstance(kind, MapOf):
        if isinstance(kind.item, Secret):
            hints[f"{path}.*"] = {"sensitive": True}
        _hint(kind.item, f"{path}.*", hints)
    elif isinstance(kind, ById):
        _hint(kind.section, f"{path}.*", hints)
    elif isinstance(kind, NameOr):
        _hint(kind.section, path, hints)
    elif isinstance(kind, Section):
        for order, option in enumerate(kind.cls.OPTIONS.values()):
            inner = f"{path}.{option.key}" if path else option.key
            hints[inner] = {"label": _label(option.key), "order": order}
            if option.help:
                hints[inner]["help"] = option.help
            if isinstance(option.kind, Secret):
                hints[inner]["sensitive"] = True
            _hint(option.kind, inner, hints)


def _label(key: str) -> str:
    """`maxBodyBytes` as "Max body bytes"."""
    words = re.sub(r"(?<=[a-z0-9])([A-Z])", lambda match: f" {match[1].lower()}", key)
    return words[:1].upper() + words[1:]
