"""JSON5: whatever json reads, we read as the same value; and every place that we tell is where the thing stands."""

from __future__ import annotations

import json
import math
import re
import struct
from contextlib import suppress
from random import Random
from typing import Any

from fuzz.invariants import random_of
from fuzz.json5_writer import write
from gateway.config.json5 import MAX_DEPTH, MAX_INTEGER_DIGITS, Document, Json5Error, Key, Mark, loads, parse

__all__ = ["one_input"]

SMALL_DEPTH = 4


def one_input(data: bytes) -> None:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        fault = _fault(data)
        assert fault is not None, "bytes that are not UTF-8"
        assert fault.pos == len(data[: error.start].decode())
        return
    fault = _fault(text)
    assert str(fault) == str(_fault(data)), "bytes and text differ"
    value, problem = _json(text)
    if fault is not None:
        _place(text, fault)
        assert problem, f"json reads this as {value!r}, and we say {fault}"
        return
    document = parse(text)
    if not problem:
        assert same(document.value, value), f"{document.value!r} is not {value!r}"
    assert same(loads(data), document.value)
    _marks(document, text)
    _round_trip(document.value, random_of(data))
    _depth(text, document.value)


def _fault(source: str | bytes) -> Json5Error | None:
    try:
        loads(source)
    except Json5Error as error:
        return error
    return None


def _json(text: str) -> tuple[Any, str]:
    """The value and nothing, or nothing and why that is no JSON, or JSON that we need not read."""
    try:
        value = json.loads(text.removeprefix("\ufeff"), parse_int=_integer)
        every = json.loads(text.removeprefix("\ufeff"), object_pairs_hook=list)  # of equal keys, the earlier ones too
        json.dumps(every, ensure_ascii=False).encode()
    except RecursionError:
        return None, "too deep"
    except UnicodeEncodeError:
        return None, "half of a surrogate pair, which cannot be encoded"
    except ValueError as error:
        return None, str(error)
    return (None, "too deep") if text.count("[") + text.count("{") > MAX_DEPTH else (value, "")


def _integer(text: str) -> int | float:
    return int(text) if len(text.lstrip("-")) <= MAX_INTEGER_DIGITS else float(text)


def _deep(value: Any) -> int:
    levels, found = [value], 0
    while levels := [inner for one in levels for inner in _inside(one)]:
        found += 1
    return found + (1 if isinstance(value, dict | list) else 0)


def _inside(value: Any) -> list[Any]:
    inner = [*value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return [one for one in inner if isinstance(one, dict | list)]


def same(one: Any, other: Any) -> bool:
    """Equal, of the same types, in the same order, down to the sign of a zero; NaN equals NaN."""
    if type(one) is not type(other):
        return False
    match one:
        case float():
            return struct.pack("d", one) == struct.pack("d", other) or (math.isnan(one) and math.isnan(other))
        case list():
            return len(one) == len(other) and all(map(same, one, other))
        case dict():
            return [*one] == [*other] and all(same(one[key], other[key]) for key in one)
        case _:
            return bool(one == other)


def _place(text: str, fault: Json5Error) -> None:
    """Line and column, counted anew."""
    assert 0 <= fault.pos <= len(text)
    before = re.split("\r\n|[\n\r\u2028\u2029]", text[: fault.pos])
    if text[fault.pos - 1 : fault.pos + 1] == "\r\n":
        before = before[:-1] or [""]
        assert fault.line == len(before)
    else:
        assert (fault.line, fault.column) == (len(before), len(before[-1]) + 1)
    assert f"line {fault.line}, column {fault.column}" in str(fault)
    assert len(str(fault)) < 200, "an error must not repeat all of its text"


def _marks(document: Document, text: str) -> None:
    """From where a value is said to stand to where it ends, it can be read; where a key is said to stand, it begins."""
    left: list[tuple[Mark, Any, Key | None]] = [(document.root, document.value, None)]
    read = 0
    while left and read < 100:
        mark, value, key = left.pop()
        read += 1
        if isinstance(key, str):
            assert mark.key < mark.value
            assert text[mark.key] in "'\"\\$_" or text[mark.key].isalpha(), text[mark.key :][:9]
        else:
            assert mark.key == mark.value
        char = text[mark.value]
        assert same(loads(text[mark.value : mark.end]), value), "it ends elsewhere"
        if isinstance(value, dict | list):
            assert char == ("{" if isinstance(value, dict) else "[")
            assert mark.inner is not None
            assert [*mark.inner] == ([*value] if isinstance(value, dict) else [*range(len(value))])
            members = value.items() if isinstance(value, dict) else enumerate(value)
            left += [(mark.inner[one], member, one) for one, member in members]
        else:
            assert mark.inner is None
            assert (char in "'\"") == isinstance(value, str)


def _round_trip(value: Any, random: Random) -> None:
    """What json writes of the value is the value: JSON is JSON5.  So is what a writer of all of JSON5 makes of it.

    But for hexadecimal integers that have too many digits when they are written in decimal ones.
    """
    if _longest(value) > MAX_INTEGER_DIGITS:
        return
    with suppress(RecursionError):
        for ascii_only in (True, False):
            for indent in (None, 1):
                written = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
                assert same(loads(written), value), written
    for _ in range(2):
        written = write(value, random)
        assert same(loads(written), value), f"{written!r} is read as {loads(written)!r}"


def _longest(value: Any) -> int:
    """Digits of the longest integer."""
    match value:
        case list():
            return max(map(_longest, value), default=0)
        case dict():
            return max(map(_longest, value.values()), default=0)
        case _:
            return len(str(abs(value))) if isinstance(value, int) else 0


def _depth(text: str, value: Any) -> None:
    try:
        parse(text, SMALL_DEPTH)
    except Json5Error as error:
        assert "inside one another" in error.msg
        return
    assert _deep(value) <= SMALL_DEPTH
