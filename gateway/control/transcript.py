"""What was said in a session, as clients read it: one row for each message."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..model.chat import Image, Message, ToolCall
from ..model.names import PUBLIC
from ..model.run import NO_USAGE
from ..model.session import Turn

__all__ = ["MARK", "MESSAGE_BYTES", "asked_rows", "bounded", "cut", "rows_of", "size"]

MARK = f"__{PUBLIC}"
"""The member of a row that tells what it is: its id, its number in the session (`seq`), and the run it is from."""

MESSAGE_BYTES = 131_072
"""Of one message of an answer that holds many; longer texts are cut.  The product's number."""
CUT = "\n...(truncated)..."

_STOP_REASONS = {"tool_calls": "toolUse"}

_dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def rows_of(turns: Iterable[Turn]) -> Iterator[dict[str, Any]]:
    """The rows of all messages of these turns, the oldest first."""
    number = 1
    names: dict[str, str] = {}
    for turn in turns:
        number = turn.first or number
        began = int((turn.began or turn.at) * 1000)
        yield from asked_rows(turn.run_id, turn.asked, number, began, names)
        number += len(turn.asked)
        last = len(turn.answered) - 1
        for place, message in enumerate(turn.answered):
            row = _row(message, names)
            row["timestamp"] = int(turn.at * 1000)
            row[MARK] = {"id": f"{turn.run_id}:a{place}", "seq": number, "runId": turn.run_id}
            if place == last and message.role == "assistant":
                row |= _told(turn)
            elif message.role == "assistant":
                row["stopReason"] = "toolUse"
            yield row
            number += 1


def asked_rows(
    run_id: str, asked: tuple[Message, ...], first: int, at: int, names: dict[str, str] | None = None
) -> Iterator[dict[str, Any]]:
    """The rows of what a run was asked.  `at` in milliseconds since the epoch; `first` is the number of the first."""
    names = {} if names is None else names
    for place, message in enumerate(asked):
        row = _row(message, names)
        row["timestamp"] = at
        # Counted from the end: what is too old goes from the beginning.
        mark: dict[str, Any] = {"id": f"{run_id}:u{len(asked) - place}", "seq": first + place}
        if message.role == "user" and place == len(asked) - 1:
            row["idempotencyKey"] = mark["idempotencyKey"] = f"{run_id}:user"
        row[MARK] = mark
        yield row


def _told(turn: Turn) -> dict[str, Any]:
    """What is known of an answer besides its text."""
    told: dict[str, Any] = {"stopReason": _STOP_REASONS.get(turn.finish, turn.finish)}
    if turn.model:
        told["provider"], _, told["model"] = turn.model.partition("/")
    if turn.usage != NO_USAGE:
        prompt, completion, cached, _ = turn.usage
        told["usage"] = {
            "input": prompt, "output": completion, "totalTokens": prompt + completion, "cacheRead": cached or 0,
            "cacheWrite": 0,
        }  # fmt: skip
    return told


def _row(message: Message, names: dict[str, str]) -> dict[str, Any]:
    """One message.  `names` are those of the tools that were called, by the ids of the calls."""
    if message.role == "assistant":
        content = _content(message) if message.text or message.parts else []
        for call in message.tool_calls:
            names[call.id] = call.name
            content.append(_call(call))
        return {"role": "assistant", "content": content}
    if message.role == "tool":
        call_id = message.tool_call_id or ""
        named = {"toolCallId": call_id, "toolName": names.get(call_id, message.name or "")}
        return {"role": "toolResult", **named, "content": _content(message), "isError": False}
    return {"role": message.role, "content": _content(message) if message.parts else message.text}


def _content(message: Message) -> list[dict[str, Any]]:
    parts = message.parts or (message.text,)
    return [_image(part) if isinstance(part, Image) else {"type": "text", "text": part} for part in parts]


def _image(image: Image) -> dict[str, Any]:
    """That there was a picture: itself it would be larger than all that was said."""
    return {"type": "image", "mimeType": image.media_type, "omitted": True, "bytes": len(image.data)}


def _call(call: ToolCall) -> dict[str, Any]:
    try:
        arguments = json.loads(call.arguments)
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        arguments = {"input": call.arguments}
    return {"type": "toolCall", "id": call.id, "name": call.name, "arguments": arguments}


# -- how much of it an answer holds


def size(row: Mapping[str, Any]) -> int:
    """In bytes, as JSON."""
    return len(_dump(row).encode("utf-8", "surrogatepass"))


def cut(row: dict[str, Any], characters: int | None) -> dict[str, Any]:
    """The row with texts of so many characters at most, and of `MESSAGE_BYTES` in all."""
    if characters is not None:
        row = {**row, "content": _shortened(row["content"], characters)}
    limit = MESSAGE_BYTES
    while limit > 64 and size(row) > MESSAGE_BYTES:
        limit = limit * 3 // 4
        row = {**row, "content": _shortened(row["content"], limit)}
    return row if limit > 64 else {**row, "content": [{"type": "text", "text": "(too large to be shown)"}]}


def _shortened(value: Any, characters: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= characters else value[:characters] + CUT
    if isinstance(value, list):
        return [_shortened(one, characters) for one in value]
    if isinstance(value, dict):
        return {name: _shortened(member, characters) for name, member in value.items()}
    return value


def bounded(rows: list[dict[str, Any]], limit: int) -> list[dict[str, Any]]:
    """The last of these rows, of so many bytes at most; one at least."""
    total = 2
    for number in range(len(rows) - 1, -1, -1):
        total += size(rows[number]) + 1
        if total > limit and number < len(rows) - 1:
            return rows[number + 1 :]
    return rows
