"""What of a request the session knows already."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.model.chat import Image, Message, ToolCall
from gateway.model.session import Turn
from gateway.sessions.history import Bounds, coherent, messages_of
from gateway.sessions.overlap import Addition, addition

WIDE = Bounds(10**9, 10**9)


def user(text: str) -> Message:
    return Message("user", text)


def answer(text: str, *calls: ToolCall) -> Message:
    return Message("assistant", text, tool_calls=calls)


def call(call_id: str, arguments: str = "{}") -> ToolCall:
    return ToolCall(call_id, "f", arguments)


def result(call_id: str, text: str = "result") -> Message:
    return Message("tool", text, None, call_id)


def talk(words: str) -> list[Message]:
    """`u1 a1` are a message of the user and one of the assistant; what begins with neither letter is the user's."""
    return [answer(word) if word[0] == "a" else user(word) for word in words.split()]


def told(messages: Sequence[Message]) -> str:
    return " ".join(message.text for message in messages)


def stored(words: str) -> list[Turn]:
    """Turns of one question and one answer each."""
    messages = talk(words)
    return [Turn(str(n), (messages[n],), (messages[n + 1],)) for n in range(0, len(messages), 2)]


def go_on(turns: Sequence[Turn], added: Addition) -> str:
    return told((*messages_of(turns[: added.keep]), *added.asked))


@pytest.mark.parametrize(
    ("known", "request_", "becomes"),
    [
        ("", "u1", "u1"),
        ("", "u1 a1 u2", "u1 a1 u2"),
        # All of it, again and again.
        ("u1 a1", "u1 a1 u2", "u1 a1 u2"),
        ("u1 a1 u2 a2", "u1 a1 u2 a2 u3", "u1 a1 u2 a2 u3"),
        # Only what is new.
        ("u1 a1", "u2", "u1 a1 u2"),
        ("u1 a1", "u1", "u1 a1 u1"),
        ("hi a1 u2 a2", "hi", "hi a1 u2 a2 hi"),
        # The last messages.
        ("u1 a1 u2 a2 u3 a3", "u3 a3 u4", "u1 a1 u2 a2 u3 a3 u4"),
        ("u1 a1 u2 a2 u3 a3", "a2 u3 a3 u4", "u1 a1 u2 a2 u3 a3 u4"),
        ("u1 a1 u2 a2 u3 a3", "a3 u4", "u1 a1 u2 a2 u3 a3 u4"),
        # Edited, or asked again.
        ("u1 a1 u2 a2", "u1 a1 u2x", "u1 a1 u2x"),
        ("u1 a1 u2 a2", "u1 a1 u2", "u1 a1 u2"),
        ("u1 a1 u2 a2 u3 a3", "u1 a1 u2", "u1 a1 u2"),
        ("u1 a1 u2 a2 u3 a3", "u1 a1 u2 ax u3", "u1 a1 u2 ax u3"),
        ("u1 a1 u2 a2 u3 a3", "u1 ax u2 a2 u3", "u1 ax u2 a2 u3"),
        ("u1 a1 u2 a2 u3 a3", "u2 a2 u9", "u1 a1 u2 a2 u9"),
        # Another conversation.
        ("u1 a1 u2 a2", "u7 a7 u8", "u7 a7 u8"),
        ("u1 a1 u2 a2", "u0 a0 u1 a1 u2 a2 u3", "u0 a0 u1 a1 u2 a2 u3"),
        # The same things said again.
        ("hi a hi a", "hi a hi a hi", "hi a hi a hi"),
        ("hi a hi a", "hi a hi", "hi a hi"),
        ("hi a x ax hi a", "hi a u", "hi a x ax hi a u"),
        # To be continued by the assistant.
        ("u1 a1 u2 a2", "u1 a1 u2 a2", "u1 a1 u2 a2"),
        ("u1 a1 u2 a2", "u1 a1", "u1 a1"),
    ],
)
def test_what_becomes_of_a_conversation(known: str, request_: str, becomes: str) -> None:
    turns = stored(known)
    added = addition(turns, False, talk(request_), WIDE)
    assert go_on(turns, added) == becomes
    assert added.asked, "there is something to ask"


