"""The parts an option table is made of: options, and the kinds of values they take.

A section of the configuration is a class whose attributes are made by `option` or `section`.  Its JSON keys are the
camelCase forms of the attributes.  A kind reads a node and returns the value, or raises Wrong; what it reads and what
it says about itself (`shown`) is all that validation, defaults, help and documentation know about an option.

No dataclasses here: each costs the start of the program as much as a hundred plain classes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, NoReturn, Self, dataclass_transform

from ..model.names import REDACTED
from ..records import Protocol
from .env import ExpansionError, expand
from .tree import NO_INDEX, Node, Path, Place, Problem, show_path

__all__ = [
    "MISSING",
    "REQUIRED",
    "Boolean",
    "Choice",
    "Integer",
    "Kind",
    "ListOf",
    "MapOf",
    "Option",
    "Reading",
    "Secret",
    "Section",
    "SectionClass",
    "Text",
    "Wrong",
    "option",
    "section",
]

MISSING = object()
"""What reading gives where there was a problem: the option keeps its default and reading goes on."""

REQUIRED = object()
"""The default of an option that has none."""

_INTEGER_TEXT = r"-?[0-9]{1,18}"
_NOTHING: Mapping[str, str] = MappingProxyType({})


class Wrong(Exception):
    """A value that is not acceptable; the text ends in what is."""


class Kind(Protocol):
    """What values an option takes."""

    @property
    def shown(self) -> str:
        """The values, in a few words, for the documentation."""

    def read(self, node: Node, path: Path, reading: Reading, /) -> Any:
        """The value.  Raises Wrong for a fault of the whole; faults of parts are told to `reading`."""


class Option:
    """One row of the option table.

    `default` may be REQUIRED; `shown` is the default as the documentation tells it, where that says more than the value
    itself.  `environment` is the suffix of the variables that stand in (see model.names).
    """

    def __init__(self, default: Any, help: str, kind: Kind, shown: str = "", environment: str = "") -> None:  # noqa: A002 - what argparse calls it too
        self.default = default
        self.help = help
        self.kind = kind
        self.shown = shown
        self.environment = environment
        self.key = ""

    def name(self, attribute: str) -> None:
        """Tell which attribute it is."""
        first, *rest = attribute.split("_")
        self.key = first + "".join([word.capitalize() for word in rest]) if rest else first

    @property
    def is_secret(self) -> bool:
        kind = self.kind.item if isinstance(self.kind, MapOf) else self.kind
        return isinstance(kind, Secret)


class Reading:
    """One validation: the environment, the problems found, and the keys that are the product's but not ours."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self._problems: list[tuple[Place, Path, str]] = []
        self.ignored: dict[str, Place] = {}
        self._origins: dict[int, tuple[object, Node, Path]] = {}

    def problem(self, place: Place, path: Path, message: str) -> None:
        self._problems.append((place, path, message))

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All problems, in the order of the text."""
        return tuple(Problem(*problem) for problem in sorted(self._problems, key=lambda problem: problem[0]))

    def is_clean(self, path: Path) -> bool:
        """Whether there was no problem at this path or below: what is missing there has not been written either."""
        return not any(faulty[: len(path)] == path for _, faulty, _ in self._problems)

    def ignore(self, node: Node, path: Path) -> None:
        name = show_path(tuple(NO_INDEX if isinstance(key, int) else key for key in path))
        self.ignored.setdefault(name, node.key_place)

    def read(self, kind: Kind, node: Node, path: Path) -> Any:
        """The value, or MISSING after a problem that has been noted."""
        try:
            return kind.read(node, path, self)
        except Wrong as wrong:
            self.problem(node.place, path, str(wrong))
            return MISSING

    def text(self, node: Node) -> str:
        """The text of a node, its environment references replaced.  Raises Wrong."""
        if not isinstance(node.value, str):
            raise Wrong(f"expected text, got {_kind_of(node.value)}")
        if not node.place.line:  # not from a file: a flag's value means what it says
            return node.value
        try:
            return expand(node.value, self.environ)
        except ExpansionError as error:
            raise Wrong(str(error)) from None

    def keep_origin(self, value: object, node: Node, path: Path) -> None:
        self._origins[id(value)] = (value, node, path)  # holding the value keeps its id its own

    def origin(self, value: object) -> tuple[Node, Path] | None:
        """Where a section came from; None for one that stands for nothing written."""
        found = self._origins.get(id(value))
        return (found[1], found[2]) if found else None


class Integer:
    def __init__(self, least: int, most: int) -> None:
        self.least = least
        self.most = most

    @property
    def shown(self) -> str:
        return f"integer, {self.least} to {self.most}"

    def read(self, node: Node, _path: Path, reading: Reading) -> int:
        value = node.value
        if isinstance(value, str) and ("${" in value or not node.place.line):
            text = reading.text(node)
            value = int(text) if re.fullmatch(_INTEGER_TEXT, text) else text
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise Wrong(f"expected an integer from {self.least} to {self.most}, got {_kind_of(value)}")
        if not self.least <= value <= self.most:
            raise Wrong(f"expected an integer from {self.least} to {self.most}, got {_brief(value)}")
        return value


class Boolean:
    shown = "true or false"

    def read(self, node: Node, _path: Path, reading: Reading) -> bool:
        value = node.value
        if isinstance(value, str) and "${" in value:
            value = {"true": True, "false": False}.get(reading.text(node), value)
        if not isinstance(value, bool):
            raise Wrong(f"expected true or false, got {_kind_of(value)}")
        return value


class Text:
    """`check` returns the text to use, or raises Wrong."""

    def __init__(self, shown: str = "text", check: Callable[[str], str] | None = None) -> None:
        self.shown = shown
        self.check = check

    def read(self, node: Node, _path: Path, reading: Reading) -> str:
        text = reading.text(node)
        return self.check(text) if self.check else text


class Secret:
    """Text that is never shown.  Takes the product's reference form as well: `{source: "env", id: "NAME"}`.

    `ascii_only` for those that are sent to others, who need not take anything else (RFC 9110, section 5.5).
    """

    shown = "text (secret)"

    def __init__(self, *, ascii_only: bool = False) -> None:
        self.ascii_only = ascii_only

    def read(self, node: Node, _path: Path, reading: Reading) -> str | None:
        if isinstance(node.value, dict):
            source, name = (node.value.get(key) for key in ("source", "id"))
            if source is None or source.value != "env" or name is None or not isinstance(name.value, str):
                raise Wrong('expected text, "${NAME}" or {source: "env", id: "NAME"}; no other secret source is read')
            text = reading.text(Node(f"${{{name.value}}}", node.place, node.key_place))
        else:
            text = reading.text(node)
        if text != text.strip(" \t") or any(char < " " or char == "\x7f" for char in text):
            raise Wrong("a secret must hold no control characters, nor begin or end with a blank: no header carries it")
        if REDACTED in text:
            raise Wrong(
                "this only stands for a secret that was not shown, and everybody knows it. Give the secret itself"
            )
        if self.ascii_only and not text.isascii():
            raise Wrong("a secret that is sent to a provider must be ASCII")
        return text or None


class Choice:
    """`refused` maps values that people will try to what to do instead."""

    def __init__(self, values: tuple[str, ...], refused: Mapping[str, str] = _NOTHING) -> None:
        self.values = values
        self.refused = refused

    @property
    def shown(self) -> str:
        return " or ".join(f'"{value}"' for value in self.values)

    def read(self, node: Node, _path: Path, reading: Reading) -> str:
        text = reading.text(node)
        if text in self.values:
            return text
        if text in self.refused:
            raise Wrong(f"{_brief(text)} is not supported. {self.refused[text]}")
        raise Wrong(f"expected {self.shown}, got {_brief(text)}{_did_you_mean(text, self.values)}")


class ListOf:
    def __init__(self, item: Kind) -> None:
        self.item = item

    @property
    def shown(self) -> str:
        return f"array of {self.item.shown}"

    def read(self, node: Node, path: Path, reading: Reading) -> tuple[Any, ...]:
        if not isinstance(node.value, list):
            raise Wrong(f"expected an array, got {_kind_of(node.value)}")
        values = [reading.read(self.item, item, (*path, index)) for index, item in enumerate(node.value)]
        return tuple(value for value in values if value is not MISSING)


class MapOf:
    """An object whose keys are names; `check` raises Wrong for a bad one."""

    def __init__(self, item: Kind, check: Callable[[str], object]) -> None:
        self.item = item
        self.check = check

    @property
    def shown(self) -> str:
        return f"object: name to {self.item.shown}"

    def read(self, node: Node, path: Path, reading: Reading) -> dict[str, Any]:
        values = {}
        for key, member in _members(node).items():
            try:
                self.check(key)
            except Wrong as wrong:
                reading.problem(member.key_place, (*path, key), str(wrong))
                continue
            value = reading.read(self.item, member, (*path, key))
            if value is not MISSING:
                values[key] = value
        return values


class _Sections(type):
    """Makes sections; in place of `__init_subclass__`, since a class that is there already takes long to change."""

    def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> type:
        rows = {attribute: row for attribute, row in body.items() if isinstance(row, Option)}
        for attribute, row in rows.items():
            row.name(attribute)
            if row.default is REQUIRED:
                del body[attribute]
            else:
                body[attribute] = row.default
        return super().__new__(cls, name, bases, {**body, "OPTIONS": MappingProxyType(rows)})


@dataclass_transform(frozen_default=True, kw_only_default=True)
class SectionClass(metaclass=_Sections):
    """Base of the sections, which are as immutable as frozen dataclasses, and are made by keywords like these.

    `IGNORED` are keys that the product knows and this program does not use.  `OPEN`: other keys are accepted without a
    word, because they only describe something.
    """

    IGNORED: ClassVar[frozenset[str]] = frozenset()
    OPEN: ClassVar[bool] = False
    OPTIONS: ClassVar[Mapping[str, Option]]
    """By attribute; filled in for each section.  The attribute of the class then is the default."""

    def __init__(self, **values: Any) -> None:
        unknown = values.keys() - self.OPTIONS.keys() if values else None
        missing = [name for name, row in self.OPTIONS.items() if row.default is REQUIRED and name not in values]
        if unknown or missing:
            what = f"has no {sorted(unknown)}" if unknown else f"needs {missing}"
            raise TypeError(f"{type(self).__name__} {what}")
        vars(self).update(values)

    def __setattr__(self, name: str, _: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be changed; make another with `replace`")

    def __delattr__(self, name: str) -> NoReturn:
        self.__setattr__(name, None)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.OPTIONS)

    __hash__ = None  # type: ignore[assignment]  # sections hold mappings

    def __repr__(self) -> str:
        shown = (f"{name}={getattr(self, name)!r}" for name, row in self.OPTIONS.items() if not row.is_secret)
        return f"{type(self).__name__}({', '.join(shown)})"

    def replace(self, **values: Any) -> Self:
        """The same section but for these values."""
        return type(self)(**{**vars(self), **values})


class Section:
    """An object with known keys."""

    shown = "object"

    def __init__(self, cls: type[SectionClass]) -> None:
        self.cls = cls

    def read(self, node: Node, path: Path, reading: Reading) -> Any:
        options = {found.key: (name, found) for name, found in self.cls.OPTIONS.items()}
        values = {}
        for key, member in _members(node).items():
            inner = (*path, key)
            if key in options:
                name, found = options[key]
                value = reading.read(found.kind, member, inner)
                if value is not MISSING:
                    values[name] = value
            elif key == "$schema":
                continue  # for editors
            elif key in self.cls.IGNORED:
                reading.ignore(member, inner)
            elif not self.cls.OPEN:
                hint = _did_you_mean(key, (*options, *self.cls.IGNORED)) or f". Known here: {', '.join(options)}"
                reading.problem(member.key_place, inner, f"there is no such option{hint}")
        for name, found in self.cls.OPTIONS.items():
            if found.default is REQUIRED and name not in values:
                if found.key in node.value:
                    return MISSING  # its fault has been noted
                raise Wrong(f"'{found.key}' is missing")
        built = self.cls(**values)
        reading.keep_origin(built, node, path)
        return built


def option(
    default: Any,
    help: str,  # noqa: A002 - what argparse calls it too
    kind: Kind,
    *,
    shown: str = "",
    environment: str = "",
) -> Any:
    """An attribute for one option; see Option."""
    return Option(default, help, kind, shown, environment)


def section(cls: type[SectionClass]) -> Any:
    """An attribute for a section within a section."""
    return Option(cls(), "", Section(cls))


def _members(node: Node) -> dict[str, Node]:
    if not isinstance(node.value, dict):
        raise Wrong(f"expected an object, got {_kind_of(node.value)}")
    return node.value


def _kind_of(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    names: dict[type, str] = {dict: "an object", list: "an array", str: "text"}
    return names.get(type(value), "a number")


def _brief(value: str | int) -> str:
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _did_you_mean(word: str, known: tuple[str, ...]) -> str:
    folded = {name.lower(): name for name in known}
    import difflib  # noqa: PLC0415 - only mistakes need it, and it costs the start a millisecond

    close = difflib.get_close_matches(word.lower(), folded, n=1)
    return f". Did you mean '{folded[close[0]]}'?" if close else ""
