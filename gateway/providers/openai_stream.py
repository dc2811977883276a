"""The answer of a chat completion, read without a socket: bytes to pieces of text.

Source: https://platform.openai.com/docs/api-reference/chat-streaming.

In a stream one event is like the next but for its text.  So the first is read as JSON, and what stands before and
after its text is kept as a template.  Events that begin and end with the same bytes, with one JSON string between,
are the same document but for that string, and need no reading: a run of them is split apart in one step.  Whatever
does not fit exactly is read as JSON.
"""

from __future__ import annotations

import json
from itertools import islice
from re import compile as pattern
from typing import Any, NamedTuple

from ..errors import AgentError
from ..model.http import Malformed
from ..model.run import Usage
from ..wire.sse import SseDecoder
from .dialect import Piece
from .errors import provider_error
from .settings import Provider
from .upstream import UpstreamError

__all__ = ["CompletionReader"]

LESSONS = 4
"""How often a template is made without being of use before it is no longer tried: some providers put something random
into each event."""

CANDIDATES = 4
"""How many strings of an event are tried as its text."""

# What a JSON string may hold without an escape (RFC 8259, 7).
_PLAIN = pattern(r'[^"\\\x00-\x1f]*')
_TEXT = pattern(r'"content"[ \t]*:[ \t]*"((?:[^"\\\x00-\x1f]|\\.)*)"')

_FINISH_REASONS = frozenset({"stop", "length", "content_filter"})


class _Document(NamedTuple):
    """What one document of an answer says."""

    text: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None
    error: object = None


class CompletionReader:
    """See `dialect.Reader`."""

    __slots__ = (
        "_decoder", "_head", "_lessons", "_model", "_provider", "_tail", "ended", "failure", "finish_reason", "usage"
    )  # fmt: skip

    def __init__(self, provider: Provider, model: str) -> None:
        self.ended = False
        self.failure: AgentError | None = None
        self.finish_reason: str | None = None
        self.usage: Usage | None = None  # the last one told: those that repeat it in each event count up
        self._provider = provider
        self._model = model
        self._decoder = SseDecoder()
        self._head = ""  # the template; empty while there is none
        self._tail = ""
        self._lessons = LESSONS

    def receive(self, data: bytes) -> list[Piece]:
        """The texts, none empty, that `data` completes."""
        texts: list[Piece] = []
        while data and not self.ended:
            if self._head and self._decoder.idle and data.startswith(head := self._head.encode()):
                end = data.rfind(tail := self._tail.encode())
                if end >= len(head):
                    texts += self._alike(data[len(head) : end].decode("utf-8", "replace"))
                    data = data[end + len(tail) :]
                    continue
            # One event at a time, so that those after it can be alike, as long as there is a template or hope for one.
            end = data.find(b"\n\n") + 2 if self._head or self._lessons else 0
            if end < 2:
                end = len(data)
            texts += self._events(data[:end])
            data = data[end:]
        return texts

    def receive_whole(self, data: bytes) -> list[Piece]:
        """The texts of an answer in one JSON document."""
        self.ended = True
        piece = self._document(data.decode("utf-8", "replace"))
        if self.failure is None and self.finish_reason is None:
            self._fail("answered with JSON that is no chat completion")
        return [piece.text] if piece.text else []

    def eof(self) -> None:
        """The stream is over."""
        if not self.ended and self.finish_reason is None:
            self._fail("ended its stream without a finish_reason or [DONE]", retryable=True)
        self.ended = True

    def _alike(self, joined: str) -> list[str]:
        """The texts of events that follow the template.  `joined` begins and ends within the first and last of them."""
        texts = self._split(joined)
        head, tail = self._head, self._tail  # of these events, whatever is learned while they are read
        self._lessons = LESSONS
        if _PLAIN.fullmatch("".join(texts)):
            return texts if all(texts) else [text for text in texts if text]
        found: list[str] = []
        for text in texts:
            if _PLAIN.fullmatch(text):
                if text:
                    found.append(text)
            elif (value := _string(text)) is not None:
                if value:
                    found.append(value)
            else:  # other events, which end where this one does; none of them is under way before or after
                found += self._events(f"{head}{text}{tail}".encode())
            if self.ended:
                break
        return found

    def _split(self, joined: str) -> list[str]:
        """`joined` at each tail with the next head."""
        if "\n" not in joined:
            return [joined]
        # Cut at line feeds, then at the lengths of head and tail, and looked at whether that was right: Python finds a
        # long separator with an algorithm that prepares itself anew for each piece, at three times the cost.
        head, tail = self._head, self._tail
        lines = f"{head}{joined}{tail}".split("\n")
        texts = [line[len(head) : 2 - len(tail)] for line in lines[:-1:2]]
        between = f"{tail}{head}"
        return texts if between.join(texts) == joined else joined.split(between)

    def _events(self, data: bytes) -> list[str]:
        texts: list[str] = []
        for event in self._decoder.receive(data):
            if isinstance(event, Malformed):
                self._fail(f"sent an event that cannot be read: {event.reason}")
            elif event.data.strip() == "[DONE]":
                self.ended = True
            elif event.data:
                piece = self._document(event.data)
                if piece.text:
                    texts.append(piece.text)
                    if piece.finish_reason is None and piece.usage is None and self._lessons:
                        self._learn(event.data, piece.text)
            if self.ended:
                break
        return texts

    def _document(self, text: str) -> _Document:
        piece = _read(text)
        if piece is None:
            self._fail("sent something that is not the JSON of a chat completion")
            return _Document()
        if piece.error is not None:
            self.ended = True
            self.failure = provider_error(self._provider, self._model, _status(piece.error), piece.error)
            return _Document()
        self.usage = piece.usage or self.usage
        if piece.finish_reason == "error":
            self._fail("says that the model failed")
        elif piece.finish_reason is not None:
            self.finish_reason = piece.finish_reason if piece.finish_reason in _FINISH_REASONS else "stop"
        return piece

    def _learn(self, event: str, text: str) -> None:
        self._lessons -= 1
        self._head = ""
        if "\n" in event:  # several `data` lines: the bytes were others
            return
        other = text + "."
        for found in islice(_TEXT.finditer(event), CANDIDATES):
            before, after = event[: found.start(1)], event[found.end(1) :]
            if _read(f"{before}{json.dumps(other)[1:-1]}{after}") == _Document(other):
                self._head, self._tail = f"data: {before}", f"{after}\n\n"
                return

    def _fail(self, what: str, *, retryable: bool = False) -> None:
        self.ended = True
        self.failure = UpstreamError(
            f"{self._provider.name} {what}", code="upstream_protocol_error", retryable=retryable
        )


