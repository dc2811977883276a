r"""A reader of JSON5 (https://spec.json5.org), strict, without recursion, that knows where everything stood.

loads      the value alone
parse      a Document: the value, and the place of each key and value
Json5Error the one error of this module

Each small reader is `(src, pos) -> (pos, value)`.  Character classes are spelled out, or cut to size, because
Python's `\s`, `str.isspace`, `str.isdigit`, `str.isidentifier` and `int` all take more than JSON5 does.

What the specification leaves open: the last of two equal keys wins; an integer is an `int`, but one of more than
`MAX_INTEGER_DIGITS` digits is the float that JavaScript would read; a lone surrogate is an error, because text that
holds one cannot be encoded.
"""

from __future__ import annotations

import math
import re
from typing import Any, NoReturn, TypeAlias

from ..records import NamedTuple

__all__ = ["MAX_DEPTH", "MAX_INTEGER_DIGITS", "Document", "Json5Error", "Key", "Mark", "Path", "loads", "parse", "skip"]

MAX_DEPTH = 500
"""Arrays and objects inside one another.  Far above any configuration; low enough that plain recursion over the value,
one frame for each level, stays below Python's own limit of 1000."""

MAX_INTEGER_DIGITS = 500
"""Digits, decimal or hexadecimal.  `int` and `str` can be set to refuse more than 640 decimal digits
(`sys.set_int_max_str_digits`); 500 hexadecimal digits are 603 decimal ones."""

Key: TypeAlias = str | int
Path: TypeAlias = tuple[Key, ...]

# 8 White space, 7 Comments.  Category Zs and BOM stand beside the ASCII ones; line terminators are white space too.
# It is `\s` without what only Python has in it: to spell out the class, or that of line ends, costs the start 1 ms.
_SPACE = r"[^\S\x1c-\x1f\x85]++|\ufeff"
_LINE = r"(?:[^\n-\r\u2028-\u2029]++|[\v\f])*+"
_SKIP = re.compile(rf"(?:{_SPACE}|//{_LINE}|/\*(?:[^*]|\*(?!/))*+\*/)*+")
_NEW_LINE = re.compile(r"\r\n?|[\n\u2028-\u2029]")
# 6 Numbers.  `re` compiles these at their first use: many texts have none of them.
_HEXADECIMAL = r"([+-]?)0[xX]([0-9a-fA-F]++)"
_DECIMAL = r"[+-]?(?:(?:0|[1-9][0-9]*+)(\.[0-9]*+)?|(\.[0-9]++))([eE][+-]?[0-9]++)?"
_NOT_FINITE = r"([+-])(Infinity|NaN)"
# 5 Strings.  Up to the next character that means something; control characters other than line ends may stand raw.
_PLAIN = {'"': re.compile(r'[^"\\\n\r]*+'), "'": re.compile(r"[^'\\\n\r]*+")}
# Compiled at their first use, too.
_HEX2 = r"[0-9a-fA-F]{2}"
_HEX4 = r"[0-9a-fA-F]{4}"
_LOW_SURROGATE = r"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
# 3.1 Keys: the part of ECMAScript 5.1's IdentifierName that needs no look at Unicode categories.
_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*+")

_LETTERS = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo", "Nl"})
_MARKS = frozenset({"Mn", "Mc", "Nd", "Pc"})
_JOINERS = "\u200c\u200d"
_DIGITS = "0123456789"
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\n": "", "\u2028": "", "\u2029": ""}
_LITERALS = {"null": None, "true": True, "false": False, "Infinity": math.inf, "NaN": math.nan}


class Json5Error(ValueError):
    """The text is not JSON5.

    `line` and `column` count from 1, in characters; `pos` counts from 0.  `path` holds the keys and indexes of what
    was being read.
    """

    def __init__(self, msg: str, src: str, pos: int, path: Path = ()) -> None:
        self.msg = msg
        self.pos = pos
        self.path = path
        self.line, self.column = _place(_line_starts(src), pos)
        super().__init__(f"{msg} (line {self.line}, column {self.column})")


