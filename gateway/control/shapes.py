"""What the parameters of a method must look like, and what is said when they do not.

The product checks parameters with TypeBox (1.3, the JSON Schema keywords of its `schema/engine`) and joins what it
finds with `; `.  Here are the keywords its protocol uses, the order in which it looks, and its words, so that a client
that reads them (`unexpected property 'x'` makes some leave `x` out and ask again) reads the same.

A shape is written with the functions below.  Names of fields end in `?` where they may be absent:

    closed({"key": ID, "limit?": whole(1, 1000), "archived?": either(FLAG, const("all"))})

Where this is stricter than the product, it is to keep what comes behind it safe:

- a length counts code points; TypeBox counts what a reader sees as one character, which may be megabytes long;
- a whole number is at most LARGEST, also where the product has no limit;
- the values of a `record` are checked under every name; TypeBox leaves out names with line breaks in them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

__all__ = [
    "ANY",
    "COUNT",
    "FLAG",
    "ID",
    "IDS",
    "LARGEST",
    "MOST_FAULTS",
    "NULL",
    "NUMBER",
    "POSITIVE",
    "TEXT",
    "Shape",
    "array",
    "check",
    "choice",
    "closed",
    "const",
    "either",
    "literals",
    "loose",
    "member",
    "nullable",
    "number",
    "record",
    "text",
    "whole",
]

MOST_FAULTS = 8
"""How many faults one answer names (TypeBox's `maxErrors`): a value with a million wrong parts costs no more."""

LONGEST_NAME = 200
"""Characters of a field's name that an answer repeats: the name is the client's, and may be megabytes."""

LARGEST = 2**53 - 1
"""The largest whole number: what JavaScript counts to exactly.  Storage takes 64 bits, and a wait less than forever."""

_TYPES = {str: "string", bool: "boolean", int: "number"}


class _Faults:
    """What is wrong with a value, up to MOST_FAULTS."""

    __slots__ = ("found", "room")

    def __init__(self) -> None:
        self.found: list[tuple[str, int]] = []
        self.room = MOST_FAULTS

    def add(self, place: str, said: str) -> None:
        self.put(f"at {place}: {said}" if place else said, 1)

    def put(self, said: str, weight: int) -> None:
        if self.room > 0:
            self.found.append((said, weight))
            self.room -= weight


class Shape:
    """What a value may be; `check` asks it."""

    __slots__ = ()

    def find(self, value: Any, place: str, faults: _Faults) -> None:
        """Adds what is wrong with `value`, which stands at `place` (`/client/id`; the root is the empty string)."""
        raise NotImplementedError


def check(shape: Shape, value: Any) -> str | None:
    """What is wrong with a JSON value, in the product's words; None if nothing is.

    Never raises, whatever the value.  The text can be encoded as UTF-8 and has a few thousand characters at most.
    """
    faults = _Faults()
    shape.find(value, "", faults)
    if not faults.found:
        return None
    return "; ".join(dict.fromkeys(said for said, _ in faults.found))


def _shown(name: str) -> str:
    """A field's name as an answer may repeat it: not endless, and without half of a surrogate pair."""
    if len(name) > LONGEST_NAME:
        name = name[:LONGEST_NAME] + "…"
    return name.encode("utf-8", "replace").decode()


class _Any(Shape):
    __slots__ = ()

    def find(self, value: Any, place: str, faults: _Faults) -> None:
        pass


class _OfType(Shape):
    """`boolean` and `null`: a type and nothing else."""

    __slots__ = ("kind", "name")

    def __init__(self, kind: type, name: str) -> None:
        self.kind, self.name = kind, name

    def find(self, value: Any, place: str, faults: _Faults) -> None:
        if type(value) is not self.kind:
            faults.add(place, f"must be {self.name}")


class _Text(Shape):
    __slots__ = ("least", "most", "pattern")

    def __init__(self, least: int, most: int, pattern: str | None) -> None:
        self.least, self.most = least, most
        self.pattern = None if pattern is None else re.compile(pattern, re.ASCII)

    def find(self, value: Any, place: str, faults: _Faults) -> None:
        if type(value) is not str:
            faults.add(place, "must be string")
            return
        if len(value) > self.most:
            faults.add(place, f"must not have more than {self.most} characters")
        if len(value) < self.least:
            faults.add(place, f"must not have fewer than {self.least} characters")
        if self.pattern is not None and self.pattern.fullmatch(value) is None:
            faults.add(place, f'must match pattern "{self.pattern.pattern}"')


class _Number(Shape):
    __slots__ = ("least", "most", "whole")

    def __init__(self, least: float, most: float, *, whole: bool) -> None:
        self.least, self.most, self.whole = least, most, whole

    def find(self, value: Any, place: str, faults: _Faults) -> None:
        kind = type(value)
        number = kind is int or (kind is float and isfinite(value))
        if not number or (self.whole and kind is float and not value.is_integer()):
            faults.add(place, "must be integer" if self.whole else "must be number")
        if number:
            if value > self.most:
                faults.add(place, f"must be <= {self.most}")
            if value < self.least:
                faults.add(place, f"must be >= {self.least}")


class _Const(Shape):
    __slots__ = ("value",)

    def __init__(self, value: str | float) -> None:
        self.value = value

    def find(self, value: Any, place: str, faults: _Faults) -> None:
        kind = type(self.value)
        of_type = type(value) is kind or (kind is int and type(value) is float)
        if not of_type:
            faults.add(place, f"must be {_TYPES[kind]}")
        if not of_type or value != self.value:
            faults.add(place, "must be equal to constant")


class _Choice(Shape):
    __slots__ = ("typed", "values")

    def __init__(self, values: Sequence[str], *, typed: bool) -> None:
        self.values, self.typed = frozenset(values), typed

    def find(self, value: Any, place: str, faults: _Faults) -> None:
        if type(value) is not str:
            if self.typed:
                faults.add(place, "must be string")
        elif value in self.values:
            return
        faults.add(place, "must be equal to one of the allowed values")


class _Array(Shape):
    __slots__ = ("items", "least", "most", "unique")

    def __init__(self, items: Shape, least: int, most: int, *, unique: bool) -> None:
        self.items, self.least, self.most, self.unique = items, least, most, unique

    def find(self, value: Any, place: str, faults: _Faults) -> None:
        if type(value) is not list:
            faults.add(place, "must be array")
            return
        if self.items is not ANY:
            find = self.items.find
            for index, item in enumerate(value):
                find(item, f"{place}/{index}", faults)
                if faults.room <= 0:
                    return
        if len(value) > self.most:
            faults.add(place, f"must not have more than {self.most} items")
        if len(value) < self.least:
            faults.add(place, f"must not have fewer than {self.least} items")
        if self.unique:
            # Lists and objects among them are of the wrong type already, wherever the protocol asks for this.
            plain = [(type(item) is bool, item) for item in value if type(item) not in {list, dict}]
            if len(set(plain)) < len(plain):
                faults.add(place, "must not have duplicate items")


class _Object(Shape):
    __slots__ = ("closed", "fields", "never", "required")

    def __init__(self, fields: Mapping[str, Shape], never: Sequence[Mapping[str, Shape]], *, closed: bool) -> None:
        self.fields = {name.removesuffix("?"): shape for name, shape in fields.items()}
        self.required = {name: None for name in fields if not name.endswith("?")}
        self.never, self.closed = never, closed

    def find(self, value: Any, place: str, faults: _Faults) -> None:
        if type(value) is dict:
            if not self.required.keys() <= value.keys():
                missing = next(name for name in self.required if name not in value)
                faults.add(place, f"must have required property '{missing}'")
            if self.closed and not value.keys() <= self.fields.keys():
                self.unexpected([name for name in value if name not in self.fields], place, faults)
            for name, shape in self.fields.items():
                if name in value:
                    shape.find(value[name], f"{place}/{name}", faults)
        else:
            faults.add(place, "must be object")
        for together in self.never:
            if type(value) is not dict or all(
                name in value and check(shape, value[name]) is None for name, shape in together.items()
            ):
                faults.add(place, "must not be valid")

    def unexpected(self, names: list[str], place: str, faults: _Faults) -> None:
        """Says the first; the others take room all the same, as the product counts a fault for each before it joins."""
        named = next((name for name in names if name.strip()), None)
        if named is None:
            said = (
                f"at {place}: must not have additional properties" if place else "must not have additional properties"
            )
        else:
            said = f"at {place or 'root'}: unexpected property '{_shown(named)}'"
        faults.put(said, len(names) + 1)


class _Record(Shape):
    __slots__ = ("most", "values")

    def __init__(self, values: Shape, most: int) -> None:
        self.values, self.most = values, most

    def find(self, value: Any, place: str, faults: _Faults) -> None:
        if type(value) is not dict:
            faults.add(place, "must be object")
            return
        if self.values is not ANY:
            for name, item in value.items():
                self.values.find(item, f"{place}/{_shown(name)}", faults)
                if faults.room <= 0:
                    return
        if len(value) > self.most:
            faults.add(place, f"must not have more than {self.most} properties")


class _Either(Shape):
    __slots__ = ("shapes",)

    def __init__(self, shapes: Sequence[Shape]) -> None:
        self.shapes = shapes

    def find(self, value: Any, place: str, faults: _Faults) -> None:
        failed = []
        for shape in self.shapes:
            of_this = _Faults()
            shape.find(value, place, of_this)
            if not of_this.found:
                return
            failed.append(of_this)
        for of_this in failed:
            for said, weight in of_this.found:
                faults.put(said, weight)
        faults.add(place, "must match a schema in anyOf")


def text(least: int = 0, most: int = sys.maxsize, pattern: str | None = None) -> Shape:
    """A string of so many code points.  `pattern` stands between `^` and `$`, and means the same to `re` and ECMA."""
    return _Text(least, most, pattern)


def whole(least: int, most: int = LARGEST) -> Shape:
    """A whole number; `5.0` is one."""
    return _Number(least, most, whole=True)


def number(least: int | None = None) -> Shape:
    """A number that is not infinite."""
    return _Number(-sys.float_info.max if least is None else least, sys.float_info.max, whole=False)


def const(value: str | float) -> Shape:
    """Exactly this."""
    return _Const(value)


def choice(*values: str) -> Shape:
    """One of these strings (`type` and `enum`)."""
    return _Choice(values, typed=True)


def member(*values: str) -> Shape:
    """One of these strings (`enum` alone)."""
    return _Choice(values, typed=False)


def literals(*values: str) -> Shape:
    """One of these strings (an `anyOf` of constants)."""
    return _Either([_Const(value) for value in values])


def either(*shapes: Shape) -> Shape:
    """Any of these; what each finds is said, in their order, and that none fits."""
    return _Either(shapes)


def nullable(shape: Shape) -> Shape:
    """A value of that shape, or null."""
    return _Either([shape, NULL])


def array(items: Shape, *, least: int = 0, most: int = sys.maxsize, unique: bool = False) -> Shape:
    """A list of `items`; `unique` compares plain values only."""
    return _Array(items, least, most, unique=unique)


def record(values: Shape, *, most: int = sys.maxsize) -> Shape:
    """An object of any names with `values`."""
    return _Record(values, most)


def closed(fields: Mapping[str, Shape], *, never: Sequence[Mapping[str, Shape]] = ()) -> Shape:
    """An object of these fields and no others.  `never`: fields that must not all be there with those values."""
    return _Object(fields, never, closed=True)


def loose(fields: Mapping[str, Shape]) -> Shape:
    """An object of these fields, and whatever else it may hold."""
    return _Object(fields, (), closed=False)


ANY: Shape = _Any()
FLAG: Shape = _OfType(bool, "boolean")
NULL: Shape = _OfType(type(None), "null")
TEXT: Shape = text()
ID: Shape = text(1)
IDS: Shape = array(ID)
NUMBER: Shape = number()
COUNT: Shape = whole(0)
POSITIVE: Shape = whole(1)
