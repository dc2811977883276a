"""What was said as rows, whatever it was, and how much of it one answer holds."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from sessions_data import MESSAGES, TEXTS

from gateway.control.transcript import MARK, MESSAGE_BYTES, asked_rows, bounded, cut, rows_of, size
from gateway.model.chat import Message
from gateway.model.run import Usage
from gateway.model.session import Turn

TURNS = st.lists(
    st.builds(
        Turn,
        TEXTS.map("run {}".format),
        MESSAGES,
        MESSAGES,
        st.floats(0, 1e10),
        st.floats(0, 1e10),
        st.just(0),
        TEXTS,
        st.none() | TEXTS,
        st.builds(Usage, st.integers(0, 9), st.integers(0, 9)),
        TEXTS,
    ),
    max_size=4,
    unique_by=lambda turn: turn.run_id,
)


def rows(turns: list[Turn]) -> list[dict[str, Any]]:
    return list(rows_of(turns))


@given(TURNS)
def test_each_message_is_a_row(turns: list[Turn]) -> None:
    found = rows(turns)
    assert len(found) == sum(len(turn.asked) + len(turn.answered) for turn in turns)
    assert [row[MARK]["seq"] for row in found] == list(range(1, len(found) + 1))
    ids = [row[MARK]["id"] for row in found]
    assert len(set(ids)) == len(ids)
    json.dumps(found)
    for row in found:
        assert isinstance(row["content"], str | list)


@given(TURNS, st.integers(0, 3))
def test_a_message_keeps_its_id(turns: list[Turn], gone: int) -> None:
    """Also where what is too old was cut from the beginning of its turn, and while it is not kept yet."""
    for turn in turns:
        whole = rows([turn._replace(first=5)])
        rest = rows([turn._replace(first=5 + len(turn.asked[:gone]), asked=turn.asked[gone:])])
        # A result is shown with the name of its tool, which stands in the call.
        cut = any(message.tool_calls for message in turn.asked[:gone])
        assert cut or rest == whole[len(whole) - len(rest) :]
        assert [row[MARK] for row in rest] == [row[MARK] for row in whole[len(whole) - len(rest) :]]
        early = list(asked_rows(turn.run_id, turn.asked, 5, 0))
        assert [row[MARK] for row in early] == [row[MARK] for row in whole[: len(early)]]


def test_numbers_go_on_from_what_is_known() -> None:
    message = (Message("user", "x"),)
    turns = [Turn("a", message, message), Turn("b", message, message, first=11), Turn("c", message, message)]
    assert [row[MARK]["seq"] for row in rows(turns)] == [1, 2, 11, 12, 13, 14]


@given(
    st.lists(st.text(st.characters(), max_size=40), max_size=3), st.integers(1, 4000), st.none() | st.integers(1, 50)
)
def test_a_row_has_an_end(texts: list[str], times: int, characters: int | None) -> None:
    row = {
        "role": "assistant",
        "content": [{"type": "text", "text": text * times} for text in texts],
        MARK: {"id": "x"},
    }
    shown = cut(row, characters)
    assert size(shown) <= MESSAGE_BYTES
    assert shown[MARK] == row[MARK]
    if characters is None and size(row) <= MESSAGE_BYTES:
        assert shown == row


def test_a_row_that_cannot_be_cut() -> None:
    row = {"role": "assistant", "content": [{"type": "text", "text": "x"}] * 20_000}
    assert cut(row, None)["content"] == [{"type": "text", "text": "(too large to be shown)"}]


@given(st.lists(st.text(max_size=30), max_size=8), st.integers(2, 500))
def test_the_last_rows_that_fit(texts: list[str], limit: int) -> None:
    said = [{"content": text} for text in texts]
    shown = bounded(said, limit)
    assert shown == said[len(said) - len(shown) :]
    assert len(shown) <= 1 or len(json.dumps(shown, ensure_ascii=False, separators=(",", ":")).encode()) <= limit
    assert shown or not said
