"""The JSON5 reader: cases as files in tests/data/json5, properties, limits, places, and the public corpora in place."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config.json5 import MAX_DEPTH, MAX_INTEGER_DIGITS, Json5Error, loads, parse, skip

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data" / "json5"
GOOD = sorted((DATA / "good").glob("*.json5"))
BAD = sorted((DATA / "bad").glob("*.json5"))
ERRORS = json.loads((DATA / "bad" / "errors.json").read_text(encoding="utf-8"))

quick = settings(database=None, deadline=None, max_examples=150)


def same(left: Any, right: Any) -> bool:
    """Equal with equal types, NaN equal to itself, members in the same order."""
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left):
        return math.isnan(right)
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_good(path: Path) -> None:
    expected = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    data = path.read_bytes()
    assert same(loads(data), expected)
    assert same(loads(data.decode()), expected)


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_bad(path: Path) -> None:
    for source in (path.read_bytes(), path.read_bytes().decode()):
        with pytest.raises(Json5Error) as caught:
            loads(source)
        assert f"{caught.value.line}:{caught.value.column} {caught.value.msg}" == ERRORS[path.stem]


def test_every_bad_case_has_its_error() -> None:
    assert len(BAD) > 90
    assert {path.stem for path in BAD} == set(ERRORS)


# Any JSON is JSON5, and means the same.

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


@quick
@given(json_values, st.booleans(), st.sampled_from([None, 2, "\t"]))
def test_json_is_json5(value: Any, ascii_only: bool, indent: int | str | None) -> None:
    try:
        text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
        text.encode()
    except UnicodeEncodeError:
        return  # lone surrogates are refused; see below
    if not ascii_only or "\\ud" not in text:
        assert same(loads(text), value)
        assert same(loads(text.encode()), value)


@quick
@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_escaped_text_is_the_text(text: str) -> None:
    assert loads(json.dumps(text)) == text
    assert loads(json.dumps(text, ensure_ascii=False)) == text


fragments = st.lists(
    st.sampled_from(
        [*"{}[]:,'\"\\/*+-.0189eExXuINafn_$ \n\r\t\x00\u2028\ufeff\u00a0é", "//", "/*", "*/", "\\u", "\\ud83d"]
    )
    | st.sampled_from(["true", "null", "Infinity", "NaN", "0x1f", "1e5", '"a"', "a:", "\\u0061", "\ud800", "😀"]),
    max_size=30,
).map("".join)


@settings(quick, max_examples=500)
@given(fragments | st.text(max_size=30))
def test_any_text_gives_a_value_or_the_one_error(text: str) -> None:
    try:
        value, fault = loads(text), None
    except Json5Error as error:
        value, fault = None, error
    json.dumps(value, ensure_ascii=False).encode()  # whatever was read can be written out
    if fault:
        assert 0 <= fault.pos <= len(text)
        assert min(fault.line, fault.column) >= 1


@quick
@given(st.binary(max_size=30))
def test_any_bytes_give_a_value_or_the_one_error(data: bytes) -> None:
    try:
        value = loads(data)
    except Json5Error:
        return
    assert same(value, loads(data.decode()))


# Limits and refusals.


@pytest.mark.parametrize("opening", ["[", "{a:", "[{a:"])
def test_depth_has_a_limit_of_its_own(opening: str) -> None:
    levels = 2 if opening == "[{a:" else 1
    closing = "".join({"[": "]", "{": "}"}[char] for char in reversed(opening) if char in "[{")
    depth = MAX_DEPTH // levels
    loads(opening * depth + "0" + closing * depth)
    with pytest.raises(Json5Error, match=f"more than {MAX_DEPTH} arrays and objects"):
        loads(opening * depth + "[0]" + closing * depth)
    for many in (opening * 100_000, opening * 100_000 + "0" + closing * 100_000):
        with pytest.raises(Json5Error, match="inside one another"):
            loads(many)


def test_a_deep_caller_does_not_matter() -> None:
    def call(levels: int) -> Any:
        return call(levels - 1) if levels else loads("[" * MAX_DEPTH + "]" * MAX_DEPTH)

    assert isinstance(call(sys.getrecursionlimit() - 300), list)


def test_integers_stay_exact_up_to_a_limit() -> None:
    longest = "9" * MAX_INTEGER_DIGITS
    assert loads(longest) == int(longest)
    assert loads(f"{longest}9") == math.inf
    assert loads(f"-{longest}9") == -math.inf
    assert loads("1" + "0" * 5000) == math.inf
    assert loads("0x" + "f" * MAX_INTEGER_DIGITS) == int("f" * MAX_INTEGER_DIGITS, 16)
    assert loads("-0x" + "f" * 100_000) == -math.inf
    assert loads("0x" + "0" * 5000 + "1") == 1
    assert loads("0." + "1" * 5000) == pytest.approx(1 / 9)


def test_surrogates_are_refused_in_the_text_too() -> None:
    for text in ('"\ud800"', '// \udc00\n"a"', "{\ud83d: 1}"):
        with pytest.raises(Json5Error, match="half of a surrogate pair"):
            loads(text)
    with pytest.raises(Json5Error, match="not UTF-8"):
        loads(b'"\xed\xa0\x80"')


def test_bytes_must_be_utf8() -> None:
    assert loads("\ufeff['é']".encode()) == ["é"]
    with pytest.raises(Json5Error) as caught:
        loads("{\n  a: 'é',\n  b: '".encode() + b"\xff'}")
    assert (caught.value.line, caught.value.column) == (3, 7)
    assert caught.value.msg == "byte 0xff is not UTF-8"
    for other in ("utf-16", "utf-16-le", "utf-32"):
        with pytest.raises(Json5Error):
            loads('{"a": 1}'.encode(other))


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\u2028", "\u2029"])
def test_line_ends(end: str) -> None:
    assert loads(f"[1, // one{end} 2]") == [1, 2]
    assert loads(f"'a\\{end}b'") == "ab"
    with pytest.raises(Json5Error) as caught:
        loads(f"[{end}{end} x]")
    assert (caught.value.line, caught.value.column) == (3, 2)
    if end in "\r\n":
        with pytest.raises(Json5Error, match="the line ends within the string"):
            loads(f"'a{end}b'")


# Places.


def test_an_error_tells_its_path() -> None:
    with pytest.raises(Json5Error) as caught:
        loads('{\n  gateway: {\n    auth: [1, {mode: "x" y}]\n  }\n}')
    error = caught.value
    assert error.path == ("gateway", "auth", 1, "mode")
    assert (error.line, error.column, error.pos) == (3, 26, 40)
    assert str(error) == "expected ',' or '}' but found 'y' (line 3, column 26)"
    assert isinstance(error, ValueError)


def test_a_document_knows_its_places() -> None:
    document = parse("// c\n{\n  a: [10,\n 'x'], 'b' : /* here */ {c: null},\n  a2: 1, a2: 2 }")
    root = document.root
    assert document.place(root.value) == (2, 1)
    assert root.inner is not None
    assert list(root.inner) == ["a", "b", "a2"]
    a, b, last = root.inner["a"], root.inner["b"], root.inner["a2"]
    assert document.place(a.key) == (3, 3)
    assert document.place(a.value) == (3, 6)
    assert a.inner is not None
    assert document.place(a.inner[1].value) == document.place(a.inner[1].key) == (4, 2)
    assert document.place(b.key) == (4, 8)
    assert document.place(b.value) == (4, 25)
    assert b.inner is not None
    assert document.place(b.inner["c"].value) == (4, 29)
    assert last.inner is None
    assert document.place(last.key) == (5, 10)  # the last of two equal keys is the one that counts


def test_the_room_imports_little() -> None:
    code = """
