"""Turns as bytes: JSON in UTF-8, with pictures beside it.

The JSON is `{"v": 1, "asked": [message, ...], "answered": [message, ...]}`, and those of `began`, `first`, `agent`,
`model`, `usage` and `finish` of `Turn` that differ from its defaults.  A message has the members of `Message`
that are not empty; a picture among its `parts` is `{"image": n, "media_type": ..., "detail": ..., "url": ...}`, where n
counts the pictures of the turn from 0.  Lone surrogates, which JSON may hold and UTF-8 may not, are written as if they
were characters.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..errors import GatewayError
from ..model.chat import Image, Message, Part, ToolCall
from ..model.run import NO_USAGE, Usage
from ..model.session import Turn
from ..records import NamedTuple

__all__ = ["VERSION", "Encoded", "UnreadableError", "decode", "encode"]

VERSION = 1

_dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


class UnreadableError(GatewayError):
    """Bytes that no version of this program known here has written; the text says why."""


class Encoded(NamedTuple):
    """What `encode` gives.  `images` are the pictures, in their order."""

    payload: bytes
    images: tuple[bytes, ...]

    @property
    def size(self) -> int:
        """Of all, in bytes."""
        return len(self.payload) + sum(map(len, self.images))


def encode(turn: Turn) -> Encoded:
    """The messages of a turn; run id and time are not part of it."""
    images: list[bytes] = []
    document: dict[str, Any] = {
        "v": VERSION,
        "asked": [_packed(message, images) for message in turn.asked],
        "answered": [_packed(message, images) for message in turn.answered],
    }
    if turn.began:
        document["began"] = turn.began
    if turn.first:
        document["first"] = turn.first
    if turn.agent:
        document["agent"] = turn.agent
    if turn.model is not None:
        document["model"] = turn.model
    if turn.usage != NO_USAGE:
        document["usage"] = list(turn.usage)
    if turn.finish != "stop":
        document["finish"] = turn.finish
    return Encoded(_dump(document).encode("utf-8", "surrogatepass"), tuple(images))


def decode(payload: bytes, images: Sequence[bytes], run_id: str, at: float) -> Turn:
    """The turn that was encoded.  Raises UnreadableError."""
    try:
        document = json.loads(payload.decode("utf-8", "surrogatepass"))
        if document["v"] != VERSION:
            raise UnreadableError(f"a turn is in version {document['v']!r} of its format; this program knows {VERSION}")
        asked = tuple([_unpacked(message, images) for message in document["asked"]])
        answered = tuple([_unpacked(message, images) for message in document["answered"]])
        began, first = float(document.get("began", 0.0)), int(document.get("first", 0))
        usage = Usage(*map(_count, document.get("usage", (0, 0))))
        agent, model, finish = document.get("agent", ""), document.get("model"), document.get("finish", "stop")
        if not isinstance(agent, str) or not isinstance(model, str | None) or not isinstance(finish, str):
            raise TypeError("text was expected")
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, OverflowError) as error:
        raise UnreadableError(f"a turn is damaged ({type(error).__name__})") from error
    return Turn(run_id, asked, answered, at, began, first, agent, model, usage, finish)


def _packed(message: Message, images: list[bytes]) -> dict[str, Any]:
    packed: dict[str, Any] = {"role": message.role, "text": message.text}
    if message.name is not None:
        packed["name"] = message.name
    if message.tool_call_id is not None:
        packed["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        packed["tool_calls"] = [call._asdict() for call in message.tool_calls]
    if message.parts:
        packed["parts"] = [_packed_part(part, images) for part in message.parts]
    return packed


def _packed_part(part: Part, images: list[bytes]) -> str | dict[str, Any]:
    if isinstance(part, str):
        return part
    images.append(part.data)
    packed: dict[str, Any] = {"image": len(images) - 1, "media_type": part.media_type}
    if part.detail is not None:
        packed["detail"] = part.detail
    if part.url is not None:
        packed["url"] = part.url
    return packed


def _unpacked(packed: dict[str, Any], images: Sequence[bytes]) -> Message:
    return Message(
        _text(packed["role"]),
        _text(packed["text"]),
        packed.get("name"),
        packed.get("tool_call_id"),
        tuple([ToolCall(call["id"], call["name"], call["arguments"]) for call in packed.get("tool_calls", ())]),
        tuple([_unpacked_part(part, images) for part in packed.get("parts", ())]),
    )


def _unpacked_part(part: str | dict[str, Any], images: Sequence[bytes]) -> Part:
    if isinstance(part, str):
        return part
    return Image(part["media_type"], images[part["image"]], part.get("detail"), part.get("url"))


def _count(value: object) -> Any:
    if value is None or isinstance(value, int):
        return value
    raise TypeError("a number was expected")


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise TypeError("text was expected")