class Mark(NamedTuple):
    """Where a member or an element stands.  `key` equals `value` for elements; `inner` holds a container's marks.

    `end` is behind the value's last character.  `hidden` is a member of the same key that this one stands for.
    """

    key: int
    value: int
    inner: dict[Key, Mark] | None
    end: int
    hidden: Mark | None


class Document(NamedTuple):
    """A value and the places of everything in it.  `root` is the mark of the value as a whole."""

    value: Any
    root: Mark
    line_starts: tuple[int, ...]

    def place(self, pos: int) -> tuple[int, int]:
        """The line and the column, both from 1, of a position."""
        return _place(self.line_starts, pos)


def loads(source: str | bytes) -> Any:
    """Read one JSON5 value.  `bytes` are UTF-8; a byte order mark is white space.  Raises Json5Error, nothing else."""
    return parse(source).value


def parse(source: str | bytes, max_depth: int = MAX_DEPTH) -> Document:
    """Read one JSON5 value and keep its places.  Raises Json5Error, nothing else."""
    src = _decode(source) if isinstance(source, bytes) else source
    try:
        src.encode()
    except UnicodeEncodeError as error:
        raise Json5Error("half of a surrogate pair in the text", src, error.start) from None
    levels = [_Level([])]
    try:
        _read(src, levels, max_depth)
    except _Fault as fault:
        raise Json5Error(fault.msg, src, fault.pos, tuple(level.key for level in levels[1:])) from None
    root = levels[0]
    return Document(root.value[0], root.marks[0], _line_starts(src))


class _Fault(Exception):
    """A fault before its path and line are known."""

    def __init__(self, msg: str, pos: int) -> None:
        self.msg = msg
        self.pos = pos


