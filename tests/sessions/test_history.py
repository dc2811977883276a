"""How much of a session is kept, and of what is kept a model is given."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.chat import Image, Message, ToolCall
from gateway.model.session import Turn
from gateway.sessions.history import (
    IMAGE_BYTES,
    IMAGE_CHARACTERS,
    MESSAGE_CHARACTERS,
    TURN_FACTOR,
    Bounds,
    characters,
    coherent,
    kept,
    messages_of,
    overgrown,
    recent,
    size,
    stray,
)

LARGE = 10**9


def user(text: str) -> Message:
    return Message("user", text)


def answer(text: str, *calls: str) -> Message:
    return Message("assistant", text, tool_calls=tuple(ToolCall(call, "f", "{}") for call in calls))


def result(call: str, text: str = "result") -> Message:
    return Message("tool", text, None, call)


def turn(text: str, said: str = "ok") -> Turn:
    return Turn("r", (user(text),), (answer(said),))


def test_nothing_is_free() -> None:
    assert characters(Turn("r", (Message("user", ""),) * 500, ())) >= 500 * MESSAGE_CHARACTERS
    named = Message("user", "hi", "n" * 1000)
    of_a_tool = Message("tool", "hi", None, "n" * 1000)
    calling = Message("assistant", "", tool_calls=(ToolCall("c" * 100, "f" * 200, "a" * 700),))
    for message in (named, of_a_tool, calling):
        assert characters(Turn("r", (message,), ())) >= 1000
    small, large = (Message("user", "", parts=(Image("image/png", b"x" * many),)) for many in (10, 10_000_000))
    assert size(small) >= IMAGE_CHARACTERS
    assert size(large) >= IMAGE_CHARACTERS + 10_000_000 // IMAGE_BYTES


def test_the_oldest_turns_go_first_and_whole() -> None:
    turns = [turn(f"{number}" * 50, "x" * 42) for number in range(5)]
    one = characters(turns[0])
    assert one == 92 + 2 * MESSAGE_CHARACTERS
    assert kept(turns[:4], turns[4], Bounds(3 * one)) == (2, turns[4])
    assert kept(turns[:4], turns[4], Bounds(3 * one - 1)) == (3, turns[4])
    assert kept(turns[:4], turns[4], Bounds(LARGE, 3)) == (2, turns[4])
    assert kept(turns[:4], turns[4], Bounds(LARGE, 5)) == (0, turns[4])


def test_the_latest_turn_always_stays() -> None:
    assert kept([turn("one")], turn("x" * 1000), Bounds(10, 1)) == (1, turn("x" * 1000))
    assert kept([], turn("x" * 1000), Bounds(10, 1)) == (0, turn("x" * 1000))


def test_a_conversation_that_was_brought_is_cut_within() -> None:
    brought = Turn("r", (user("1"), answer("a"), user("2"), answer("b"), user("3")), (answer("c"),))
    assert kept([], brought, Bounds(LARGE, 2)) == (0, brought._replace(asked=brought.asked[2:]))
    assert kept([turn("0")], brought, Bounds(LARGE, 2)) == (1, brought._replace(asked=brought.asked[2:]))
    # Later it stays as long as a part of it does; a model gets that part only.
    assert kept([brought], turn("4"), Bounds(LARGE, 2)) == (0, turn("4"))
    assert recent(messages_of((brought, turn("4"))), Bounds(LARGE, 2)) == 4
    assert kept([brought], turn("4"), Bounds(LARGE, 1)) == (1, turn("4"))


def test_calls_and_results_stay_together() -> None:
    calling = Turn("r", (user("weather?"),), (answer("", "c1", "c2"),))
    answering = Turn("s", (result("c1"), result("c2")), (answer("sunny"),))
    for bounds in (Bounds(LARGE, 1), Bounds(size(result("c1")), 1)):
        assert kept([turn("0"), calling], answering, bounds) == (1, answering)
    assert kept([calling, answering], turn("1"), Bounds(LARGE, 1)) == (2, turn("1"))


def test_several_messages_of_the_user_are_one_turn() -> None:
    messages = (user("a"), answer("b"), user("c"), user("d"), answer("e"), user("f"))
    assert [recent(messages, Bounds(LARGE, turns)) for turns in (1, 2, 3, 4)] == [5, 2, 0, 0]


def test_a_turn_that_is_added_to_for_ever() -> None:
    bounds = Bounds(1000)
    rounds = [user("go"), *(one for number in range(50) for one in (answer("", f"c{number}"), result(f"c{number}")))]
    grown = sum(map(size, rounds))
    assert grown > TURN_FACTOR * 1000
    assert overgrown([user("0"), answer("1"), *rounds], 1, bounds)
    assert not overgrown([user("0"), answer("1"), *rounds], len(rounds), bounds), "one request may say as much"
    assert not overgrown([*rounds, answer("done"), user("next")], 1, bounds)
    assert not overgrown(rounds[:5], 1, bounds)


@pytest.mark.parametrize(
    ("messages", "left"),
    [
        ([user("a"), answer("b")], "ab"),
        ([user("a"), answer("", "1")], "a!"),
        ([user("a"), answer("", "1", "2"), result("1"), result("2"), answer("b")], "a!rrb"),
        ([user("a"), answer("", "1", "2"), result("2", "s"), result("1", "r")], "a!sr"),
        ([user("a"), answer("", "1"), user("b")], "ab"),
        ([user("a"), answer("t", "1"), user("b")], "atb"),
        ([user("a"), answer("", "1", "2"), result("2"), user("b")], "a!rb"),
        ([result("1"), answer("b"), user("c")], "bc"),
        ([user("a"), answer("", "1"), result("x"), result("1"), result("1"), user("c")], "a!rc"),
        ([user("a"), answer("", "1"), user("b"), result("1")], "ab"),
        ([user("a"), Message("function", "legacy", "f"), answer("c")], "alc"),
    ],
)
def test_what_no_model_takes_is_left_out(messages: list[Message], left: str) -> None:
    found = coherent(messages)
    assert len(found) == len(messages)
    told = [message for message in found if message is not None]
    assert "".join("!" if one.tool_calls else one.text[0] for one in told) == left
    assert [*filter(None, coherent(told))] == told
    for number, message in enumerate(told):
        if number + 1 < len(told):
            results = [one.tool_call_id for one in told[number + 1 :]]
            assert all(call.id in results for call in message.tool_calls)


def test_results_of_calls_that_were_never_made() -> None:
    calling = [user("a"), answer("", "1", "2")]
    assert stray([*calling, result("1"), result("2")]) is None
    assert stray([*calling, result("1"), result("3")]) == "3"
    assert stray([result("3")]) == "3"
    assert stray([*calling, result("1"), result("2"), answer("b"), result("2")]) == "2"
    assert stray([result("old"), answer("b"), user("c")]) is None, "what a window has cut off"
    assert stray([*calling, user("never mind")]) is None
    assert stray([]) is None


TEXTS = st.text("ab ", max_size=30)
MESSAGES = st.lists(
    st.one_of(
        TEXTS.map(user),
        TEXTS.map(answer),
        st.lists(st.sampled_from("123"), min_size=1, max_size=2, unique=True).map(lambda ids: answer("", *ids)),
        st.sampled_from("123").map(result),
    ),
    max_size=30,
)


@given(MESSAGES, st.integers(1, 3000), st.integers(1, 8))
def test_what_a_model_gets_is_bounded_and_whole(messages: list[Message], most: int, turns: int) -> None:
    bounds = Bounds(most, turns)
    first = recent(messages, bounds)
    left = messages[first:]
    begins = [n for n, one in enumerate(left) if one.role == "user" and (n == 0 or left[n - 1].role != "user")]
    if first:
        assert begins[0] == 0, "it begins with the user"
    if len(begins) > 1:
        assert sum(map(size, left)) <= most
        assert len(begins) <= turns
    if first and len(begins) < turns:
        assert sum(map(size, messages[recent(messages, Bounds(LARGE, len(begins) + 1)) :])) > most, "all that fits"


@given(st.lists(MESSAGES.filter(bool), min_size=1, max_size=8), st.integers(1, 3000), st.integers(1, 8))
def test_what_is_stored_is_bounded(asked: list[list[Message]], most: int, count: int) -> None:
    bounds = Bounds(most, count)
    turns: list[Turn] = []
    for number, messages in enumerate(asked):
        new = Turn(str(number), tuple(messages), (answer("ok"),))
        drop, new = kept(turns, new, bounds)
        turns = [*turns[drop:], new]
        whole = messages_of(turns)
        first = recent(whole, bounds)
        assert first < len(turns[0].asked) + len(turns[0].answered), "no turn stays of which nothing is needed"
        assert new.answered == (answer("ok"),)
        assert tuple(messages)[len(messages) - len(new.asked) :] == new.asked
