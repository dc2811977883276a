"""The answer of a chat completion, read without a socket: bytes to pieces.

Source: https://platform.openai.com/docs/api-reference/chat-streaming.

In a stream one event is like the next but for its text.  So the first is read as JSON, and what stands before and
after its text is kept as a template.  Events that begin and end with the same bytes, with one JSON string between,
are the same document but for that string, and need no reading: a run of them is split apart in one step.  Whatever
does not fit exactly is read as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from re import compile as pattern
from typing import Any

from ..model.run import FinishReason, ReasoningDelta, Usage
from ..records import NamedTuple
from .calls import Calls, new_call_id
from .dialect import Piece
from .events import EventReader, member, text_of, tokens, well_formed
from .settings import Provider
from .template import Template

__all__ = ["CompletionReader"]

LESSONS = 4
"""How often a template is made without being of use before it is no longer tried: some providers put something random
into each event."""

CANDIDATES = 4
"""How many strings of an event are tried as its text."""

# What a JSON string may hold without an escape (RFC 8259, 7).
_PLAIN = pattern(r'[^"\\\x00-\x1f]*')
_TEXT = pattern(r'"content"[ \t]*:[ \t]*"((?:[^"\\\x00-\x1f]|\\.)*)"')

# What is not listed here is `stop`, or `tool_calls` where there are some.  The words that are not OpenAI's are those of
# Mistral and of servers in front of Google's and Anthropic's models.
_FINISH_REASONS: dict[str, FinishReason] = {
    "length": "length",
    "model_length": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
    "safety": "content_filter",
}


class _Document(NamedTuple):
    """What one document of an answer says."""

    text: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None
    error: object = None
    reasoning: str = ""
    calls: dict[str, Any] | None = None  # what holds them


class CompletionReader(EventReader):
    """See `dialect.Reader`.  `new_id` makes the ids of calls that come without one."""

    __slots__ = ("_calls", "_fresh", "_lessons", "_template")

    answer = "a chat completion"
    sign = "a finish_reason or [DONE]"

    def __init__(self, provider: Provider, model: str, new_id: Callable[[], str] = new_call_id) -> None:
        super().__init__(provider, model)
        self._calls = Calls(new_id)
        self._template: Template | None = None
        self._fresh = False  # there is one, and the next byte starts an event
        self._lessons = LESSONS

    def receive(self, data: bytes) -> list[Piece]:
        """The pieces that `data` completes."""
        template = self.template
        if template is not None and (text := template.text(data)) is not None:  # as nearly all are
            self._lessons = LESSONS
            return [text]
        pieces = self._several(data)
        self._fresh = self._template is not None and self._decoder.idle and not self.ended
        return pieces

    @property
    def template(self) -> Template | None:
        """See `Reader.template`."""
        return self._template if self._fresh else None

    def eof(self) -> None:
        """The stream is over."""
        super().eof()
        self._fresh = False

    def _several(self, data: bytes) -> list[Piece]:
        pieces: list[Piece] = []
        while data and not self.ended:
            template = self._template
            if template is not None and self._decoder.idle and data.startswith(head := template.before):
                end = data.rfind(tail := template.after)
                if end >= len(head):
                    pieces += self._alike(template, data[len(head) : end].decode("utf-8", "replace"))
                    data = data[end + len(tail) :]
                    continue
            # One event at a time, so that those after it can be alike, as long as there is a template or hope for one.
            end = data.find(b"\n\n") + 2 if template is not None or self._lessons else 0
            if end < 2:
                end = len(data)
            pieces += self._events(data[:end])
            data = data[end:]
        return pieces

    def _alike(self, template: Template, joined: str) -> list[Piece]:
        """The texts of events that follow the template.  `joined` begins and ends within the first and last of them."""
        texts: list[Any] = _split(template, joined)  # of str
        self._lessons = LESSONS
        if _PLAIN.fullmatch("".join(texts)):
            return texts if all(texts) else [text for text in texts if text]
        found: list[Piece] = []
        for text in texts:
            if _PLAIN.fullmatch(text):
                if text:
                    found.append(text)
            elif (value := _string(text)) is not None:
                if value:
                    found.append(value)
            else:  # other events, which end where this one does; none of them is under way before or after
                found += self._events(f"{template.head}{text}{template.tail}".encode())
            if self.ended:
                break
        return found

    def _event(self, data: str) -> list[Piece]:
        said = _read(data)
        if said is None:
            self._fail(f"sent something that is not the JSON of {self.answer}")
            return []
        pieces = self._pieces(said, whole=False)
        if said.text and self._lessons and said == _Document(said.text):
            self._learn(data, said.text)
        return pieces

    def _whole(self, document: dict[str, Any]) -> list[Piece]:
        said = _said(document)
        return [] if said is None else self._pieces(said, whole=True)

    def _pieces(self, said: _Document, *, whole: bool) -> list[Piece]:
        if said.error is not None:
            self._refused(_status(said.error), said.error)
            return []
        pieces: list[Piece] = [ReasoningDelta(said.reasoning)] if said.reasoning else []
        if said.text:
            pieces.append(said.text)
        if said.calls is not None:
            try:
                pieces += self._calls.take(said.calls, whole=whole)
            except ValueError as error:
                self._fail(f"sent {error}")
                return pieces
        self.usage = said.usage or self.usage
        if said.finish_reason == "error":
            self._fail("says that the model failed")
        elif said.finish_reason is not None:
            self.finish_reason = _FINISH_REASONS.get(said.finish_reason.lower(), "stop")
        if self.finish_reason == "stop" and self._calls:
            self.finish_reason = "tool_calls"
            # Only here: a server may name a tool after the first of its arguments, not after the end.
            if not self._calls.complete:
                self._fail("asks for the call of a tool without its name")
        return pieces

    def _done(self) -> None:
        self.ended = True
        if self.finish_reason is None:
            self._pieces(_Document(finish_reason="stop"), whole=False)

    def _learn(self, event: str, text: str) -> None:
        self._lessons -= 1
        self._template = None
        if "\n" in event:  # several `data` lines: the bytes were others
            return
        other = text + "."
        for found in islice(_TEXT.finditer(event), CANDIDATES):
            before, after = event[: found.start(1)], event[found.end(1) :]
            if _read(f"{before}{json.dumps(other)[1:-1]}{after}") == _Document(other):
                self._template = Template(f"data: {before}", f"{after}\n\n")
                return


def _split(template: Template, joined: str) -> list[str]:
    """`joined` at each tail with the next head."""
    if "\n" not in joined:
        return [joined]
    # Cut at line feeds, then at the lengths of head and tail, and looked at whether that was right: Python finds a
    # long separator with an algorithm that prepares itself anew for each piece, at three times the cost.
    head, tail = template.head, template.tail
    lines = f"{head}{joined}{tail}".split("\n")
    texts = [line[len(head) : 2 - len(tail)] for line in lines[:-1:2]]
    between = f"{tail}{head}"
    return texts if between.join(texts) == joined else joined.split(between)


def _string(escaped: str) -> str | None:
    """What a JSON string holds, given what stands between its quotes; None where that is not one string."""
    try:
        value = json.loads(f'"{escaped}"')
    except ValueError:
        return None
    return well_formed(value)


def _read(text: str) -> _Document | None:
    """One chunk of a stream.  None where it is none."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return _said(document) if isinstance(document, dict) else None


