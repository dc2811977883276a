"""What goes into an agent run, and the events that come out of it."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from .chat import ChatRequest, Message

__all__ = [
    "Answer",
    "FinishReason",
    "RunDone",
    "RunEvent",
    "RunFailed",
    "RunInput",
    "TextDelta",
    "TextDeltas",
    "Usage",
    "fresh_key",
]

TextDelta: TypeAlias = str
"""A piece of the answer.  It is a plain `str`, because it is made once for each token of every stream."""

TextDeltas: TypeAlias = list[str]
"""Pieces of the answer that came together; each stays a piece of its own.  None is empty."""

FinishReason: TypeAlias = str
"""`stop`, `length` or `content_filter`, as in OpenAI's API."""


class RunInput(NamedTuple):
    """`session` is the key of the session, None for a run of which nothing is to be kept.

    `run_id` are 32 random hexadecimal digits.  `history` are the turns the session already holds, oldest first;
    `request` is what came now.
    """

    run_id: str
    agent_id: str
    session: str | None
    request: ChatRequest
    history: tuple[Message, ...] = ()

    @property
    def session_key(self) -> str:
        """The key of the session; of a stateless run one that was never used before."""
        return fresh_key(self.agent_id, self.run_id) if self.session is None else self.session

    @property
    def stateless(self) -> bool:
        """Whether nothing of the run is kept."""
        return self.session is None


def fresh_key(agent_id: str, digits: str) -> str:
    """A session key that was never used before, from 32 random hexadecimal digits."""
    uuid = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:32]}"
    return f"agent:{agent_id}:openai:{uuid}"


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


RunEvent: TypeAlias = TextDelta | TextDeltas | Usage | RunDone | RunFailed
"""The last event of a run is exactly one of `RunDone` and `RunFailed`."""


class Answer(NamedTuple):
    """All that a run gave: its text, the tokens used, and how it ended."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    ending: RunDone | RunFailed
