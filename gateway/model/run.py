"""What goes into an agent run, and the events that come out of it."""

from __future__ import annotations

from typing import TypeAlias

from ..records import NamedTuple
from .caller import OPERATOR, Caller
from .chat import ChatRequest, Message, ToolCall

__all__ = [
    "INSTRUCTIONS",
    "MOST_TOKENS",
    "NO_USAGE",
    "Answer",
    "FinishReason",
    "ModelChange",
    "ReasoningDelta",
    "RunDone",
    "RunEvent",
    "RunFailed",
    "RunInput",
    "Step",
    "TextDelta",
    "TextDeltas",
    "ToolCallDelta",
    "ToolUse",
    "Usage",
    "fresh_key",
    "uuid_of",
]

TextDelta: TypeAlias = str
"""A piece of the answer.  It is a plain `str`, because it is made once for each token of every stream."""

TextDeltas: TypeAlias = list[str]
"""Pieces of the answer that came together; each stays a piece of its own.  None is empty."""

FinishReason: TypeAlias = str
"""`stop`, `length`, `content_filter` or `tool_calls`, as in OpenAI's API."""


class RunInput(NamedTuple):
    """`session` is the key of the session, None for a run of which nothing is to be kept.

    `run_id` are 32 random hexadecimal digits.  `history` is the conversation that the session already holds, oldest
    first; `request` is what came now.  `model` is the model that the caller wants in place of the agent's own, as
    `provider/model`.  `after` is the run whose answer this one goes on from, where the caller names one.  `keeps`: what
    was said is kept in the session also where the run fails, or somebody ends it.
    """

    run_id: str
    agent_id: str
    session: str | None
    request: ChatRequest
    history: tuple[Message, ...] = ()
    model: str | None = None
    caller: Caller = OPERATOR
    after: str | None = None
    keeps: bool = False

    @property
    def session_key(self) -> str:
        """The key of the session; of a stateless run one that was never used before."""
        return fresh_key(self.agent_id, self.run_id) if self.session is None else self.session

    @property
    def stateless(self) -> bool:
        """Whether nothing of the run is kept."""
        return self.session is None

    @property
    def label(self) -> str:
        """What log lines call the run: its id, its agent's, and that of the key it was asked for with."""
        by = f" (key {self.caller.id})" if self.caller.id else ""
        return f"run {self.run_id} of agent {self.agent_id}{by}"

    @property
    def conversation(self) -> tuple[Message, ...]:
        """All that a model is to read: the request's instructions, what was said before, what is said now."""
        messages = self.request.messages
        if not self.history:
            return messages
        instructions = [message for message in messages if message.role in INSTRUCTIONS]
        said = [message for message in messages if message.role not in INSTRUCTIONS]
        return (*instructions, *self.history, *said)


INSTRUCTIONS = frozenset({"system", "developer"})
"""The roles that are not part of what was said: they come with each request anew."""


def fresh_key(agent_id: str, digits: str, namespace: str = "openai") -> str:
    """A session key that was never used before, from 32 random hexadecimal digits."""
    return f"agent:{agent_id}:{namespace}:{uuid_of(digits)}"


def uuid_of(digits: str) -> str:
    """32 hexadecimal digits as a UUID is written."""
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:32]}"


class ReasoningDelta(NamedTuple):
    """A piece of what a model thinks before it answers; shown only where the agent's configuration says so."""

    text: str


class ToolCallDelta(NamedTuple):
    """A piece of a call of one of the caller's tools.

    `number` counts the calls of an answer from 0: `index` in OpenAI's API.  The first piece of each carries `id` and
    `name`; `arguments` of all its pieces, joined, are the JSON text.
    """

    number: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class ToolUse(NamedTuple):
    """One of the gateway's own tools is called: once without `result`, when it begins, and once with it."""

    call: ToolCall
    result: str | None = None
    failed: bool = False


class Step(NamedTuple):
    """Messages that the run adds to the conversation before its answer: calls of the gateway's tools, and their
    results.  Their text has been told already; they are kept in the session.
    """

    messages: tuple[Message, ...]


class ModelChange(NamedTuple):
    """Another model than the agent's first one answers.  `model` as `provider/model`; `reason` in a few words."""

    model: str
    reason: str


class Usage(NamedTuple):
    """Tokens used, as the provider counted them.  May come several times in a run; the counts add up.

    `cached_tokens` are those of the prompt that were not read anew, `reasoning_tokens` those of the completion that
    were thought and not said; None where the provider does not tell.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None

    def plus(self, other: Usage) -> Usage:
        """The sum of both."""
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            _sum(self.cached_tokens, other.cached_tokens),
            _sum(self.reasoning_tokens, other.reasoning_tokens),
        )

    @property
    def plausible(self) -> Usage:
        """The same, with counts that an agent or a provider can have meant: none below 0 or above `MOST_TOKENS`."""
        prompt, completion, cached, reasoning = self
        return Usage(
            _bounded(prompt), _bounded(completion), cached and _bounded(cached), reasoning and _bounded(reasoning)
        )


NO_USAGE = Usage(0, 0)
MOST_TOKENS = 10**12
"""Of one run: far above what a model could read in a lifetime, and sums of millions of runs still fit into 64 bits."""


def _bounded(count: int) -> int:
    return min(max(count, 0), MOST_TOKENS)


def _sum(one: int | None, other: int | None) -> int | None:
    return other if one is None else one + (other or 0)


class RunDone(NamedTuple):
    """The run ended well."""

    finish_reason: FinishReason = "stop"


class RunFailed(NamedTuple):
    """The run ended badly.  The members are those of `AgentError`."""

    message: str
    code: str
    status: int
    retry_after: float | None = None


RunEvent: TypeAlias = (
    TextDelta | TextDeltas | ReasoningDelta | ToolCallDelta | ToolUse | Step | ModelChange | Usage | RunDone | RunFailed
)
"""The last event of a run is exactly one of `RunDone` and `RunFailed`."""


class Answer(NamedTuple):
    """All that a run gave: what was said, and thought; the calls it asks for; the tokens used; how it ended.

    `model` is that which answered, where it was not the agent's first.
    """

    text: str
    usage: Usage
    ending: RunDone | RunFailed
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""
    model: ModelChange | None = None