def _said(document: dict[str, Any]) -> _Document | None:
    """What a chunk, or a whole completion, says.  None where it is neither."""
    if document.get("error"):
        return _Document(error=document["error"])
    usage = _usage(document.get("usage"))
    choices = document.get("choices")
    if not isinstance(choices, list):
        return _Document(usage=usage) if usage or "object" in document else None
    choice = choices[0] if choices else {}
    if not isinstance(choice, dict):
        return None
    delta = member(choice, "delta") or member(choice, "message")
    reason = choice.get("finish_reason")
    if not isinstance(reason, str) or not reason:
        reason = None
    content = delta.get("content")
    if len(delta) == 1 and isinstance(content, str):  # as nearly all are
        return _Document(well_formed(content), reason, usage)
    calls = delta if delta.get("tool_calls") or delta.get("function_call") else None
    return _Document(_text(delta), reason, usage, None, _reasoning(delta), calls)


def _text(delta: dict[str, Any]) -> str:
    content = delta.get("content")
    if isinstance(content, list):  # parts, as Mistral sends them
        content = "".join(text_of(part, "text") for part in content)
    if not content:
        content = delta.get("refusal")  # what the model says instead
    return well_formed(content) if isinstance(content, str) else ""


def _reasoning(delta: dict[str, Any]) -> str:
    """What the model thinks: under the names that DeepSeek, OpenRouter and vLLM, and others use, or as a part."""
    for name in ("reasoning_content", "reasoning", "thinking"):
        if text := text_of(delta, name):
            return text
    content = delta.get("content")
    if not isinstance(content, list):
        return ""
    thoughts = [part.get("thinking") for part in content if isinstance(part, dict)]  # Mistral: parts in a part
    return "".join(text_of(part, "text") for parts in thoughts if isinstance(parts, list) for part in parts)


def _usage(value: object) -> Usage | None:
    if not isinstance(value, dict):
        return None
    return Usage(
        tokens(value, "prompt_tokens") or 0,
        tokens(value, "completion_tokens") or 0,
        tokens(member(value, "prompt_tokens_details"), "cached_tokens"),
        tokens(member(value, "completion_tokens_details"), "reasoning_tokens"),
    )


def _status(error: object) -> int:
    """The HTTP status in an error that came within a stream; 502 where there is none."""
    code = error.get("code") if isinstance(error, dict) else None
    return code if type(code) is int and 400 <= code < 600 else 502
