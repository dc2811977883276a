"""Edits of JSON5 texts: cases in tests/data/config/edits.txt, and what must hold for any text and any change."""

from __future__ import annotations

import json
import math
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import edit as edit_module
from gateway.config.edit import MAX_DEPTH, edit
from gateway.config.json5 import Json5Error, loads, parse
from gateway.config.patch import merge_patch
from gateway.config.style import same

CASES = Path(__file__).parents[1] / "data" / "config" / "edits.txt"

quick = settings(database=None, deadline=None, max_examples=300)


def always(_: str) -> bool:
    return True


def cases() -> list[Any]:
    _, *texts = CASES.read_text(encoding="utf-8").split("=== ")
    found = []
    for text in texts:
        title, _, rest = text.partition("\n")
        before, _, rest = rest.partition("--- ")
        patch, _, after = rest.partition("\n")
        found.append(pytest.param(before, loads(patch), after, id=title))
    return found


@pytest.mark.parametrize(("before", "patch", "after"), cases())
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_cases(before: str, patch: Any, after: str, newline: str) -> None:
    before, after = before.replace("\n", newline), after.replace("\n", newline)
    wanted = merge_patch(loads(before), patch, always)
    assert edit(before, wanted) == after
    assert same(loads(after), wanted)


# -- any text and any change

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**6), 10**6),
    st.floats(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    st.sampled_from(["it's", 'say "x"', "${NAME}", "// no comment", "a, b", "}", "__OPENCLAW_REDACTED__"]),
)
names = st.sampled_from(["a", "b", "c", "id", "$include", "two words", "ünder", "0", "it's", ""])
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=14
)
documents = st.dictionaries(names, values, max_size=5)


OUTSIDE = ("outside",)


