"""A value as JSON5, written in one of the many ways that there are: whoever reads it has to find the value again."""

from __future__ import annotations

import math
import re
from random import Random
from typing import Any

__all__ = ["write"]

_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_GAPS = (
    "",
    "",
    "",
    " ",
    "\t\n",
    "\r\n",
    "\u00a0",
    "\u2028",
    "\ufeff",
    "\u3000",
    "/* , */",
    "// }\n",
    "/***/",
    "//\u2029",
)
_ESCAPES = {
    "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\0": "\\x00", "\\": "\\\\",
}  # fmt: skip
_CONTINUATIONS = ("\\\n", "\\\r\n", "\\\r", "\\\u2028", "\\\u2029")


def write(value: Any, random: Random) -> str:
    """One of the texts that mean `value`: numbers, texts, nothing, and lists and objects of these."""
    return _gap(random) + _write(value, random) + _gap(random)


def _write(value: Any, random: Random) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return _integer(value, random)
        case float():
            return _float(value, random)
        case str():
            return _text(value, random)
        case list():
            return _joined("[", [_write(one, random) for one in value], "]", random)
        case _:
            return _joined("{", [_member(key, one, random) for key, one in value.items()], "}", random)


def _gap(random: Random) -> str:
    return random.choice(_GAPS)


def _joined(start: str, items: list[str], end: str, random: Random) -> str:
    inner = ",".join(_gap(random) + item + _gap(random) for item in items)
    return start + inner + ("," + _gap(random) if items and random.random() < 0.5 else "") + end


def _member(key: str, value: Any, random: Random) -> str:
    name = _text(key, random)
    if _NAME.fullmatch(key) and random.random() < 0.7:
        at = random.randrange(len(key))
        name = key if random.random() < 0.7 else f"{key[:at]}\\u{ord(key[at]):04x}{key[at + 1 :]}"
    return name + _gap(random) + ":" + _gap(random) + _write(value, random)


def _sign(negative: bool, random: Random) -> str:
    return "-" if negative else random.choice(("", "", "+"))


def _integer(value: int, random: Random) -> str:
    digits = random.choice((str, str, hex, lambda number: f"0X{number:X}"))(abs(value))
    return _sign(value < 0, random) + digits


def _float(value: float, random: Random) -> str:
    sign = _sign(math.copysign(1, value) < 0, random)
    if math.isnan(value):
        return random.choice(("", "+", "-")) + "NaN"
    if math.isinf(value):
        return sign + random.choice(("Infinity", "1e999"))
    digits = repr(abs(value))
    if random.random() < 0.5:
        digits = re.sub(r"\.0$", ".", digits) if digits.endswith(".0") else re.sub(r"^0\.", ".", digits)
    return sign + digits.replace("e", random.choice("eE"))


def _text(text: str, random: Random) -> str:
    quote = random.choice("\"'")
    return quote + "".join(_character(char, quote, random) for char in text) + quote


def _character(char: str, quote: str, random: Random) -> str:
    before = random.choice(_CONTINUATIONS) if random.random() < 0.02 else ""
    if random.random() < 0.05:
        if char <= "\xff" and random.random() < 0.5:
            return f"{before}\\x{ord(char):02x}"
        units = char.encode("utf-16-be")
        return before + "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
    if char == quote:
        return before + "\\" + char
    # A character that has no other meaning may have a backslash before it.
    if char in "zQ/?é" and random.random() < 0.1:
        return before + "\\" + char
    return before + _ESCAPES.get(char, char)
