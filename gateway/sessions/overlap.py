"""What of a request the session knows already.

Most clients send the whole conversation each time, some the last messages of it, some only what is new.  The request is
laid over what the client has seen of the session, where most of it fits; what it shows beyond that place is new, and
what the session holds beyond it the client has taken back (it has edited or regenerated).

Compared is what a client can send back: the role, the text (without white space around it), the calls (arguments as
JSON values), pictures.  Of the gateway's own tool calls it has seen the texts only, in one message with the answer.
Not every client shows tool calls, or answers that say nothing: one that shows none at all is not asked for them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..model.chat import Image, Message, ToolCall
from ..model.run import INSTRUCTIONS
from ..model.session import Turn
from ..records import NamedTuple
from .history import Bounds, recent

__all__ = ["Addition", "addition"]


class Addition(NamedTuple):
    """How a request goes on: after the first `keep` turns of its session, with `asked`."""

    keep: int
    asked: tuple[Message, ...]


def addition(turns: Sequence[Turn], trimmed: bool, messages: Sequence[Message], bounds: Bounds) -> Addition:
    """What a request's `messages` add to a session.  `trimmed`: it had turns before these.

    Without a message of the assistant in it, all of a request is new: a greeting that comes again is not a repetition.
    With one, but without a part that the session knows, the client shows another conversation: it takes the place of
    this one.
    """
    said = _said(messages)
    if not turns or not any(message.role == "assistant" for message in said):
        return Addition(len(turns), said)
    shown = [_token(message) for message in said]
    tools = any(message.tool_calls or message.role in _RESULTS for message in said)
    seen, places = _seen(turns, tools, empty=_NOTHING in shown)
    whole = shown[: len(seen)] == seen  # as most clients show it
    # What did not fit was cut before it was stored: then what the request begins with may be too old, too.
    cut = trimmed or (not whole and recent((*said, _ANSWER), bounds) > 0)
    found = _overlap(seen, shown, cut) if cut or not whole else _Overlap(len(seen), len(seen))
    if found is None or not any(token[0] == "assistant" for token in shown[: found.shown_end]):
        return Addition(0, said)
    turn, number = places[found.seen_end - 1]
    return _go_on(turns, turn, number, said[found.shown_end - 1], said[found.shown_end :])


def _said(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Without instructions, and without an empty answer at the end, where some clients put the next one."""
    said = [message for message in messages if message.role not in INSTRUCTIONS]
    while len(said) > 1 and _token(said[-1]) == _NOTHING:
        said.pop()
    return tuple(said)


def _go_on(turns: Sequence[Turn], at: int, number: int, shown: Message, rest: tuple[Message, ...]) -> Addition:
    """How to go on after the message `number` of the turn `at`, the last that both know; see `_seen`.

    `shown` is what the request shows of it, and `rest` what it says after that.
    """
    turn = turns[at]
    asked = turn.asked
    if number < len(asked):
        left_out = rest and rest[0].role != "assistant" and _token(_told(turn)) == _NOTHING
        if left_out and number == len(asked) - 1:
            return Addition(at + 1, rest)  # it only does not repeat an answer that says nothing
        return Addition(at, (*asked[: number + 1], *rest))
    if rest:
        return Addition(at + 1, rest)
    # It ends with the answer, which is to be continued: then the turn is made anew, so that there is something to ask.
    return Addition(at, (*asked, shown))


# What is compared.

_RESULTS = frozenset({"tool", "function"})
_ANSWER = Message("assistant", "")
_Token = tuple[Any, ...]
_NOTHING: _Token = ("assistant", "")


def _seen(turns: Sequence[Turn], tools: bool, empty: bool) -> tuple[list[_Token], list[tuple[int, int]]]:
    """What the client has seen of the turns, and where that stands.

    A place is the number of the turn, and that of the message within `asked`; the answer comes after all of these.
    `tools` and `empty` tell whether the client shows tool calls, and answers that say nothing.
    """
    tokens: list[_Token] = []
    places: list[tuple[int, int]] = []
    for at, turn in enumerate(turns):
        for number, message in enumerate((*turn.asked, _told(turn))):
            if tools or not (message.tool_calls or message.role in _RESULTS):
                token = _token(message)
            elif message.role in _RESULTS:
                continue
            else:
                token = _token(message._replace(tool_calls=()))
            if empty or token != _NOTHING:
                tokens.append(token)
                places.append((at, number))
    return tokens, places


def _told(turn: Turn) -> Message:
    """The answer of a turn as the client saw it."""
    if len(turn.answered) == 1:
        return turn.answered[0]
    texts = [message.text for message in turn.answered if message.role == "assistant"]
    calls = turn.answered[-1].tool_calls if turn.answered else ()
    return Message("assistant", "".join(texts), tool_calls=calls)


def _token(message: Message) -> _Token:
    """What is compared of a message."""
    role, text, _, call_id, calls, parts = message
    text = text.strip()
    if "\r" in text:  # as web pages make of line ends what they like
        text = text.replace("\r\n", "\n")
    if not (call_id or calls or parts):  # as most are
        return role, text
    pictures = tuple(part.data for part in parts if isinstance(part, Image))
    return role, text, call_id, tuple(map(_call, calls)), pictures


def _call(call: ToolCall) -> _Token:
    try:
        arguments = json.dumps(json.loads(call.arguments), sort_keys=True)
    except (ValueError, RecursionError):  # a model wrote it
        arguments = call.arguments.strip()
    return call.id, call.name, arguments


# How they lie over each other.


class _Overlap(NamedTuple):
    """The part that both hold ends before these numbers."""

    seen_end: int
    shown_end: int


def _overlap(seen: list[_Token], shown: list[_Token], cut: bool) -> _Overlap | None:
    """The longest part that both hold, and that begins where the request does.

    With `cut` it may begin where the session does instead, and the request shows what is older.
    """
    number: dict[_Token, int] = {}
    text = [number.setdefault(token, len(number)) for token in seen]
    pattern = [number.setdefault(token, len(number)) for token in shown]
    length, end = _longest_prefix(pattern, text)
    found = [(length, _Overlap(end, length))]
    if cut:
        length, end = _longest_prefix(text, pattern)
        found.append((length, _Overlap(length, end)))
    speaks = (
        (length, one.seen_end == len(seen), one.shown_end, one)
        for length, one in found
        if any(token[0] == "assistant" for token in shown[one.shown_end - length : one.shown_end])
    )
    # Of two that are as long, the one that takes nothing back, and leaves less of the request over.
    return max(speaks, default=(0, False, 0, None))[3]


def _longest_prefix(pattern: list[int], text: list[int]) -> tuple[int, int]:
    """The length of the longest beginning of `pattern` that stands in `text`, and where that ends, the last time.

    In one pass over each (Knuth, Morris and Pratt, 1977): both come from clients, and can repeat themselves for ever.
    """
    borders = [0] * len(pattern)
    state = 0
    for at in range(1, len(pattern)):
        while state and pattern[at] != pattern[state]:
            state = borders[state - 1]
        state += pattern[at] == pattern[state]
        borders[at] = state
    best = end = state = 0
    for at, token in enumerate(text):
        while state and (state == len(pattern) or token != pattern[state]):
            state = borders[state - 1]
        state += bool(pattern) and token == pattern[state]
        if state and state >= best:
            best, end = state, at + 1
    return best, end