def test_what_was_known_of_a_turn_stays_in_it() -> None:
    picture = Message("user", "see", parts=("see", Image("image/png", b"1")))
    turns = [Turn("1", (picture, user("u2")), (answer("a2"),)), *stored("u3 a3")]
    shown = (picture._replace(text=" see\n"), user("u2"), answer("a2"))
    assert addition(turns, False, (*shown, user("x")), WIDE) == Addition(1, (user("x"),))
    again = addition(turns, False, (*shown, user("u3"), answer("ax"), user("x")), WIDE)
    assert again == Addition(1, (user("u3"), answer("ax"), user("x")))


def test_a_conversation_that_was_brought_is_one_turn_and_can_be_edited_within() -> None:
    turns = [Turn("1", tuple(talk("u1 a1 u2 a2 u3")), (answer("a3"),))]
    assert addition(turns, False, talk("u1 a1 u2 a2 u3 a3 u4"), WIDE) == Addition(1, (user("u4"),))
    assert addition(turns, False, talk("u1 a1 u2 ax u4"), WIDE) == Addition(0, tuple(talk("u1 a1 u2 ax u4")))
    assert addition(turns, False, talk("a1 u2 x"), WIDE) == Addition(0, tuple(talk("u1 a1 u2 x")))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (user("a"), user(" a\n"), True),
        (user("a\nb"), user("a\r\nb"), True),
        (user("a b"), user("a  b"), False),
        (user("a"), Message("user", "a", "Ann"), True),
        (answer("x", call("1", '{"a": 1, "b": [2]}')), answer(" x", call("1", '{"b":[2],"a":1}')), True),
        (answer("x", call("1", '{"a": 1}')), answer("x", call("1", '{"a": 2}')), False),
        (answer("x", call("1", "{broken")), answer("x", call("1", " {broken")), True),
        (answer("x", call("1", "[" * 100_000)), answer("x", call("1", "[" * 100_000)), True),
        (answer("x", call("1")), answer("x", call("2")), False),
        (answer("x", call("1")), answer("x", ToolCall("1", "g", "{}")), False),
        (result("1"), result("2"), False),
        (result("1"), result("1", "else"), False),
        (Message("user", "", parts=(Image("image/png", b"1"),)), Message("user", "", parts=(Image("image/png", b"2"),)), False),
        (Message("user", "", parts=(Image("image/png", b"1"),)), Message("user", ""), False),
        (
            Message("user", "a", parts=(Image("image/png", b"1"), "a")),
            Message("user", "a", parts=("a", Image("image/png", b"1", "low"))),
            True,
        ),
    ],
)  # fmt: skip
def test_what_is_the_same(one: Message, other: Message, same: bool) -> None:
    turns = [*stored("u0 a0"), Turn("1", (one,), (answer("a1"),))]
    tools = (answer("", call("z")), result("z"))  # so that the client is one that shows tools
    turns = [Turn("t", (user("t"), *tools), (answer("at"),)), *turns]
    shown = (user("t"), *tools, answer("at"), *talk("u0 a0"))
    added = addition(turns, False, (*shown, other, answer("a1"), user("u2")), WIDE)
    assert added == (Addition(3, (user("u2"),)) if same else Addition(2, (other, answer("a1"), user("u2"))))


def test_instructions_are_no_part_of_it() -> None:
    system = Message("system", "today is monday")
    added = addition(stored("u1 a1"), False, (system, *talk("u1 a1"), Message("developer", "x"), user("u2")), WIDE)
    assert added == Addition(1, (user("u2"),))


# Tools.

TOLD = [
    Turn("1", (user("u1"),), (answer("One moment. ", call("g")), result("g"), answer("It is late."))),
    Turn("2", (user("u2"),), (answer("", call("c")),)),
    Turn("3", (result("c"),), (answer("a3"),)),
]


def test_calls_of_the_gateway_are_unseen() -> None:
    shown = [user("u1"), answer("One moment. It is late.")]
    assert addition(TOLD[:1], False, [*shown, user("u2")], WIDE) == Addition(1, (user("u2"),))
    assert addition(TOLD[:1], False, [*shown, user("u2"), answer("", call("c")), result("c")], WIDE) == Addition(
        1, (user("u2"), answer("", call("c")), result("c"))
    )


