"""A session as people read it, and as programs do.

For programs it is one JSON object: `key`, `model`, `created_at`, `updated_at`, `trimmed` (older turns were there once)
and `turns`, each with `run_id`, `at` and `messages` in the form of OpenAI's chat API, pictures as `data:` URLs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..messages import document_of
from ..model.chat import Image, Message
from ..model.session import Session, SessionInfo, Turn
from .console import legible, moment

__all__ = ["document", "readable"]


def document(info: SessionInfo, session: Session) -> dict[str, Any]:
    """A session for programs."""
    return {
        "key": info.key,
        "model": info.model,
        "created_at": info.created_at,
        "updated_at": info.updated_at,
        "trimmed": session.trimmed,
        "turns": [_turn(turn) for turn in session.turns],
    }


def _turn(turn: Turn) -> dict[str, Any]:
    messages = [document_of(message) for message in (*turn.asked, *turn.answered)]
    return {"run_id": turn.run_id, "at": turn.at, "messages": messages}


def readable(info: SessionInfo, session: Session) -> Iterator[str]:
    """Lines for people.  Only what begins a turn stands at the left edge: no message can look like another."""
    yield f"session    {legible(info.key)}"
    if info.model is not None:
        yield f"model      {legible(info.model)}"
    yield f"begun      {moment(info.created_at)}"
    yield f"last used  {moment(info.updated_at)}"
    yield f"turns      {info.turns}{', after others that had to go' if session.trimmed else ''}"
    for turn in session.turns:
        yield ""
        yield f"{moment(turn.at)}  run {legible(turn.run_id)}"
        for message in (*turn.asked, *turn.answered):
            yield from _lines(message)


def _lines(message: Message) -> Iterator[str]:
    who = message.role if message.name is None else f"{message.role} {message.name}"
    if message.tool_call_id is not None:
        who = f"{who} ({message.tool_call_id})"
    yield f"  {legible(who)}:"
    for text in message.text.splitlines():
        yield f"    {legible(text)}"
    for part in message.parts:
        if isinstance(part, Image):
            yield f"    [{legible(part.media_type)}, {len(part.data)} bytes]"
    for call in message.tool_calls:
        yield f"    calls {legible(f'{call.name}({call.arguments})')} ({legible(call.id)})"
