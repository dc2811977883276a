"""How much of a session is kept."""

from __future__ import annotations

from gateway.model.chat import Message, ToolCall
from gateway.model.session import Turn
from gateway.sessions.history import MESSAGE_CHARACTERS, characters, surplus


def turn(text: str, answer: str = "ok") -> Turn:
    return Turn("r", (Message("user", text),), (Message("assistant", answer),))


def test_the_oldest_turns_go_first_and_whole() -> None:
    turns = [turn(f"{number}" * 50, "x" * 42) for number in range(5)]
    assert characters(turns[0]) == 92 + 2 * MESSAGE_CHARACTERS
    assert surplus(turns, 3 * characters(turns[0])) == 2
    assert surplus(turns, 3 * characters(turns[0]) - 1) == 3


def test_the_latest_turn_always_stays() -> None:
    assert surplus([turn("one"), turn("x" * 1000)], 10) == 1
    assert surplus([turn("x" * 1000)], 10) == 0


def test_nothing_is_free() -> None:
    assert characters(Turn("r", (Message("assistant", ""),) * 500, ())) >= 500 * MESSAGE_CHARACTERS
    named = Message("user", "hi", "n" * 1000)
    of_a_tool = Message("tool", "hi", None, "n" * 1000)
    calling = Message("assistant", "", tool_calls=(ToolCall("c" * 100, "f" * 200, "a" * 700),))
    for message in (named, of_a_tool, calling):
        assert characters(Turn("r", (message,), ())) >= 1000