import sys, types
package = types.ModuleType("gateway")  # stands in for gateway/__init__, which is not this room's
package.__path__ = ["gateway"]
sys.modules["gateway"] = package
import gateway.config, gateway.config.json5
heavy = {"asyncio", "ssl", "socket", "h11", "wsproto"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


# The public corpora, run where they are.


def corpora() -> Path | None:
    named = os.environ.get("GATEWAY_CONFORMANCE")
    folder = Path(named) if named else ROOT.parent / "shared" / "conformance"
    return folder if (folder / "json5" / "run_json5.py").is_file() else None


@pytest.mark.skipif(corpora() is None, reason="no conformance cases: set GATEWAY_CONFORMANCE to their folder")
@pytest.mark.parametrize("reader", ["gateway.config.json5:loads", "json5_bytes:loads_encoded"], ids=["str", "bytes"])
def test_public_corpora(reader: str) -> None:
    folder = corpora()
    assert folder is not None
    command = [sys.executable, "-B", str(folder / "json5" / "run_json5.py"), reader]
    command += ["--error", "gateway.config.json5:Json5Error", "--bytes", "gateway.config.json5:loads"]
    command += ["--path", str(ROOT), "--path", str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr
    columns, *rows = (line.split() for line in done.stdout.splitlines() if not line.startswith("slowest"))
    assert columns == [
        "pass",
        "WRONG-ACCEPT",
        "WRONG-REJECT",
        "WRONG-VALUE",
        "BAD-EXCEPTION",
        "TIMEOUT",
        "CRASH",
        "skipped",
    ]
    assert len(rows) == 5, "four corpora and their sum"
    for row in rows:
        assert int(row[1]) > 80
        assert row[2:] == ["0"] * 7, row
    assert int(rows[-1][1]) > 600


SPACES = "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
LINE_ENDS = "\n\r\u2028\u2029"
ALL = [chr(code) for code in range(0x110000)]


def test_white_space_is_that_of_the_specification() -> None:
    """Of all the characters there are: Python's classes grow with Unicode, the specification names what it takes."""
    assert [char for char in ALL if skip(char, 0)] == sorted(SPACES)


def test_a_comment_of_one_line_ends_where_the_specification_ends_lines() -> None:
    assert [char for char in ALL if skip(f"//x{char}y", 0) != 5] == sorted(LINE_ENDS)


def test_lines_are_counted_as_the_specification_ends_them() -> None:
    text = "".join(f"{number} {char}" for number, char in enumerate("\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029")) + "\r\n."
    with pytest.raises(Json5Error) as told:
        loads(f"[{''.join(f'/*{part}*/' for part in text)}}}")
    assert told.value.line == 1 + text.count("\n") + text.count("\r") + text.count("\u2028") + text.count("\u2029")
    with pytest.raises(Json5Error) as told:
        loads("\r\n\r\n\n\r}")
    assert (told.value.line, told.value.column) == (5, 1)
