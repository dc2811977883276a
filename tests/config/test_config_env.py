"""References to the environment, and `.env` files."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config.env import DotEnvError, ExpansionError, expand, expand_home, parse_dotenv

ENVIRON = {"A": "1", "B_2": "two", "EMPTY": "", "NESTED": "${A}", "lower": "l"}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("", ""),
        ("plain $A $ $$ {A} }", "plain $A $ $$ {A} }"),
        ("${A}", "1"),
        ("x${A}y${B_2}z", "x1ytwoz"),
        ("${lower}", "l"),
        ("${NESTED}", "${A}"),  # a value is never expanded again
        ("${A:-other}", "1"),
        ("${NO:-other}", "other"),
        ("${EMPTY:-other}", "other"),
        ("${NO:-}", ""),
        ("${NO:-a:-b $c {}", "a:-b $c {"),
        ("$${A}", "${A}"),
        ("$${}", "${}"),
        ("$${any thing:-}", "${any thing:-}"),
        ("$$${A}", "$${A}"),
        ("$${A} ${A}", "${A} 1"),
    ],
)
def test_expand(text: str, expanded: str) -> None:
    assert expand(text, ENVIRON) == expanded


@pytest.mark.parametrize("text", ["${", "${A", "${}", "${1}", "${A B}", "${A-x}", "${A:x}", "a${-}", "$${A", "${é}"])
def test_malformed_references(text: str) -> None:
    with pytest.raises(ExpansionError, match="not followed by a variable's name"):
        expand(text, ENVIRON)


def test_every_missing_variable_is_named() -> None:
    with pytest.raises(ExpansionError, match=r"no value for NO and EMPTY\. Set it"):
        expand("${NO} ${A} ${EMPTY} ${NO}", ENVIRON)


def test_expand_home() -> None:
    assert expand_home("~/x", {"HOME": "/h", "USERPROFILE": "/u"}) == "/h/x"
    assert expand_home("~/x", {"USERPROFILE": "/u"}) == "/u/x"
    assert expand_home("~/x", {}) == "~/x"
    assert expand_home("~other/x", {"HOME": "/h"}) == "~other/x"
    assert expand_home("/a/~/x", {"HOME": "/h"}) == "/a/~/x"


def test_dotenv() -> None:
    text = """# a comment

PLAIN=value
  SPACED  =  a value with blanks   # and a comment
export EXPORTED=yes
EMPTY=
HASH=a#b
QUOTED="a \\"b\\" \\\\ \\n # no comment"   # comment
RAW='a "b" \\n $x'
LINES="one
two"
EQUALS=a=b=c
URL=postgres://u:p@h/db?x=1#f
TWICE=1
TWICE=2
LAST=end"""
    assert parse_dotenv(text) == {
        "PLAIN": "value",
        "SPACED": "a value with blanks",
        "EXPORTED": "yes",
        "EMPTY": "",
        "HASH": "a#b",
        "QUOTED": 'a "b" \\ \n # no comment',
        "RAW": 'a "b" \\n $x',
        "LINES": "one\ntwo",
        "EQUALS": "a=b=c",
        "URL": "postgres://u:p@h/db?x=1#f",
        "TWICE": "2",
        "LAST": "end",
    }
    assert parse_dotenv("A=1\r\n\r\n# c\r\nB='2'\r\n") == {"A": "1", "B": "2"}
    assert parse_dotenv("A= # nothing\nB=\n") == {"A": "", "B": ""}


@pytest.mark.parametrize("line", ["A", "=1", "1A=2", "A B=1", "A: 1", "A='open", 'A="open', "A='a' b", "é=1"])
def test_dotenv_lines_that_are_none(line: str) -> None:
    with pytest.raises(DotEnvError, match="expected NAME=value") as caught:
        parse_dotenv(f"X=1\n# c\n{line}\nY=2")
    assert caught.value.line == 3


@settings(database=None, deadline=None, max_examples=200)
@given(st.text(st.sampled_from("A1= \t#'\"\\\n\r$x"), max_size=30) | st.text(max_size=20))
def test_any_text_gives_assignments_or_the_one_error(text: str) -> None:
    try:
        values = parse_dotenv(text)
    except DotEnvError:
        return
    assert all(name.isidentifier() for name in values)