def test_calls_of_the_client() -> None:
    shown = [user("u1"), answer("One moment. It is late."), user("u2"), answer("", call("c")), result("c")]
    assert addition(TOLD[:2], False, shown, WIDE) == Addition(2, (result("c"),))
    assert addition(TOLD[:2], False, [result("c")], WIDE) == Addition(2, (result("c"),))
    assert addition(TOLD, False, [*shown, answer("a3"), user("u4")], WIDE) == Addition(3, (user("u4"),))
    assert addition(TOLD, False, shown, WIDE) == Addition(2, (result("c"),)), "asked again"


def test_a_client_that_shows_no_tools() -> None:
    shown = [user("u1"), answer("One moment. It is late."), user("u2")]
    assert addition(TOLD, False, [*shown, answer("a3"), user("u4")], WIDE) == Addition(3, (user("u4"),))
    empty = [*shown, answer(""), answer("a3"), user("u4")]
    assert addition(TOLD, False, empty, WIDE) == Addition(3, (user("u4"),))
    edited = addition(TOLD, False, [*shown, answer("ax"), user("u4")], WIDE)
    assert edited == Addition(1, (user("u2"), answer("ax"), user("u4")))
    never_mind = addition(TOLD[:2], False, [*shown, user("never mind")], WIDE)
    assert never_mind == Addition(1, (user("u2"), user("never mind"))), "the call that nobody answered is taken back"


def test_an_answer_that_says_nothing() -> None:
    turns = [*stored("u1 a1"), Turn("2", (user("u2"),), (answer(""),))]
    for said in ((), (answer(""),), (answer(" \n"),)):
        added = addition(turns, False, [*talk("u1 a1 u2"), *said, user("u3")], WIDE)
        assert added == Addition(2, (user("u3"),))
        assert addition(turns, False, [*talk("u1 a1 u2"), *said], WIDE) == Addition(1, (user("u2"),))


def test_answers_that_say_nothing_are_known_by_who_shows_them() -> None:
    turns = [Turn("1", (user("u1"),), (answer(""),)), Turn("2", (user("u2"),), (answer(""),))]
    shown = [user("u1"), answer(""), user("u2"), answer("")]
    assert addition(turns[:1], False, [*shown[:2], user("u2")], WIDE) == Addition(1, (user("u2"),))
    assert addition(turns, False, [*shown, user("u3")], WIDE) == Addition(2, (user("u3"),))
    assert addition(turns, False, [*shown[:3], answer("ax"), user("u3")], WIDE) == Addition(
        1, (user("u2"), answer("ax"), user("u3"))
    )
    assert addition([], False, [user("u1"), answer(" ")], WIDE) == Addition(0, (user("u1"),)), "room for the next"


# Sessions of which the beginning is gone.


def test_what_the_session_has_forgotten_stays_forgotten() -> None:
    turns = stored("u3 a3 u4 a4")
    everything = talk("u1 a1 u2 a2 u3 a3 u4 a4 u5")
    assert addition(turns, True, everything, WIDE) == Addition(2, (user("u5"),))
    assert addition(turns, True, everything[:-2], WIDE) == Addition(1, (user("u4"),)), "asked again"
    assert addition(turns, True, talk("u1 a1 u2 a2 u3 a3 u9"), WIDE) == Addition(1, (user("u9"),))
    assert addition(turns, True, talk("u1 a1 u9"), WIDE) == Addition(0, tuple(talk("u1 a1 u9")))
    assert addition(turns, False, everything, WIDE) == Addition(0, tuple(everything)), "it was put before"
    # A conversation that never fitted was cut before it was stored.
    assert addition(turns, False, everything, Bounds(10**9, 3)) == Addition(2, (user("u5"),))
    repeated = talk("hi a hi a hi a u")
    assert addition(stored("hi a"), True, repeated, WIDE) == Addition(1, (user("u"),))


# All clients.


