"""How much of a session is kept, and of what is kept a model is given.

What is counted and cut here are turns as people see them: each begins at a message of the user that follows one of
another role, and holds all that comes up to the next, tool calls and their results too.  The turns of a session
(`model.session.Turn`) are what single requests added; where a client brought a conversation that began elsewhere, one
of them holds many of the others.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..model.chat import Image, Message
from ..model.session import Turn
from ..records import NamedTuple

__all__ = [
    "Bounds",
    "characters",
    "coherent",
    "following",
    "kept",
    "messages_of",
    "overgrown",
    "picture",
    "recent",
    "size",
    "stray",
]

# What a message takes besides its characters; otherwise empty ones would be free, and their number without a bound.
MESSAGE_CHARACTERS = 100
# A picture costs a model some thousand tokens, whatever its size ...
IMAGE_CHARACTERS = 4_000
# ... and the store its bytes: at this rate 400,000 characters hold 12 MB of pictures.
IMAGE_BYTES = 32

# The newest turn may grow, request by request, to so many times what is kept of others.
TURN_FACTOR = 4


class Bounds(NamedTuple):
    """What a session may hold.  The newest turn stays whole, whatever its size."""

    characters: int = 400_000
    turns: int = 200


def messages_of(turns: Sequence[Turn]) -> tuple[Message, ...]:
    """The conversation, oldest message first."""
    return tuple(message for turn in turns for message in (*turn.asked, *turn.answered))


def following(turns: Sequence[Turn]) -> int:
    """The number of the message that comes after these, among all that were ever said in their session."""
    number = 1
    for turn in turns:  # the older ones do not tell
        number = (turn.first or number) + len(turn.asked) + len(turn.answered)
    return number


def size(message: Message) -> int:
    """How much a message counts, in characters."""
    _, text, name, call_id, calls, parts = message
    total = MESSAGE_CHARACTERS + len(text)
    if name or call_id or calls or parts:  # few have any of it, and this is asked of each message at each run
        total += len(name or "") + len(call_id or "")
        total += sum(len(call.id) + len(call.name) + len(call.arguments) for call in calls)
        total += sum(picture(part) for part in parts if isinstance(part, Image))
    return total


def picture(image: Image) -> int:
    """How much a picture counts, in characters."""
    return IMAGE_CHARACTERS + len(image.data) // IMAGE_BYTES


def characters(turn: Turn) -> int:
    """How much a turn counts."""
    return sum(map(size, turn.asked)) + sum(map(size, turn.answered))


def recent(messages: Sequence[Message], bounds: Bounds) -> int:
    """The number of the first message that is not too old to be kept."""
    first = total = turns = 0
    for number in range(len(messages) - 1, -1, -1):
        total += size(messages[number])
        if total > bounds.characters and turns:
            break
        if messages[number].role == "user" and (number == 0 or messages[number - 1].role != "user"):
            first = number
            turns += 1
            if turns == bounds.turns:
                break
    else:
        first = 0  # what stands before the first message of a user belongs to it
    return first


def kept(turns: Sequence[Turn], turn: Turn, bounds: Bounds) -> tuple[int, Turn]:
    """How many of the oldest turns have to go for a new one, and the new one without what of it is too old already.

    A turn of the session stays as long as the last of what it holds does.
    """
    cut = recent(messages_of((*turns, turn)), bounds)
    for number, one in enumerate(turns):
        cut -= len(one.asked) + len(one.answered)
        if cut < 0:
            return number, turn
    if not cut:
        return len(turns), turn
    return len(turns), turn._replace(asked=turn.asked[cut:], first=turn.first and turn.first + cut)


def coherent(messages: Sequence[Message]) -> list[Message | None]:
    """The conversation with None for calls that nobody answered and results that nobody asked for: no model takes them.

    The calls at the end stay: their results are still to come.
    """
    found: list[Message | None] = [*messages]
    number = 0
    while number < len(messages):
        message = messages[number]
        at, number = number, number + 1
        if not message.tool_calls:
            if message.tool_call_id is not None:
                found[at] = None
            continue
        if number == len(messages):
            break
        open_calls = {call.id for call in message.tool_calls}
        answered = set()
        while number < len(messages) and (call_id := messages[number].tool_call_id) is not None:
            if call_id in open_calls:
                open_calls.remove(call_id)
                answered.add(call_id)
            else:
                found[number] = None
            number += 1
        if open_calls:
            calls = tuple(call for call in message.tool_calls if call.id in answered)
            found[at] = message._replace(tool_calls=calls) if calls or message.text else None
    return found


def stray(messages: Sequence[Message]) -> str | None:
    """The id of a call that the last messages give the result of, and that was never made; None where there is none."""
    results: list[str] = []
    for message in reversed(messages):
        if message.role == "assistant":
            made = {call.id for call in message.tool_calls}
            return next((one for one in reversed(results) if one not in made), None)
        if message.tool_call_id is not None:
            results.append(message.tool_call_id)
    return results[-1] if results else None


def overgrown(messages: Sequence[Message], new: int, bounds: Bounds) -> bool:
    """Whether the newest turn, to which the last `new` messages are added, was too long before them.

    It is never cut: without an end, a client that calls tools for ever would fill the store with it.
    """
    first = recent(messages, Bounds(0, 1))
    return sum(map(size, messages[first : len(messages) - new])) > TURN_FACTOR * bounds.characters
