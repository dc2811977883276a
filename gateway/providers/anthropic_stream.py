"""The answer of Anthropic's Messages API, read without a socket: bytes to pieces.

Source: https://docs.anthropic.com/en/api/messages-streaming.  An answer is a list of blocks, each of which starts,
comes in deltas, and stops.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from ..model.run import FinishReason, ReasoningDelta, ToolCallDelta, Usage
from .calls import CALLS, CallIds, new_call_id
from .dialect import Piece
from .events import EventReader, member, text_of, tokens, well_formed
from .settings import Provider
from .thoughts import BLOCK_CHARACTERS, THINKING_CHARACTERS, Keep

__all__ = ["MessageReader"]

# `pause_turn` comes only with tools that run at Anthropic, which nobody here asks for.
_FINISH_REASONS: dict[str, FinishReason] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}

# https://docs.anthropic.com/en/api/errors
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


T = TypeVar("T", str, "_Block")


class _Block:
    """What the deltas of a block belong to.  `number`: of the call that it is, None for others."""

    __slots__ = ("data", "kind", "number", "signature", "told", "whole")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.number: int | None = None
        self.told = False  # something of the arguments
        self.whole = False  # all of them
        self.data: list[str] = []  # of thoughts
        self.signature: list[str] = []

    def thought(self) -> dict[str, str]:
        """As the API wants it back."""
        if self.kind == "redacted_thinking":
            return {"type": self.kind, "data": "".join(self.data)}
        return {"type": self.kind, "thinking": "".join(self.data), "signature": "".join(self.signature)}


class MessageReader(EventReader):
    """See `dialect.Reader`.  `keep` takes what was thought before each call.

    `new_id` makes the ids of calls that come without one.
    """

    __slots__ = ("_block", "_calls", "_counts", "_ids", "_keep", "_thinking", "_thought")

    answer = "a message"
    sign = "a message_stop"

    def __init__(self, provider: Provider, model: str, keep: Keep, new_id: Callable[[], str] = new_call_id) -> None:
        super().__init__(provider, model)
        self._ids = CallIds(new_id)
        self._keep = keep
        self._block = _Block("")
        self._calls = 0
        self._counts: dict[str, int] = {}
        self._thinking: list[_Block] = []
        self._thought = 0  # characters

    def _read(self, document: dict[str, Any]) -> list[Piece]:
        kind = document.get("type")
        match kind:
            case "content_block_delta":
                return self._delta(member(document, "delta"))
            case "content_block_start":
                return self._end() + self._start(member(document, "content_block"))
            case "content_block_stop":
                return self._end()
            case "message_start":
                self._count(member(member(document, "message"), "usage"))
            case "message_delta":
                self._count(member(document, "usage"))
                self._stop(member(document, "delta").get("stop_reason"))
            case "message_stop":
                self._finish()
            case "error":
                self._refused(_status(document.get("error")), document)
            case str():
                pass  # `ping`, and whatever else there may be one day
            case _:
                self._fail("sent something that is not an event of a message")
        return []

    def _whole(self, document: dict[str, Any]) -> list[Piece]:
        if document.get("type") == "error":
            self._refused(_status(document.get("error")), document)
            return []
        blocks = document.get("content")
        if not isinstance(blocks, list):
            return []
        pieces = [piece for block in blocks if isinstance(block, dict) for piece in self._start(block, whole=True)]
        self._count(member(document, "usage"))
        self._stop(document.get("stop_reason"))
        return pieces

    def _done(self) -> None:
        """`[DONE]`, which servers send that otherwise speak OpenAI's API."""
        self._finish()

    def _finish(self) -> None:
        self.ended = True
        if self.finish_reason is None:
            self._fail("ended its message without a stop_reason", retryable=True)

    def _stop(self, reason: object) -> None:
        if isinstance(reason, str):
            self.finish_reason = _FINISH_REASONS.get(reason, "stop")
            if self._calls and self.finish_reason == "stop":
                self.finish_reason = "tool_calls"
            elif not self._calls and self.finish_reason == "tool_calls":
                self.finish_reason = "stop"

    def _start(self, content: dict[str, Any], *, whole: bool = False) -> list[Piece]:
        self._block = block = _Block(text_of(content, "type"))
        match block.kind:
            case "text":
                text = text_of(content, "text")
                return [text] if text else []
            case "thinking":
                self._think(self._thinking, block, BLOCK_CHARACTERS)
                text = text_of(content, "thinking")
                self._think(block.data, text, len(text))
                signature = text_of(content, "signature")
                self._think(block.signature, signature, len(signature))
                return [ReasoningDelta(text)] if text else []
            case "redacted_thinking":
                self._think(self._thinking, block, BLOCK_CHARACTERS)
                data = text_of(content, "data")
                self._think(block.data, data, len(data))
            case "tool_use":
                return self._call(content, whole=whole)
            case _:
                pass  # tools that run at Anthropic: nobody here asks for them
        return []

    def _call(self, content: dict[str, Any], *, whole: bool) -> list[Piece]:
        name = text_of(content, "name")
        if not name or self._calls >= CALLS:
            self._fail("asks for the call of a tool without its name" if not name else f"makes more than {CALLS} calls")
            return []
        call_id = self._ids.take(text_of(content, "id"))
        block = self._block
        block.number = self._calls
        if self._thinking and not self._calls and self._thought <= THINKING_CHARACTERS:
            self._keep(call_id, [thought.thought() for thought in self._thinking])
        self._calls += 1
        if self.finish_reason == "stop":
            self.finish_reason = "tool_calls"
        # In a stream the input is an empty object here, and comes in deltas; not from all servers.
        given = content.get("input")
        block.whole = block.told = bool(given) or whole
        arguments = well_formed(json.dumps(given or {})) if block.whole else ""
        return [ToolCallDelta(block.number, call_id, name, arguments)]

    def _delta(self, delta: dict[str, Any]) -> list[Piece]:
        block = self._block
        match delta.get("type"):
            case "text_delta":
                text = text_of(delta, "text")
                return [text] if text else []
            case "thinking_delta":
                text = text_of(delta, "thinking")
                self._think(block.data, text, len(text))
                return [ReasoningDelta(text)] if text else []
            case "signature_delta":
                signature = text_of(delta, "signature")
                self._think(block.signature, signature, len(signature))
            case "input_json_delta":
                piece = text_of(delta, "partial_json")
                if piece and block.number is not None and not block.whole:
                    block.told = True
                    return [ToolCallDelta(block.number, arguments=piece)]
            case _:
                pass  # citations
        return []

    def _end(self) -> list[Piece]:
        """The end of a block: a call without arguments has the empty object."""
        block, self._block = self._block, _Block("")
        if block.number is None or block.told:
            return []
        return [ToolCallDelta(block.number, arguments="{}")]

    def _think(self, pieces: list[T], piece: T, size: int) -> None:
        self._thought += size
        if size and self._thought <= THINKING_CHARACTERS:
            pieces.append(piece)

    def _count(self, usage: dict[str, Any]) -> None:
        """Counts are those so far: the later ones stand for the earlier ones."""
        names = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
        for name in names:
            if (count := tokens(usage, name)) is not None:
                self._counts[name] = count
        if self._counts:
            prompt, completion, read, written = (self._counts.get(name, 0) for name in names)
            cached = read if names[2] in self._counts else None
            self.usage = Usage(prompt + read + written, completion, cached)


def _status(error: object) -> int:
    return _STATUSES.get(text_of(error, "type"), 502)
