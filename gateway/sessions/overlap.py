"""What of a request the session knows already.

Most clients send the whole conversation each time, some the last messages of it, some only what is new.  The request is
laid over what the client has seen of the session, where most of it fits; what it shows beyond that place is new, and
what the session holds beyond it the client has taken back (it has edited or regenerated).

Compared is what a client can send back: the role, the text (without white space around it), the calls (arguments as
JSON values), pictures.  Of the gateway's own tool calls it has seen the texts only, in one message with the answer.
Messages that say nothing are passed over, and a client that shows no tool calls at all is not asked for them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..model.chat import Image, Message, ToolCall
from ..model.run import INSTRUCTIONS
from ..model.session import Turn
from .history import Bounds, recent

__all__ = ["Addition", "addition"]


class Addition(NamedTuple):
    """How a request goes on: after the first `keep` turns of its session, with `asked`."""

    keep: int
    asked: tuple[Message, ...]


class _Place(NamedTuple):
    """Where a message that the client has seen stands: the turn, and the number within `asked`, or -1: the answer."""

    turn: int
    number: int


def addition(turns: Sequence[Turn], trimmed: bool, messages: Sequence[Message], bounds: Bounds) -> Addition:
    """What a request's `messages` add to a session.  `trimmed`: it had turns before these.

    Without a message of the assistant in it, all of a request is new: a greeting that comes again is not a repetition.
    With one, but without a part that the session knows, the client shows another conversation: it takes the place of
    this one.
    """
    said = tuple(message for message in messages if message.role not in INSTRUCTIONS)
    if not turns or not any(message.role == "assistant" for message in said):
        return Addition(len(turns), said)
    shows_tools = any(message.tool_calls or message.role in _RESULTS for message in said)
    seen, places = _seen(turns, shows_tools)
    shown, numbers = _shown(said)
    cut = trimmed or recent((*said, _ANSWER), bounds) > 0  # then what the request begins with may be too old
    if (found := _overlap(seen, shown, cut)) is None:
        return Addition(0, said)
    rest = said[numbers[found.shown_end] :] if found.shown_end < len(numbers) else ()
    return _go_on(turns, places[found.seen_end - 1], said[numbers[found.shown_end - 1]], rest)


def _go_on(turns: Sequence[Turn], last: _Place, shown: Message, rest: tuple[Message, ...]) -> Addition:
    """`last` is where the last message stands that both know, and `shown` what the request shows of it.

    `rest` is what it says after that.
    """
    turn = turns[last.turn]
    if last.number >= 0:
        known = turn.asked[: last.number + 1]
        whole = last.number == len(turn.asked) - 1
        if whole and rest and _is_empty(_told(turn)):  # the client did not repeat an answer that says nothing
            return Addition(last.turn + 1, rest)
        return Addition(last.turn, (*known, *rest))
    if rest:
        return Addition(last.turn + 1, rest)
    # It ends with the answer, which is to be continued: then the turn is made anew, so that there is something to ask.
    return Addition(last.turn, (*turn.asked, shown))


# What may stand where.

_RESULTS = frozenset({"tool", "function"})
_ANSWER = Message("assistant", "")
_Token = tuple[Any, ...]


def _seen(turns: Sequence[Turn], shows_tools: bool) -> tuple[list[_Token], list[_Place]]:
    """What the client has seen of the turns, and where it stands."""
    tokens: list[_Token] = []
    places: list[_Place] = []
    for index, turn in enumerate(turns):
        for number, message in (*enumerate(turn.asked), (-1, _told(turn))):
            told = message if shows_tools else message._replace(tool_calls=())
            if not _is_empty(told) and (shows_tools or message.role not in _RESULTS):
                tokens.append(_token(told))
                places.append(_Place(index, number))
    return tokens, places


def _shown(said: Sequence[Message]) -> tuple[list[_Token], list[int]]:
    """What the request shows, and the numbers of these messages in it."""
    numbers = [number for number, message in enumerate(said) if not _is_empty(message)]
    return [_token(said[number]) for number in numbers], numbers


def _told(turn: Turn) -> Message:
    """The answer of a turn as the client saw it."""
    if len(turn.answered) == 1:
        return turn.answered[0]
    texts = [message.text for message in turn.answered if message.role == "assistant"]
    calls = turn.answered[-1].tool_calls if turn.answered else ()
    return Message("assistant", "".join(texts), tool_calls=calls)


def _is_empty(message: Message) -> bool:
    """Whether it is an answer that says nothing; clients leave these out, or not."""
    return message.role == "assistant" and not (message.tool_calls or message.text.strip())


def _token(message: Message) -> _Token:
    """What is compared of a message."""
    text = message.text.strip()
    if "\r" in text:  # as web pages make of line ends what they like
        text = text.replace("\r\n", "\n")
    pictures = tuple(part.data for part in message.parts if isinstance(part, Image))
    return message.role, text, message.tool_call_id, tuple(map(_call, message.tool_calls)), pictures


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