class Writer:
    """Writes a value as a text in a style drawn at random, with comments of which each is unlike the others.

    `comments` holds for each the path of the container that it stands in, or OUTSIDE, and the key of the member, where
    it stands between this and its value.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._newline = random.choice(["\n", "\r\n", "\r"])
        self._json = random.random() < 0.2
        self.comments: dict[str, tuple[tuple[Any, ...], Any]] = {}

    def document(self, value: Any) -> str:
        return self._space(OUTSIDE) + self._value(value, ()) + self._space(OUTSIDE)

    def _space(self, path: tuple[Any, ...], member: Any = None) -> str:
        random = self._random
        texts = []
        for _ in range(random.choice([0, 0, 1, 1, 2])):
            kind = random.randrange(5)
            if kind < 3 or self._json:
                texts.append([" ", self._newline, self._newline + "  "][kind % 3])
                continue
            name = f"<{len(self.comments)}>"
            self.comments[name] = (path, member)
            more = random.choice(["", " a: 1,", " {", ' "'])
            inner = random.choice(["", self._newline])
            texts.append(f"//{name}{more}{self._newline}" if kind == 3 else f"/*{name}{more}{inner}*/")
        return "".join(texts)

    def _value(self, value: Any, path: tuple[Any, ...]) -> str:
        if not isinstance(value, dict | list):
            return self._scalar(value)
        texts = []
        if isinstance(value, dict):
            for key, item in value.items():
                if not self._json and self._random.random() < 0.1:  # hidden by the one that follows
                    texts.append(f"{self._key(key)}:{self._space(path, key)}1{self._space(path)}")
                between = f"{self._space(path, key)}:{self._space(path, key)}"
                texts.append(self._key(key) + between + self._value(item, (*path, key)) + self._space(path))
        else:
            texts = [self._value(item, (*path, index)) + self._space(path) for index, item in enumerate(value)]
        opened, closed = "{}" if isinstance(value, dict) else "[]"
        text = opened + self._space(path)
        for index, part in enumerate(texts):
            last = index == len(texts) - 1
            comma = "" if last and (self._json or self._random.random() < 0.5) else ","
            text += part + comma + self._space(path)
        return text + closed

    def _key(self, key: str) -> str:
        if not self._json and key.isidentifier() and self._random.random() < 0.5:
            return key
        return self._scalar(key)

    def _scalar(self, value: Any) -> str:
        if isinstance(value, float) and not math.isfinite(value):
            return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[repr(value)]
        text = json.dumps(value, ensure_ascii=self._random.random() < 0.5)
        if isinstance(value, str) and "'" not in value and '"' not in value and not self._json:
            return self._random.choice([text, f"'{text[1:-1]}'"])
        return text


@quick
@given(documents, st.randoms(use_true_random=False))
def test_no_change_gives_the_same_text(value: Any, random: Random) -> None:
    text = Writer(random).document(value)
    assert edit(text, loads(text)) == text


@quick
@given(documents, documents, st.randoms(use_true_random=False))
def test_any_document_can_be_written_into_any_text(value: Any, wanted: Any, random: Random) -> None:
    text = Writer(random).document(value)
    edited = edit(text, wanted)
    assert same(loads(edited), wanted)
    assert edit(edited, wanted) == edited


def changed(value: Any, random: Random) -> Any:
    """The value with a few changes: members that come, go and change, elements that move."""
    if isinstance(value, dict) and value:
        members = {key: changed(item, random) if random.random() < 0.6 else item for key, item in value.items()}
        if random.random() < 0.3:
            del members[random.choice([*members])]
        if random.random() < 0.3:
            members[random.choice(["new", "a", "x y"])] = random.choice([1, "t", {"k": [1]}, []])
        return members
    if isinstance(value, list) and value:
        items = [changed(item, random) if random.random() < 0.5 else item for item in value]
        if random.random() < 0.4:
            items.insert(random.randrange(len(items) + 1), random.choice([1, {"id": "n"}, ["s"]]))
        if random.random() < 0.4:
            del items[random.randrange(len(items))]
        return items
    return random.choice([value, value, 7, "seven", {"q": 1}])


def survives(path: tuple[Any, ...], member: Any, before: Any, after: Any) -> bool:
    """Whether everything around a comment is still there.  In arrays that changed, only their own comments count."""
    if path == OUTSIDE:
        return True
    for key in path:
        if type(before) is not type(after) or (isinstance(before, list) and not same(before, after)):
            return False
        if isinstance(after, dict) and key not in after:
            return False
        before, after = before[key], after[key]
    return type(before) is type(after) and (member is None or member in after)


@quick
@given(documents, st.randoms(use_true_random=False))
def test_comments_stay(value: Any, random: Random) -> None:
    writer = Writer(random)
    text = writer.document(value)
    wanted = changed(loads(text), random)
    edited = edit(text, wanted)
    assert same(loads(edited), wanted)
    for name, (path, member) in writer.comments.items():
        if survives(path, member, loads(text), wanted):
            assert name in edited


@quick
@given(values, values)
def test_what_was_json_stays_json(value: Any, wanted: Any) -> None:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    assert same(json.loads(edit(text, wanted)), wanted)


def test_what_is_not_json5_is_refused() -> None:
    with pytest.raises(Json5Error):
        edit("{", {})
    with pytest.raises(Json5Error, match="inside one another"):
        edit("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), {})


def test_a_control_character_belongs_to_its_comment() -> None:
    assert edit("{ // c\x1d\n}", {"a": 1}) == '{ // c\x1d\n  "a": 1\n}'


def test_large_arrays_are_not_compared_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edit_module, "MAX_ALIGNED", 8)
    old, new = [1, 2, 3, 4], [9, 1, 2, 3]
    assert loads(edit(json.dumps(old), new)) == new


def test_the_reader_knows_where_values_end() -> None:
    text = "{a: [1, /* c */ 'x' ] , b: {} /* d */ , b: -0x1F}"
    root = parse(text).root
    assert text[root.value : root.end] == text
    assert root.inner is not None
    assert text[root.inner["a"].value : root.inner["a"].end] == "[1, /* c */ 'x' ]"
    assert text[root.inner["b"].value : root.inner["b"].end] == "-0x1F"
    hidden = root.inner["b"].hidden
    assert hidden is not None
    assert text[hidden.key : hidden.end] == "b: {}"
    assert hidden.hidden is None