def _string(escaped: str) -> str | None:
    """What a JSON string holds, given what stands between its quotes; None where that is not one string."""
    try:
        value = json.loads(f'"{escaped}"')
    except ValueError:
        return None
    return _well_formed(value)


def _read(text: str) -> _Document | None:
    """One document: a chunk of a stream, or a whole completion.  None where it is neither."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    if document.get("error"):
        return _Document(error=document["error"])
    usage = _usage(document.get("usage"))
    choices = document.get("choices")
    if not isinstance(choices, list):
        return _Document(usage=usage) if usage or "object" in document else None
    choice = choices[0] if choices else {}
    if not isinstance(choice, dict):
        return None
    delta = choice.get("delta") or choice.get("message")
    finish_reason = choice.get("finish_reason")
    return _Document(
        _text(delta) if isinstance(delta, dict) else "",
        finish_reason if isinstance(finish_reason, str) and finish_reason else None,
        usage,
    )


def _text(delta: dict[str, Any]) -> str:
    content = delta.get("content")
    if isinstance(content, list):  # parts, as Mistral sends them
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(part for part in parts if isinstance(part, str))
    if not content:
        content = delta.get("refusal")  # what the model says instead
    return _well_formed(content) if isinstance(content, str) else ""


def _well_formed(text: str) -> str:
    """Without lone surrogates, which JSON can hold and UTF-8 cannot."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _usage(value: object) -> Usage | None:
    if not isinstance(value, dict):
        return None
    counts = [value.get("prompt_tokens"), value.get("completion_tokens")]
    prompt, completion = (count if type(count) is int and count >= 0 else 0 for count in counts)
    return Usage(prompt, completion)


def _status(error: object) -> int:
    """The HTTP status in an error that came within a stream; 502 where there is none."""
    code = error.get("code") if isinstance(error, dict) else None
    return code if type(code) is int and 400 <= code < 600 else 502
