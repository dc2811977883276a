"""What differs between the APIs of providers: how a run is asked, and how the answer is read.  Without a socket."""

from __future__ import annotations

from typing import TypeAlias

from ..errors import AgentError
from ..model.http import Headers
from ..model.run import FinishReason, ReasoningDelta, RunInput, TextDelta, ToolCallDelta, Usage
from ..records import Protocol
from .settings import ModelSettings, Provider
from .template import Template

__all__ = ["Dialect", "Piece", "Reader"]

Piece: TypeAlias = TextDelta | ReasoningDelta | ToolCallDelta
"""A piece of an answer; no text is empty."""


class Reader(Protocol):
    """Reads one answer: `receive` a stream, cut anywhere, until `ended`, or `receive_whole`.

    Then there is either `failure`, which is to be raised after the pieces that came before it, or the answer is good
    and `finish_reason` and `usage` tell the rest.  Nothing is raised on what the server sends.
    """

    ended: bool
    failure: AgentError | None
    finish_reason: FinishReason | None
    usage: Usage | None

    def receive(self, data: bytes) -> list[Piece]:
        """The pieces that `data` completes."""

    @property
    def template(self) -> Template | None:
        """What the next event is likely to be like; one that is says its text and nothing else, and more may follow.

        It holds until `receive` is called.  None where there is none, or an event is under way.
        """

    def receive_whole(self, data: bytes) -> list[Piece]:
        """The pieces of an answer in one JSON document."""

    def eof(self) -> None:
        """The stream is over."""


class Dialect(Protocol):
    """One API."""

    def url(self, base_url: str) -> str:
        """Where to ask, given the provider's base URL."""

    def headers(self, provider: Provider) -> Headers:
        """Those of the API: the key, the version.  Names in lower case."""

    def body(self, run: RunInput, provider: Provider, model: ModelSettings, system_prompt: str | None) -> bytes:
        """The request.  Raises AgentError (400) for what the API has no form for."""

    def reader(self, provider: Provider, model: str, run: RunInput) -> Reader:
        """For one answer to the run."""
