"""What the readers of all APIs share: a stream of server-sent events, each of them a JSON document."""

from __future__ import annotations

import json
from typing import Any

from ..errors import AgentError
from ..model.http import Malformed
from ..model.run import FinishReason, Usage
from ..wire.sse import SseDecoder
from .dialect import Piece
from .errors import provider_error
from .settings import Provider
from .template import Template
from .upstream import UpstreamError

__all__ = ["EventReader", "member", "text_of", "tokens", "well_formed"]


class EventReader:
    """See `dialect.Reader`.  Subclasses read the documents."""

    __slots__ = ("_decoder", "_model", "_provider", "ended", "failure", "finish_reason", "usage")

    answer = "an answer"
    """What the documents are, for messages."""
    sign = "the sign of its end"
    """What a stream has to hold to be complete."""

    def __init__(self, provider: Provider, model: str) -> None:
        self.ended = False
        self.failure: AgentError | None = None
        self.finish_reason: FinishReason | None = None
        self.usage: Usage | None = None  # the last one told: those that repeat it in each event count up
        self._provider = provider
        self._model = model
        self._decoder = SseDecoder()

    def receive(self, data: bytes) -> list[Piece]:
        """The pieces that `data` completes."""
        return [] if self.ended else self._events(data)

    @property
    def template(self) -> Template | None:
        """See `Reader.template`."""
        return None

    def receive_whole(self, data: bytes) -> list[Piece]:
        """The pieces of an answer in one JSON document."""
        document = _document(data.decode("utf-8", "replace"))
        pieces = [] if document is None else self._whole(document)
        self.ended = True
        if self.failure is None and self.finish_reason is None:
            self._fail(f"answered with JSON that is not {self.answer}")
        return pieces

    def eof(self) -> None:
        """The stream is over."""
        if not self.ended and self.finish_reason is None:
            self._fail(f"ended its stream without {self.sign}", retryable=True)
        self.ended = True

    def _events(self, data: bytes) -> list[Piece]:
        pieces: list[Piece] = []
        for event in self._decoder.receive(data):
            if isinstance(event, Malformed):
                self._fail(f"sent an event that cannot be read: {event.reason}")
            elif event.data.strip() == "[DONE]":
                self._done()
            elif event.data:
                pieces += self._event(event.data)
            if self.ended:
                break
        return pieces

    def _event(self, data: str) -> list[Piece]:
        """The pieces of one event."""
        document = _document(data)
        if document is None:
            self._fail(f"sent something that is not the JSON of {self.answer}")
            return []
        return self._read(document)

    def _read(self, document: dict[str, Any]) -> list[Piece]:
        """The pieces of one document of a stream."""
        raise NotImplementedError

    def _whole(self, document: dict[str, Any]) -> list[Piece]:
        """The pieces of the one document."""
        raise NotImplementedError

    def _done(self) -> None:
        """The stream says that it is over."""
        self.eof()

    def _refused(self, status: int, error: object) -> None:
        """An error came in place of an answer, or within it."""
        self.ended = True
        self.failure = provider_error(self._provider, self._model, status, error)

    def _fail(self, what: str, *, retryable: bool = False) -> None:
        self.ended = True
        self.failure = UpstreamError(
            f"{self._provider.name} {what}", code="upstream_protocol_error", retryable=retryable
        )


def _document(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def member(value: object, name: str) -> dict[str, Any]:
    """The object that is a member of `value`; an empty one where there is none."""
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def text_of(value: object, name: str) -> str:
    """The text that is a member of `value`; empty where there is none."""
    found = value.get(name) if isinstance(value, dict) else None
    return well_formed(found) if isinstance(found, str) else ""


def well_formed(text: str) -> str:
    """Without lone surrogates, which JSON can hold and UTF-8 cannot."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def tokens(usage: dict[str, Any], name: str) -> int | None:
    """A count of tokens; None where there is none."""
    value = usage.get(name)
    return value if type(value) is int and value >= 0 else None
