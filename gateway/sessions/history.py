"""What a request adds to its session, and how much of the session a model is given."""

from __future__ import annotations

from collections.abc import Sequence

from ..model.chat import Message
from ..model.session import Turn

__all__ = ["characters", "messages_of", "surplus"]

# What a message takes besides its characters; otherwise empty ones would be free, and their number without a bound.
MESSAGE_CHARACTERS = 100


def messages_of(turns: Sequence[Turn]) -> tuple[Message, ...]:
    """The conversation, oldest message first."""
    return tuple(message for turn in turns for message in (*turn.asked, *turn.answered))


def characters(turn: Turn) -> int:
    """How much a turn counts; a message some characters more than it has."""
    total = 0
    for message in (*turn.asked, *turn.answered):
        total += MESSAGE_CHARACTERS + len(message.text) + len(message.name or "") + len(message.tool_call_id or "")
        total += sum(len(call.id) + len(call.name) + len(call.arguments) for call in message.tool_calls)
    return total


def surplus(turns: Sequence[Turn], most_characters: int) -> int:
    """How many of the oldest turns have to go; the latest always stays."""
    size = sum(map(characters, turns))
    gone = 0
    while size > most_characters and gone < len(turns) - 1:
        size -= characters(turns[gone])
        gone += 1
    return gone
