"""The answer of OpenAI's Responses API, read without a socket: bytes to pieces.

Source: https://platform.openai.com/docs/api-reference/responses-streaming.  An answer is a list of items: messages,
calls of functions, thoughts.  Servers that send fewer events are understood: what came in no delta is taken from the
item when it is done, or from the whole response at the end.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ..model.run import ReasoningDelta, ToolCallDelta, Usage
from .calls import CALLS, CallIds, new_call_id
from .dialect import Piece
from .events import EventReader, member, text_of, tokens
from .settings import Provider
from .thoughts import BLOCK_CHARACTERS, THINKING_CHARACTERS, Keep

__all__ = ["ResponseReader"]

ITEMS = 1000
"""Of one answer; those of the longest answers with tools are some tens."""

_STATUSES = {
    "invalid_prompt": 400,
    "context_length_exceeded": 400,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 402,
    "server_error": 500,
    "vector_store_timeout": 504,
}


_KEPT = ("type", "id", "summary", "encrypted_content")
"""What the API wants back of a thought."""


class _Item:
    """What was told of an item.  `number`: of the call that it is, None for others."""

    __slots__ = ("kept", "number", "text", "thought")

    def __init__(self) -> None:
        self.number: int | None = None
        self.text = False  # some of its text, or of its arguments
        self.thought = False
        self.kept = False


class ResponseReader(EventReader):
    """See `dialect.Reader`.  `keep` takes what was thought before each call.

    `new_id` makes the ids of calls that come without one.
    """

    __slots__ = ("_calls", "_held", "_ids", "_items", "_keep", "_reasoning")

    answer = "a response"
    sign = "response.completed"

    def __init__(self, provider: Provider, model: str, keep: Keep, new_id: Callable[[], str] = new_call_id) -> None:
        super().__init__(provider, model)
        self._ids = CallIds(new_id)
        self._keep = keep
        self._calls = 0
        self._items: dict[int | str, _Item] = {}
        self._reasoning: list[dict[str, Any]] = []
        self._held = 0  # characters

    def _read(self, document: dict[str, Any]) -> list[Piece]:
        kind = document.get("type")
        match kind:
            case "response.output_text.delta" | "response.refusal.delta":
                return self._text(document)
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                return self._thought(document)
            case "response.reasoning_summary_part.added" if document.get("summary_index"):
                return [ReasoningDelta("\n\n")]
            case "response.function_call_arguments.delta":
                return self._arguments(self._item(document), text_of(document, "delta"))
            case "response.output_item.added":
                return self._begin(self._item(document), member(document, "item"))
            case "response.output_item.done":
                return self._complete(self._item(document), member(document, "item"))
            case "response.completed" | "response.incomplete" | "response.failed":
                return self._whole(member(document, "response"))
            case "error":
                self._refuse(document.get("error") or document)
            case str():
                pass  # they repeat what those above tell, or are of tools that run at the provider
            case _ if document.get("error"):
                self._refuse(document["error"])
            case _:
                self._fail("sent something that is not an event of a response")
        return []

    def _whole(self, document: dict[str, Any]) -> list[Piece]:
        status = text_of(document, "status")
        if document.get("error") or status in {"failed", "cancelled"}:
            self._refuse(document.get("error") or f"the response was {status}")
            return []
        output = document.get("output")
        pieces: list[Piece] = []
        for index, item in enumerate(output if isinstance(output, list) else ()):
            if isinstance(item, dict) and not self.ended:
                pieces += self._complete(self._known(index, item), item)
        usage = member(document, "usage")
        if usage:
            self.usage = Usage(
                tokens(usage, "input_tokens") or 0,
                tokens(usage, "output_tokens") or 0,
                tokens(member(usage, "input_tokens_details"), "cached_tokens"),
                tokens(member(usage, "output_tokens_details"), "reasoning_tokens"),
            )
        if self.ended:
            return pieces
        if status == "incomplete":
            filtered = text_of(member(document, "incomplete_details"), "reason") == "content_filter"
            self.finish_reason = "content_filter" if filtered else "length"
        elif status == "completed" or (not status and isinstance(output, list)):
            self.finish_reason = "tool_calls" if self._calls else "stop"
        self.ended = self.finish_reason is not None
        return pieces

    def _item(self, document: dict[str, Any]) -> _Item:
        """The item of an event, by its index or, where servers leave that out, its id."""
        index = document.get("output_index")
        key = index if type(index) is int else text_of(document, "item_id") or text_of(document.get("item"), "id")
        item = self._items.setdefault(key, _Item())
        if len(self._items) > ITEMS:
            self._fail(f"sent an answer of more than {ITEMS} items")
        return item

    def _known(self, index: int, content: dict[str, Any]) -> _Item:
        """The item of a whole response: events may have told of it under its index, its id, or neither."""
        known = (self._items[key] for key in (index, text_of(content, "id"), "") if key in self._items)
        return next(known, None) or self._item({"output_index": index})

    def _text(self, document: dict[str, Any]) -> list[Piece]:
        text = text_of(document, "delta")
        self._item(document).text = True
        return [text] if text else []

    def _thought(self, document: dict[str, Any]) -> list[Piece]:
        text = text_of(document, "delta")
        self._item(document).thought = True
        return [ReasoningDelta(text)] if text else []

    def _arguments(self, item: _Item, text: str) -> list[Piece]:
        if item.number is None or not text:
            return []
        item.text = True
        return [ToolCallDelta(item.number, arguments=text)]

    def _begin(self, item: _Item, content: dict[str, Any]) -> list[Piece]:
        """The first piece of a call; nothing for other items."""
        if content.get("type") != "function_call" or item.number is not None:
            return []
        name = text_of(content, "name")
        if not name or self._calls >= CALLS:
            self._fail("asks for the call of a tool without its name" if not name else f"makes more than {CALLS} calls")
            return []
        item.number = self._calls
        self._calls += 1
        call_id = self._ids.take(text_of(content, "call_id") or text_of(content, "id"))
        if self._reasoning and self._held <= THINKING_CHARACTERS:
            self._keep(call_id, self._reasoning)
        self._reasoning = []
        arguments = text_of(content, "arguments")
        item.text = bool(arguments)
        return [ToolCallDelta(item.number, call_id, name, arguments)]

    def _complete(self, item: _Item, content: dict[str, Any]) -> list[Piece]:
        """What an item holds, as far as it was not told."""
        kind = content.get("type")
        if kind == "reasoning":
            return self._reason(item, content)
        if kind == "function_call":
            pieces = self._begin(item, content)
            return pieces if pieces or item.text else self._arguments(item, text_of(content, "arguments"))
        if kind != "message" or item.text:
            return []
        item.text = True
        parts = content.get("content")
        text = _joined(parts, "text") or _joined(parts, "refusal")
        return [text] if text else []

    def _reason(self, item: _Item, content: dict[str, Any]) -> list[Piece]:
        if not item.kept and text_of(content, "encrypted_content"):
            item.kept = True
            kept = {name: content[name] for name in _KEPT if name in content}
            self._held += len(json.dumps(kept)) + BLOCK_CHARACTERS
            if self._held <= THINKING_CHARACTERS:
                self._reasoning.append(kept)
        text = "" if item.thought else _joined(content.get("summary"), "text", "\n\n")
        item.thought = True
        return [ReasoningDelta(text)] if text else []

    def _refuse(self, error: object) -> None:
        self._refused(_STATUSES.get(text_of(error, "code") or text_of(error, "type"), 502), error)


def _joined(parts: object, name: str, between: str = "") -> str:
    texts = [text_of(part, name) for part in parts] if isinstance(parts, list) else []
    return between.join(filter(None, texts))
