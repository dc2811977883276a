"""What goes into an agent run, and the events that come out of it."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from .chat import ChatRequest, Message

__all__ = ["FinishReason", "RunDone", "RunEvent", "RunFailed", "RunInput", "TextDelta", "Usage"]

TextDelta: TypeAlias = str
"""A piece of the answer.  It is a plain `str`, because it is made once for each token of every stream."""

FinishReason: TypeAlias = str
"""`stop`, `length` or `content_filter`, as in OpenAI's API."""


class RunInput(NamedTuple):
    """`history` are the turns the session already holds, oldest first; `request` is what came now.

    `session_key` names the session; `stateless` says that nothing of the run is to be kept under it.
    """

    run_id: str
    agent_id: str
    session_key: str
    request: ChatRequest
    stateless: bool = True
    history: tuple[Message, ...] = ()


class Usage(NamedTuple):
    """Tokens used, as the provider counted them.  May come several times in a run; the counts add up."""

    prompt_tokens: int
    completion_tokens: int


class RunDone(NamedTuple):
    """The run ended well."""

    finish_reason: FinishReason = "stop"


class RunFailed(NamedTuple):
    """The run ended badly.  The members are those of `AgentError`."""

    message: str
    code: str
    status: int
    retry_after: float | None = None


RunEvent: TypeAlias = TextDelta | Usage | RunDone | RunFailed
"""The last event of a run is exactly one of `RunDone` and `RunFailed`."""
