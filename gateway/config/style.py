"""How a JSON5 document is written, and values written in the same way.

Style     indentation, line ends, quotes, commas
style_of  the style of a document
Lines     where its lines begin, and how
same      whether two values are the same document
"""

from __future__ import annotations

import bisect
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from ..records import NamedTuple
from .json5 import Document, Mark, skip

__all__ = ["Lines", "Style", "same", "style_of"]

WIDTH = 100
"""Up to so many characters an array of scalars is written on one line."""

_BARE_KEY = r"[A-Za-z_$][A-Za-z0-9_$]*"
_BLANKS = r"[ \t]*+"
_NOTHING = r"[ \t]*+(?:/\*(?:[^*]|\*(?!/))*+\*/[ \t]*+)*+"
_QUOTES = "\"'"


class Style(NamedTuple):
    """`key_quote` is empty where keys stand without quotes; `padding` stands inside of braces on one line."""

    indent: str = "  "
    newline: str = "\n"
    quote: str = '"'
    key_quote: str = '"'
    trailing_comma: bool = False
    padding: str = " "

    def key(self, name: str) -> str:
        if not self.key_quote and re.fullmatch(_BARE_KEY, name):
            return name
        return _quoted(name, self.key_quote or self.quote)

    def value(self, value: Any, indent: str, *, inline: bool = False) -> str:
        """The text of a value that begins on a line indented by `indent`; all on that line where `inline`."""
        if isinstance(value, dict | list):
            return self._container(value, indent, inline=inline)
        if isinstance(value, str):
            return _quoted(value, self.quote)
        if isinstance(value, float) and not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        return json.dumps(value)

    def member(self, name: str | None, value: Any, indent: str, *, inline: bool = False) -> str:
        """A member of an object, or an element where there is no name."""
        text = self.value(value, indent, inline=inline)
        return text if name is None else f"{self.key(name)}: {text}"

    def _container(self, value: dict[str, Any] | list[Any], indent: str, *, inline: bool) -> str:
        members = [*value.items()] if isinstance(value, dict) else [(None, item) for item in value]
        opened, closed = "{}" if isinstance(value, dict) else "[]"
        if not members:
            return opened + closed
        scalars = not any(isinstance(item, dict | list) for _, item in members)
        if inline or (isinstance(value, list) and scalars):
            padding = self.padding if isinstance(value, dict) else ""
            texts = [self.member(name, item, indent, inline=True) for name, item in members]
            line = f"{opened}{padding}{', '.join(texts)}{padding}{closed}"
            if inline or len(line) <= WIDTH:
                return line
        inner = indent + self.indent
        texts = [inner + self.member(name, item, inner) for name, item in members]
        comma = "," if self.trailing_comma else ""
        return self.newline.join([opened, f",{self.newline}".join(texts) + comma, indent + closed])


def style_of(src: str, document: Document) -> Style:
    """What most of the document does; where it says nothing, JSON as most programs write it."""
    keys: Counter[str] = Counter()
    texts: Counter[str] = Counter()
    commas: Counter[bool] = Counter()
    indents: Counter[str] = Counter()
    paddings: Counter[str] = Counter()
    lines = Lines(src, document.line_starts)
    for mark in _containers(document.root):
        inner = [*(mark.inner or {}).values()]
        if src[mark.value] == "{":
            keys.update(src[member.key] if src[member.key] in _QUOTES else "" for member in inner)
        texts.update(src[member.value] for member in inner if src[member.value] in _QUOTES)
        if not inner:
            continue
        first, last = min(inner, key=_start), max(inner, key=_start)
        if lines.begins(first.key):
            commas[src[skip(src, last.end)] == ","] += 1
            indents[lines.indent(first.key).removeprefix(lines.indent(mark.value))] += 1
        elif src[mark.value] == "{":
            paddings[" " if src[mark.value + 1] in " \t" else ""] += 1
    newline = re.search(r"\r\n|\n|\r", src)
    usual = Style()
    return Style(
        indent=_most(indents, usual.indent) or usual.indent,
        newline=newline.group() if newline else usual.newline,
        quote=_most(texts, _most(keys, "") or usual.quote),
        key_quote=_most(keys, usual.key_quote),
        trailing_comma=_most(commas, usual.trailing_comma),
        padding=_most(paddings, usual.padding),
    )


def same(left: Any, right: Any) -> bool:
    """Whether two values are the same document: numbers by their value, members in any order."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left):
        return math.isnan(right)
    return bool(left == right)


class Lines:
    """The lines of a text; `starts` are where they begin."""

    def __init__(self, src: str, starts: tuple[int, ...]) -> None:
        self._src = src
        self._starts = starts

    def start(self, pos: int) -> int:
        """Where the line of `pos` begins."""
        return self._starts[bisect.bisect_right(self._starts, pos) - 1]

    def indent(self, pos: int) -> str:
        """The blanks that begin the line of `pos`."""
        start = self.start(pos)
        return self._src[start : _end(_BLANKS, self._src, start, pos)]

    def begins(self, pos: int) -> bool:
        """Whether there is nothing but blanks and comments before `pos` on its line."""
        return _end(_NOTHING, self._src, self.start(pos), pos) == pos


def _end(pattern: str, src: str, pos: int, end: int) -> int:
    match = re.compile(pattern).match(src, pos, end)
    assert match, "nothing at all matches too"
    return match.end()


def _containers(root: Mark) -> Iterator[Mark]:
    left = [root]
    while left:
        mark = left.pop()
        if mark.inner is not None:
            yield mark
            left += mark.inner.values()


def _start(mark: Mark) -> int:
    return mark.key


def _most(counts: Counter[Any], default: Any) -> Any:
    return max(counts, key=lambda one: counts[one]) if counts else default


def _quoted(text: str, quote: str) -> str:
    written = json.dumps(text, ensure_ascii=False)
    if quote == '"' or ("'" in text and '"' not in text):
        return written
    swapped = {'\\"': '"', "'": "\\'"}
    body = re.sub(r"\\.|'", lambda match: swapped.get(match[0], match[0]), written[1:-1])
    return f"'{body}'"