class _Level:
    """An array or object that is still open.  `key` is where its next, or current, value goes."""

    __slots__ = ("key", "key_pos", "marks", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self.marks: dict[Key, Mark] = {}
        self.key: Key = 0
        self.key_pos: int | None = None

    def put(self, value: Any, pos: int, end: int, inner: dict[Key, Mark] | None) -> None:
        start = pos if self.key_pos is None else self.key_pos
        self.marks[self.key] = Mark(start, pos, inner, end, self.marks.get(self.key))
        if isinstance(self.key, str):
            self.value[self.key] = value
        else:
            self.value.append(value)


def _read(src: str, levels: list[_Level], max_depth: int) -> None:
    """Read the document into `levels[0]`, an array made for it, so that it is stored as any other value is."""
    pos = skip(src, 0)
    while True:
        level = levels[-1]
        char = src[pos : pos + 1]
        opened = char in {"{", "["}
        if opened:
            if len(levels) > max_depth:
                _fail(f"more than {max_depth} arrays and objects inside one another", pos)
            inner = _Level({} if char == "{" else [])
            level.put(inner.value, pos, pos, inner.marks)
            levels.append(inner)
            pos = skip(src, pos + 1)
        else:
            after, value = _scalar(src, pos)
            level.put(value, pos, after, None)
            pos = skip(src, after)
        pos = _next(src, pos, levels, opened)
        if len(levels) == 1:
            if pos < len(src):
                _fail(f"{_shown(src, pos)} after the end of the value", pos)
            return


def _next(src: str, pos: int, levels: list[_Level], opened: bool) -> int:
    """From behind a value, or behind an opening bracket, to the next value: past commas, closing brackets and a key.

    Levels that end are dropped; only the first is left at the end of the document.
    """
    while len(levels) > 1:
        level = levels[-1]
        is_object = isinstance(level.value, dict)
        close = "}" if is_object else "]"
        char = src[pos : pos + 1]
        if char == "," and not opened:
            pos = skip(src, pos + 1)
            char = src[pos : pos + 1]
            opened = True
        if char == close:
            levels.pop()
            outer = levels[-1]
            outer.marks[outer.key] = outer.marks[outer.key]._replace(end=pos + 1)
            pos = skip(src, pos + 1)
            opened = False
            continue
        if not opened:
            _fail(f"expected ',' or '{close}' but found {_shown(src, pos)}", pos)
        if not is_object:
            level.key = len(level.value)
            return pos
        level.key_pos = pos
        pos, level.key = _key(src, pos)
        pos = skip(src, pos)
        if src[pos : pos + 1] != ":":
            _fail(f"expected ':' after the key but found {_shown(src, pos)}", pos)
        return skip(src, pos + 1)
    return pos


def skip(src: str, pos: int) -> int:
    """Past white space and comments."""
    match = _SKIP.match(src, pos)
    assert match, "nothing at all matches too"
    pos = match.end()
    if src.startswith("/*", pos):
        _fail("the comment is not closed", pos)
    return pos


def _key(src: str, pos: int) -> tuple[int, str]:
    if src[pos : pos + 1] in _PLAIN:
        return _string(src, pos)
    return _name(src, pos)


def _scalar(src: str, pos: int) -> tuple[int, Any]:
    char = src[pos : pos + 1]
    if char in _PLAIN:
        return _string(src, pos)
    if char and char in "+-.0123456789":
        return _number(src, pos)
    match = _NAME.match(src, pos)
    if match is None:
        _fail(f"expected a value but found {_shown(src, pos)}", pos)
    word = match.group()
    if word not in _LITERALS or _is_name_part(src[match.end() : match.end() + 1]):
        _fail(f"'{word[:40]}' is not a value; text needs quotes", pos)
    return match.end(), _LITERALS[word]


def _number(src: str, pos: int) -> tuple[int, int | float]:
    value: int | float
    if "x" in src[pos : pos + 3].lower() and (match := re.compile(_HEXADECIMAL).match(src, pos)):
        sign, digits = match.groups()
        value = int(digits, 16) if len(digits.lstrip("0")) <= MAX_INTEGER_DIGITS else math.inf
        value = -value if sign == "-" else value
    elif match := re.compile(_DECIMAL).match(src, pos):
        text = match.group()
        integer = match.lastindex is None and len(text.lstrip("+-")) <= MAX_INTEGER_DIGITS
        value = int(text) if integer else float(text)
    elif match := re.compile(_NOT_FINITE).match(src, pos):
        sign, word = match.groups()
        value = math.nan if word == "NaN" else math.inf
        value = -value if sign == "-" else value
    else:
        _fail(f"expected a value but found {_shown(src, pos)}", pos)
    end = match.end()
    after = src[end : end + 1]
    if _is_name_part(after) or after == ".":
        if after in _DIGITS and match.group().lstrip("+-") == "0":
            _fail("a number must not begin with 0", pos)
        _fail(f"{_shown(src, end)} does not belong in a number", end)
    return end, value


def _string(src: str, pos: int) -> tuple[int, str]:
    start = pos
    quote = src[pos]
    plain = _PLAIN[quote]
    pos += 1
    parts = []
    while True:
        match = plain.match(src, pos)
        assert match, "nothing at all matches too"
        parts.append(match.group())
        pos = match.end()
        char = src[pos : pos + 1]
        if char == quote:
            return pos + 1, parts[0] if len(parts) == 1 else "".join(parts)
        if not char:
            _fail("the string is not closed", start)
        if char != "\\":
            _fail("the line ends within the string; write \\n, or end the line with a backslash", pos)
        pos, part = _escape(src, pos)
        parts.append(part)


def _escape(src: str, pos: int) -> tuple[int, str]:
    """An escape sequence (5.1), or a line that is continued, from its backslash on."""
    char = src[pos + 1 : pos + 2]
    if char == "u":
        return _unicode_escape(src, pos)
    if char == "x":
        digits = src[pos + 2 : pos + 4]
        if not re.fullmatch(_HEX2, digits):
            _fail("\\x needs two hexadecimal digits", pos)
        return pos + 4, chr(int(digits, 16))
    if char == "\r":
        return pos + (3 if src.startswith("\n", pos + 2) else 2), ""
    if char == "0" and src[pos + 2 : pos + 3] not in tuple(_DIGITS):
        return pos + 2, "\0"
    if not char or char in _DIGITS:
        _fail(f"a backslash before {_shown(src, pos + 1)} means nothing", pos)
    return pos + 2, _ESCAPES.get(char, char)


def _unicode_escape(src: str, pos: int) -> tuple[int, str]:
    r"""`\uXXXX`; two of them that form a surrogate pair are one character."""
    code = _code_unit(src, pos)
    if not 0xD800 <= code <= 0xDFFF:
        return pos + 6, chr(code)
    low = src[pos + 6 : pos + 12]
    if code >= 0xDC00 or not re.fullmatch(_LOW_SURROGATE, low):
        _fail(f"\\u{code:04x} is half of a surrogate pair without the other half", pos)
    return pos + 12, chr(0x10000 + ((code - 0xD800) << 10) + (_code_unit(src, pos + 6) - 0xDC00))


def _code_unit(src: str, pos: int) -> int:
    digits = src[pos + 2 : pos + 6]
    if not re.fullmatch(_HEX4, digits):
        _fail("\\u needs four hexadecimal digits", pos)
    return int(digits, 16)


def _name(src: str, pos: int) -> tuple[int, str]:
    """ECMAScript 5.1, 7.6 IdentifierName."""
    match = _NAME.match(src, pos)
    name = match.group() if match else ""
    pos = match.end() if match else pos
    parts = [name] if name else []
    while True:
        char = src[pos : pos + 1]
        after = pos + 1
        if char == "\\":
            if src[pos + 1 : pos + 2] != "u":
                _fail("only \\u escapes may stand in a key without quotes", pos)
            char = chr(_code_unit(src, pos))
            after = pos + 6
        if _is_name_part(char) if parts else _is_name_start(char):
            parts.append(char)
            pos = after
            continue
        if after > pos + 1:
            _fail("this escape gives a character that must not stand here in a key without quotes", pos)
        if not parts:
            _fail(f"expected a key but found {_shown(src, pos)}", pos)
        return pos, "".join(parts)


def _is_name_start(char: str) -> bool:
    if char.isascii():
        return char.isalpha() or char in {"$", "_"}
    return _category(char) in _LETTERS


def _is_name_part(char: str) -> bool:
    if char.isascii():
        return char.isalnum() or char in {"$", "_"}
    return char in _JOINERS or _category(char) in _LETTERS | _MARKS


def _category(char: str) -> str:
    from unicodedata import category  # noqa: PLC0415 - for keys in other scripts; it costs the start 100 kB

    return category(char)


def _decode(source: bytes) -> str:
    try:
        return source.decode("utf-8")
    except UnicodeDecodeError as error:
        before = source[: error.start].decode("utf-8")
        raise Json5Error(f"byte 0x{source[error.start]:02x} is not UTF-8", before, len(before)) from None


def _line_starts(src: str) -> tuple[int, ...]:
    return (0, *(match.end() for match in _NEW_LINE.finditer(src)))


def _place(line_starts: tuple[int, ...], pos: int) -> tuple[int, int]:
    # As `bisect_right`, whose module would cost the start 0.2 ms.
    line, after = 0, len(line_starts)
    while line < after:
        middle = (line + after) // 2
        if line_starts[middle] <= pos:
            line = middle + 1
        else:
            after = middle
    return line, pos - line_starts[line - 1] + 1


def _shown(src: str, pos: int) -> str:
    """The character at `pos`, for a message."""
    char = src[pos : pos + 1]
    if not char:
        return "the end of the text"
    return f"'{char}'" if "!" <= char <= "~" else f"the character U+{ord(char):04X}"


def _fail(msg: str, pos: int) -> NoReturn:
    raise _Fault(msg, pos)
