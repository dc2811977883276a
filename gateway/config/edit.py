"""Changes to a JSON5 text that leave everything else as it was written, byte for byte: comments, order, quotes, blanks.

edit   the text with another value in it
align  which elements of an array are those of another one; name_of, what they are known by

What is new is written as the rest of the text is.  A comment goes only with a value that it stands inside of.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeAlias

from ..records import NamedTuple
from .json5 import Mark, parse, skip
from .style import Lines, Style, same, style_of

__all__ = ["MAX_DEPTH", "align", "edit", "name_of"]

MAX_DEPTH = 100
"""Arrays and objects inside one another, in a text to edit: both are walked by recursion, several frames a level."""

MAX_ALIGNED = 250_000
"""Elements of an old array times those of a new one.  Beyond, elements that moved are not looked for: the time grows
with this product."""

_REST_OF_LINE = r"[ \t]*+(?:/\*(?:[^*\n\r]|\*(?!/))*+\*/[ \t]*+)*+(?://[^\n\r\u2028\u2029]*+)?(?=[\n\r])"
_LINE_END = r"\r\n|\n|\r"
_BLANK_RUN = r"[ \t]*+"
_BLANKS = " \t"
# Not all that Python strips: a control character belongs to its comment.
_SPACES = "\t\n\v\f\r \u00a0\u2028\u2029\ufeff"


class _New(NamedTuple):
    """A member that was not there, or an element, which has no name."""

    name: str | None
    value: Any


_Plan: TypeAlias = "list[int | _New]"
"""What a container is to hold, in order: which of its old members, and new ones."""


def edit(src: str, wanted: Any) -> str:
    """The text, with as little changed as makes it mean `wanted`, JSON at most MAX_DEPTH deep.

    Raises Json5Error where the text is not JSON5.
    """
    document = parse(src, MAX_DEPTH)
    if same(document.value, wanted):
        return src
    editor = _Editor(src, style_of(src, document), Lines(src, document.line_starts))
    editor.change(document.root, document.value, wanted)
    return editor.text()


class _Editor:
    """Collects replacements of pieces of the text, none of which overlap."""

    def __init__(self, src: str, style: Style, lines: Lines) -> None:
        self._src = src
        self._style = style
        self._lines = lines
        self._pieces: list[tuple[int, int, str]] = []

    def text(self) -> str:
        parts, pos = [], 0
        for start, end, text in sorted(self._pieces, key=lambda piece: piece[:2]):
            parts += [self._src[pos:start], text]
            pos = end
        return "".join([*parts, self._src[pos:]])

    def change(self, mark: Mark, old: Any, new: Any) -> None:
        """Make the value at `mark`, which is `old`, the new one."""
        if same(old, new):
            return
        if isinstance(old, dict) and isinstance(new, dict):
            self._object(mark, old, new)
        elif isinstance(old, list) and isinstance(new, list):
            self._array(mark, old, new)
        else:
            self._replace(mark, new)

    def _object(self, mark: Mark, old: dict[str, Any], new: dict[str, Any]) -> None:
        assert mark.inner is not None, "an object's mark"
        marks: list[tuple[Mark, str]] = []
        for key, member in mark.inner.items():
            assert isinstance(key, str), "an object's keys are text"
            if key in new:
                self.change(member, old[key], new[key])
            hidden: Mark | None = member
            while hidden is not None:
                marks.append((hidden, key))
                hidden = hidden.hidden
        marks.sort(key=lambda pair: pair[0].key)
        plan: _Plan = [index for index, (_, key) in enumerate(marks) if key in new]
        plan += [_New(key, value) for key, value in new.items() if key not in old]
        self._lay(mark, [member for member, _ in marks], plan, new)

    def _array(self, mark: Mark, old: list[Any], new: list[Any]) -> None:
        assert mark.inner is not None, "an array's mark"
        plan: _Plan = []
        for item, index in zip(new, align(old, new), strict=True):
            plan.append(_New(None, item) if index is None else index)
            if index is not None:
                self.change(mark.inner[index], old[index], item)
        self._lay(mark, [*mark.inner.values()], plan, new)

    def _replace(self, mark: Mark, new: Any) -> None:
        inline = mark.value > 0 and not self._lines.begins(mark.key)
        indent = self._lines.indent(mark.key)
        self._pieces.append((mark.value, mark.end, self._style.value(new, indent, inline=inline)))

    def _lay(self, mark: Mark, members: list[Mark], plan: _Plan, new: Any) -> None:
        """Take out of a container what `plan` does not hold, and put in what it has new."""
        kept = [index for index in plan if isinstance(index, int)]
        if len(kept) == len(members) == len(plan):
            return
        if not kept and not self._has_comments(mark, members):
            self._replace(mark, new)
            return
        container = _Container(self._src, members, self._lines)
        if kept or not plan:
            self._pieces += container.without(kept)
        if not kept and plan:
            first = plan[0]
            assert isinstance(first, _New), "there are no others"
            if not members:
                self._fill(mark, plan)
                return
            # Among comments that stay: the first new one takes the place of the first old one.
            text = self._style.member(first.name, first.value, self._lines.indent(members[0].key), inline=True)
            self._pieces.append((members[0].key, members[0].end, text))
            self._pieces += container.without([0])
            plan = [0, *plan[1:]]
        self._add(container, plan)

    def _add(self, container: _Container, plan: _Plan) -> None:
        last: int | None = None
        run: list[_New] = []
        for step in plan:
            if isinstance(step, _New):
                run.append(step)
                continue
            self._put(container, last, run, step)
            last, run = step, []
        self._put(container, last, run, None)
        comma = None if last is None or run or container.trailing_comma else container.commas[last]
        if comma is not None:  # what it stood before is gone
            self._pieces.append((comma, comma + 1, ""))

    def _put(self, container: _Container, after: int | None, run: list[_New], before: int | None) -> None:
        """Write new members between two old ones; None is the bracket in place of one of them."""
        beside = before if after is None else after
        if not run or beside is None:
            return
        member, comma = container.members[beside], container.commas[beside]
        own = self._lines.begins(member.key)
        indent = self._lines.indent(member.key)
        between = self._style.newline + indent if own else " "
        texts = [self._style.member(new.name, new.value, indent, inline=not own) for new in run]
        if after is None:
            self._pieces.append((member.key, member.key, "".join(f"{text},{between}" for text in texts)))
            return
        place = member.end if comma is None else comma + 1
        if comma is None:
            self._pieces.append((place, place, ","))
        if own and (rest := re.compile(_REST_OF_LINE).match(self._src, place)):
            place = rest.end()
        end = "" if before is None and not container.trailing_comma else ","
        self._pieces.append((place, place, between + f",{between}".join(texts) + end))

    def _fill(self, mark: Mark, plan: _Plan) -> None:
        """Put the first members into a container that holds nothing but comments; behind these."""
        src, style = self._src, self._style
        outer = self._lines.indent(mark.value)
        between = style.newline + outer + style.indent
        texts = [style.member(new.name, new.value, outer + style.indent) for new in plan if isinstance(new, _New)]
        comma = "," if style.trailing_comma else ""
        inside = src[mark.value + 1 : mark.end - 1]
        place = mark.value + 1 + len(inside.rstrip(_SPACES))
        after = "" if re.search(r"[\n\r]", src[place : mark.end]) else style.newline + outer
        self._pieces.append((place, place, between + f",{between}".join(texts) + comma + after))

    def _has_comments(self, mark: Mark, members: Sequence[Mark]) -> bool:
        pos, outside = mark.value, ""
        for member in members:
            outside += self._src[pos : member.key]
            pos = member.end
        return "/" in outside + self._src[pos : mark.end]


class _Container:
    """The old members of an array or object in the order of the text, and their commas."""

    def __init__(self, src: str, members: list[Mark], lines: Lines) -> None:
        self._src = src
        self._lines = lines
        self.members = members
        self.commas = [_comma(src, member) for member in members]
        self.trailing_comma = bool(members) and self.commas[-1] is not None

    def without(self, kept: list[int]) -> list[tuple[int, int, str]]:
        """The pieces to take out so that only the members in `kept` stay."""
        pieces: list[tuple[int, int, str]] = []
        gone = sorted({*range(len(self.members))} - {*kept})
        run: tuple[int, int] | None = None
        for index in gone:
            start, (end, comma) = self.members[index].key, self._end(index)
            if run is not None and not self._src[run[1] : start].strip():
                run = (run[0], end)
            else:
                pieces += [] if run is None else [self._cut(*run)]
                run = (start, end)
            if comma is not None:
                pieces += [self._cut(*run), (comma, comma + 1, "")]
                run = None
        return pieces if run is None else [*pieces, self._cut(*run)]

    def _end(self, index: int) -> tuple[int, int | None]:
        """Behind a member and its comma; with a comment between the two, behind the member, and the comma."""
        member, comma = self.members[index], self.commas[index]
        if comma is None or self._src[member.end : comma].strip():
            return member.end, comma
        return comma + 1, None

    def _cut(self, start: int, end: int) -> tuple[int, int, str]:
        """A piece to take out, and the blanks around it that would be too many."""
        src = self._src
        behind = _past_blanks(src, end)
        begin = self._lines.start(start)
        if _past_blanks(src, begin) >= start:
            if (rest := re.compile(_LINE_END).match(src, behind)) and begin > 0:
                return begin, rest.end(), ""
            return start, behind, ""
        before = start
        while src[before - 1] in _BLANKS:
            before -= 1
        return (before, end, "") if before < start else (start, behind, "")


def _past_blanks(src: str, pos: int) -> int:
    match = re.compile(_BLANK_RUN).match(src, pos)
    assert match, "nothing at all matches too"
    return match.end()


def _comma(src: str, member: Mark) -> int | None:
    pos = skip(src, member.end)
    return pos if src[pos : pos + 1] == "," else None


def align(old: list[Any], new: list[Any]) -> list[int | None]:
    """For each new element the index of the old one that it continues, or None.

    That is an equal one, one of the same id or name, or the one that stood in its place.
    """
    start = 0
    while start < min(len(old), len(new)) and same(old[start], new[start]):
        start += 1
    tail = 0
    while tail < min(len(old), len(new)) - start and same(old[-1 - tail], new[-1 - tail]):
        tail += 1
    old_end, new_end = len(old) - tail, len(new) - tail
    found: list[int | None] = [*range(start)] + [None] * (new_end - start) + [*range(old_end, len(old))]
    blocks = [(old_end, new_end, 0)]
    if 0 < (old_end - start) * (new_end - start) <= MAX_ALIGNED:
        import difflib  # noqa: PLC0415 - only arrays that changed need it, and it costs the start a millisecond

        left, right = ([_token(item) for item in items] for items in (old[start:old_end], new[start:new_end]))
        matcher = difflib.SequenceMatcher(None, left, right, autojunk=False)
        blocks = [(start + block.a, start + block.b, block.size) for block in matcher.get_matching_blocks()]
    old_at = new_at = start
    for old_next, new_next, size in blocks:
        for index in range(min(old_next - old_at, new_next - new_at)):
            if not _differ_by_name(old[old_at + index], new[new_at + index]):
                found[new_at + index] = old_at + index
        found[new_next : new_next + size] = range(old_next, old_next + size)
        old_at, new_at = old_next + size, new_next + size
    return found


def _token(item: Any) -> str:
    name = name_of(item)
    return repr(item) if name is None else f"id {name}"


def name_of(item: Any) -> str | None:
    """What tells an element of an array from the others: its id, or its name."""
    name = item.get("id", item.get("name")) if isinstance(item, dict) else None
    return name if isinstance(name, str) else None


def _differ_by_name(old: Any, new: Any) -> bool:
    return name_of(old) is not None and name_of(new) is not None and name_of(old) != name_of(new)
