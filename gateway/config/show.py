"""The option table, and a configuration, as people and programs read them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ..model.names import environment
from ..records import NamedTuple
from .fields import ListOf, MapOf, Option, Section, SectionClass
from .kinds import ModelChoice, NameOr
from .schema import Config

__all__ = ["OptionRow", "effective", "markdown", "options", "secrets"]

HIDDEN = "***"


class OptionRow(NamedTuple):
    """One option: its path, the values it takes, its default as text, and the variables that stand in for it."""

    path: str
    values: str
    default: str
    help: str
    environment: tuple[str, ...] = ()


def options() -> tuple[OptionRow, ...]:
    """All options, in the order of the table.  `[]` stands for an index, `<name>` for a key of one's own."""
    return tuple(_rows(Config, ""))


def markdown() -> str:
    """The option table for the README."""
    lines = ["| option | values | default | |", "| --- | --- | --- | --- |"]
    for row in options():
        variables = f" Or {' or '.join(f'`{name}`' for name in row.environment)}." if row.environment else ""
        lines.append(f"| `{row.path}` | {row.values} | {row.default} | {row.help}{variables} |")
    return "\n".join(lines) + "\n"


def effective(config: Config, hidden: str = HIDDEN) -> dict[str, Any]:
    """The configuration as JSON, complete with defaults and without secrets; itself a configuration but for these."""
    return _section(config, hidden)


def secrets(config: Config) -> frozenset[str]:
    """All secrets of a configuration, to keep them out of what is told."""
    return frozenset(_secrets(config))


def _secrets(value: Any, *, secret: bool = False) -> Iterator[str]:
    if isinstance(value, SectionClass):
        for name, option in value.OPTIONS.items():
            yield from _secrets(getattr(value, name), secret=option.is_secret)
    elif isinstance(value, Mapping):
        for member in value.values():
            yield from _secrets(member, secret=secret)
    elif isinstance(value, tuple):
        for item in value:
            yield from _secrets(item, secret=secret)
    elif secret and isinstance(value, str):
        yield value


def _rows(cls: type[SectionClass], prefix: str) -> Iterator[OptionRow]:
    for option in cls.OPTIONS.values():
        path = f"{prefix}{option.key}"
        if isinstance(option.kind, Section):
            yield from _rows(option.kind.cls, f"{path}.")
            continue
        default = option.shown or _default(option.default)
        variables = environment(option.environment) if option.environment else ()
        yield OptionRow(path, option.kind.shown, default, option.help, variables)
        inner = option.kind.item if isinstance(option.kind, ListOf | MapOf) else None
        if isinstance(inner, NameOr):
            inner = inner.section
        if isinstance(inner, Section):
            yield from _rows(inner.cls, f"{path}[]." if isinstance(option.kind, ListOf) else f"{path}.<name>.")


def _default(value: object) -> str:
    return "none" if value is None or value == () else json.dumps(value)


def _section(section: SectionClass, hidden: str) -> dict[str, Any]:
    members = {}
    for name, option in section.OPTIONS.items():
        value = getattr(section, name)
        if value is not None and (value not in ((), {}) or option.default):  # an empty list may be a choice
            members[option.key] = _shown(value, option, hidden)
    return members


def _shown(value: Any, option: Option, hidden: str) -> Any:
    if option.is_secret:
        return dict.fromkeys(value, hidden) if isinstance(value, Mapping) else hidden
    if isinstance(value, SectionClass):
        return _section(value, hidden)
    if isinstance(value, ModelChoice) and value.fallbacks:
        return {"primary": str(value), "fallbacks": [*value.fallbacks]}
    if isinstance(value, tuple):
        return [_shown(item, option, hidden) for item in value]
    if isinstance(value, Mapping):
        return {key: _shown(item, option, hidden) for key, item in value.items()}
    return value