def seen(turns: Sequence[Turn]) -> list[Message]:
    """What a client has seen of a conversation."""
    messages: list[Message] = []
    for turn in turns:
        texts = "".join(message.text for message in turn.answered if message.role == "assistant")
        messages += [*turn.asked, answer(texts, *turn.answered[-1].tool_calls)]
    return messages


LETTERS = st.lists(st.sampled_from(["u", "v", "a", "b"]), max_size=12)


def brute(view: list[str], request: list[str]) -> list[str]:
    """The conversation that a reader expects, found by trying everything."""
    best: tuple[int, int] | None = None
    for start in range(len(view)):
        length = 0
        while start + length < len(view) and length < len(request) and view[start + length] == request[length]:
            length += 1
        if {"a", "b"} & {*request[:length]} and (best is None or length >= best[0]):
            best = length, start
    if not {"a", "b"} & {*request}:
        return view + request
    if best is None:
        return request
    length, start = best
    return view[: start + length] + request[length:]


@settings(max_examples=300)
@given(st.lists(LETTERS, max_size=6), LETTERS)
def test_any_request_on_any_session(asked: list[list[str]], request: list[str]) -> None:
    def messages(letters: list[str]) -> tuple[Message, ...]:
        return tuple(answer(one) if one in "ab" else user(one) for one in letters)

    turns = [Turn(str(n), messages(letters), (answer("ab"[n % 2]),)) for n, letters in enumerate(asked)]
    added = addition(turns, False, messages(request), WIDE)
    becomes = told((*messages_of(turns[: added.keep]), *added.asked)).split()
    assert becomes == brute([message.text for message in seen(turns)], request)
    assert 0 <= added.keep <= len(turns)


class Client(RuleBasedStateMachine):
    """A client and its session; no text occurs twice, so that the conversation a reader expects is beyond doubt.

    `shown` is what the client holds, `expected` what the session should hold as the client sees it.
    """

    @initialize(tools=st.booleans(), messy=st.booleans())
    def begin(self, tools: bool, messy: bool) -> None:
        self.count = 0
        self.turns: list[Turn] = []
        self.trimmed = False
        self.shown: list[Message] = []
        self.expected: list[Message] = []
        self.tools = tools
        self.messy = messy

    def text(self) -> str:
        self.count += 1
        return f"text {self.count}"

    def send(self, request: Sequence[Message], expected: list[Message], kind: str) -> None:
        """One request and its answer; `expected` is what the conversation is then, but for the answer."""
        sent = [self._smudge(message) for message in request]
        added = addition(self.turns, self.trimmed, [Message("system", self.text()), *sent], WIDE)
        final = (
            answer(self.text(), call(self.text(), '{"a": 1}')) if kind == "call" and self.tools else answer(self.text())
        )
        steps: tuple[Message, ...] = ()
        if kind == "step":
            gateway_call = self.text()
            steps = (answer(self.text(), call(gateway_call)), result(gateway_call))
        self.turns = [*self.turns[: added.keep], Turn(str(self.count), added.asked, (*steps, final))]
        said = answer("".join(one.text for one in (*steps, final) if one.role == "assistant"), *final.tool_calls)
        self.expected = [*expected, said]
        self.shown = [*request, said]

    def _smudge(self, message: Message) -> Message:
        if not self.messy:
            return message
        calls = tuple(one._replace(arguments=one.arguments.replace(" ", "")) for one in message.tool_calls)
        return message._replace(text=f"\n{message.text} ", tool_calls=calls, name="x")

    def new(self) -> list[Message]:
        """What the client says next: the results of calls, or something of the user."""
        calls = self.shown[-1].tool_calls if self.shown else ()
        return [result(one.id, self.text()) for one in calls] or [user(self.text())]

    KINDS = st.sampled_from(["text", "step", "call"])

    @rule(kind=KINDS)
    def sends_all(self, kind: str) -> None:
        new = self.new()
        self.send([*self.shown, *new], [*self.expected, *new], kind)

    @rule(kind=KINDS)
    def sends_only_what_is_new(self, kind: str) -> None:
        new = self.new()
        shown = self.shown
        self.send(new, [*self.expected, *new], kind)
        self.shown = [*shown, *self.shown]

    @rule(kind=KINDS, length=st.integers(1, 6))
    def sends_the_last_messages(self, kind: str, length: int) -> None:
        new = self.new()
        shown = self.shown
        self.send([*shown[-length:], *new], [*self.expected, *new], kind)
        self.shown = [*shown[:-length], *self.shown]

    @rule(kind=KINDS, length=st.integers(1, 4))
    def forgets_the_beginning(self, kind: str, length: int) -> None:
        self.shown = self.shown[-length:]
        self.sends_all(kind)

    def take_back(self, before: list[Message], new: list[Message], kind: str) -> None:
        """Send what is before a message that the client holds, and say something else in its place."""
        at = len(self.expected) - len(self.shown) + len(before)
        common = self.expected[max(0, at - len(before)) : max(0, at)]
        assert common == before[len(before) - len(common) :], "no text occurs twice"
        speaks = any(message.role == "assistant" for message in common)
        # Where all that both hold is too little to know it by, it is what the client shows.
        self.send([*before, *new], [*(self.expected[:at] if speaks else before), *new], kind)

    @precondition(lambda self: any(message.role == "assistant" for message in self.shown[:-2]))
    @rule(kind=KINDS, data=st.data())
    def edits_what_was_said(self, kind: str, data: st.DataObject) -> None:
        numbers = [n for n in range(1, len(self.shown)) if self.shown[n - 1].role == "assistant"]
        number = data.draw(st.sampled_from(numbers))
        calls = self.shown[number - 1].tool_calls
        self.take_back(self.shown[:number], [result(one.id, self.text()) for one in calls] or [user(self.text())], kind)

    @precondition(lambda self: any(message.role == "assistant" for message in self.shown[:-1]))
    @rule(kind=KINDS)
    def asks_again(self, kind: str) -> None:
        self.take_back(self.shown[:-1], [], kind)

    @precondition(lambda self: any(message.role == "assistant" for message in self.shown[:-1]))
    @rule(kind=KINDS)
    def edits_the_answer(self, kind: str) -> None:
        self.take_back(self.shown[:-1], [answer(self.text()), user(self.text())], kind)

    @rule(kind=KINDS, length=st.integers(1, 3))
    def shows_another_conversation(self, kind: str, length: int) -> None:
        request = [one for _ in range(length) for one in (user(self.text()), answer(self.text()))] + [user(self.text())]
        self.send(request, request, kind)

    @precondition(lambda self: len(self.turns) > 1)
    @rule(data=st.data())
    def the_session_is_trimmed(self, data: st.DataObject) -> None:
        gone = data.draw(st.integers(1, len(self.turns) - 1))
        self.expected = self.expected[len(seen(self.turns[:gone])) :]
        self.turns = self.turns[gone:]
        self.trimmed = True

    @invariant()
    def the_session_is_what_a_reader_expects(self) -> None:
        if not hasattr(self, "turns"):
            return
        clean = [message._replace(text=message.text.strip(), name=None) for message in seen(self.turns)]
        calls = [tuple(one._replace(arguments='{"a": 1}') for one in message.tool_calls) for message in clean]
        clean = [message._replace(tool_calls=made) for message, made in zip(clean, calls, strict=True)]
        assert clean == self.expected
        texts = [message.text.strip() for message in messages_of(self.turns)]
        assert len({*texts} - {"result"}) == len([one for one in texts if one != "result"]), "nothing is there twice"
        assert None not in coherent(messages_of(self.turns)) or self.trimmed


Client.TestCase.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
TestClient = Client.TestCase


def test_messages_that_repeat_for_ever_are_read_in_one_pass() -> None:
    turns = [Turn(str(n), (user("a"),), (answer("a"),)) for n in range(5000)]
    request = [*(one for _ in range(5000) for one in (user("a"), answer("a"))), user("b")]
    began = time.process_time()
    for messages in (request, request[1:], request[:5000] + talk("x a u"), request[1:5000] + talk("x a u")):
        added = addition(turns, True, messages, Bounds(10**9, 10**9))
        assert added.asked
    assert time.process_time() - began < 5
