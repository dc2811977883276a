"""The one way in which an agent is run, whoever asks: HTTP, the command line, later the WebSocket protocol.

A run is pulled: nothing happens in it that its caller does not wait for, and it ends with its caller.  Whatever the
agent does, the last event is exactly one of RunDone and RunFailed; only a caller that leaves gets none.
"""

from __future__ import annotations

from asyncio import CancelledError, Task, current_task
from collections.abc import AsyncGenerator
from logging import getLogger
from typing import Any

from ..errors import AgentError
from ..model.run import (
    NO_USAGE,
    Answer,
    ModelChange,
    ReasoningDelta,
    RunDone,
    RunEvent,
    RunFailed,
    RunInput,
    Step,
    ToolCallDelta,
    ToolUse,
    Usage,
)
from .calling import calling
from .conversation import ANSWER_CHARACTERS, TOO_LONG, Conversations, calls_of, failed
from .registry import Registry

__all__ = ["Runs"]

_logger = getLogger(__name__)
_DONE = RunDone()
# What an event counts besides its characters, as a message does.
EVENT_CHARACTERS = 100
_OTHERS = (Usage, ToolCallDelta, ReasoningDelta, ToolUse, Step, ModelChange)
_STOPPED = RunFailed("the gateway is shutting down", "shutting_down", 503)
_BROKEN = RunFailed("the agent failed", "agent_error", 500)


class _StoppedError(Exception):
    """A run was to begin after `stop_all`."""


class Runs:
    """Starts runs and knows those under way."""

    def __init__(self, registry: Registry, conversations: Conversations) -> None:
        self._agents = registry.by_id
        self._conversations = conversations
        # run_id to the task that pulls the run and to what its agent gave to be pulled
        self._active: dict[str, tuple[Task[Any] | None, Any]] = {}
        self._stopped = False

    @property
    def active(self) -> int:
        """How many runs are under way."""
        return len(self._active)

    def run(self, run: RunInput) -> AsyncGenerator[RunEvent, None]:
        """The events of a run.  Close the generator (`aclosing`) when you stop before its end."""
        return self._attempt(run) if run.session is None else self._conversations.hold(run, self._attempt)

    async def answer(self, run: RunInput) -> Answer:
        """The whole answer of a run, for those who show nothing before its end."""
        # Not gathered from `run`: a generator around the agent would cost a short request a ninth more instructions.
        ending: RunDone | RunFailed = _DONE
        texts: list[str] = []
        rest: list[RunEvent] = []  # what is not text: rare, and looked at in the end
        size = 0
        source: Any = None
        try:
            source = self._begin(run) if run.session is None else self._conversations.hold(run, self._attempt)
            if hasattr(source, "__aiter__"):
                async for event in source:
                    if event.__class__ is str:
                        texts.append(event)
                        size += len(event)
                    elif event.__class__ is list:
                        texts += _texts(event)
                        size += sum(map(len, event))
                    elif isinstance(event, RunDone | RunFailed):
                        ending = event
                        break
                    elif isinstance(event, _OTHERS):
                        rest.append(event)
                        size += _size(event)
                    else:
                        texts.append(_text(event))
                    if size > ANSWER_CHARACTERS:
                        ending = TOO_LONG
                        break
                else:
                    source = None  # nothing is left that would have to be given back
            else:
                texts.append(_text(await source))
                if len(texts[0]) > ANSWER_CHARACTERS:
                    ending = TOO_LONG
        except BaseException as error:
            ending = self._judge(run, error)
        finally:
            self._active.pop(run.run_id, None)
            if source is not None and _is_open(source):
                await _close(source, run)
        if not rest:
            return tuple.__new__(Answer, ("".join(texts), NO_USAGE, ending, (), "", None))  # see api/parse.py
        return _answer("".join(texts), rest, ending)

    def stop_all(self) -> None:
        """End all runs, those that wait for their session too, and begin no more.

        Each ends with RunFailed (`shutting_down`), which its caller can still pass on.
        """
        if self._stopped:
            return
        self._stopped = True
        for task, produced in self._active.values():
            # A generator that is not running has given something, with which the caller is busy: to cancel that would
            # cost the caller its ending.  The run ends when it is pulled again.
            if task is not None and getattr(produced, "ag_running", True):
                task.cancel()

    async def _attempt(self, run: RunInput) -> AsyncGenerator[RunEvent, None]:
        ending: RunDone | RunFailed = _DONE
        produced: Any = None
        try:
            produced = self._begin(run)
            if not hasattr(produced, "__aiter__"):
                answer = _text(await produced)
                self._active.pop(run.run_id, None)  # it is complete: whatever comes now, the caller may have it
                yield answer
            else:
                async for event in produced:
                    if event.__class__ is str:
                        if event:
                            yield event
                    elif event.__class__ is list:
                        if texts := _texts(event):
                            yield texts
                    elif isinstance(event, RunDone | RunFailed):
                        ending = event
                        break
                    else:
                        yield event if isinstance(event, _OTHERS) else _text(event)
                    if self._stopped:
                        ending = _STOPPED
                        break
        except BaseException as error:
            ending = self._judge(run, error)
        finally:
            self._active.pop(run.run_id, None)
            if _is_open(produced):  # what it holds is given back now, not when the garbage is collected
                await _close(produced, run)
        yield ending

    def _begin(self, run: RunInput) -> Any:
        if self._stopped:
            raise _StoppedError
        produced: Any = self._agents[run.agent_id].agent(run)
        if run.request.tools:
            produced = calling(produced, run)
        self._active[run.run_id] = (current_task(), produced)
        return produced

    def _judge(self, run: RunInput, error: BaseException) -> RunFailed:
        """What an error means for the run in which it came up.  Raises it again where it is not the agent's."""
        if isinstance(error, _StoppedError):
            return _STOPPED
        if isinstance(error, AgentError):
            _logger.warning("run %s of agent %s failed: %s", run.run_id, run.agent_id, error.message)
            return failed(error)
        task = current_task()
        if isinstance(error, CancelledError) and (task is None or task.cancelling()):
            if not self._stopped or task is None or task.uncancel():
                raise error
            return _STOPPED
        if not isinstance(error, Exception | CancelledError):
            raise error
        # Also where what the agent waited for was cancelled, and not the run.
        _logger.error("run %s of agent %s failed", run.run_id, run.agent_id, exc_info=error)
        return _BROKEN


def _is_open(produced: Any) -> bool:
    """Whether what an agent gave holds something that has to be given back."""
    return getattr(produced, "ag_frame", produced) is not None and hasattr(produced, "aclose")


async def _close(produced: Any, run: RunInput) -> None:
    try:
        await produced.aclose()
    except Exception:  # whatever its clean-up does, the run has come to its end
        _logger.exception("run %s: agent %s failed when it was closed", run.run_id, run.agent_id)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise AgentError(f"the agent gave {type(value).__name__} where text was expected", code="agent_error")


def _texts(values: list[str]) -> list[str]:
    try:
        "".join(values)
    except TypeError:
        return [*map(_text, values)]  # raises
    return values if all(values) else [text for text in values if text]


def _size(event: RunEvent) -> int:
    """What an event adds to an answer that is held in memory."""
    match event:
        case ToolCallDelta():
            return len(event.id) + len(event.name) + len(event.arguments) + EVENT_CHARACTERS
        case ReasoningDelta():
            return len(event.text) + EVENT_CHARACTERS
        case _:
            return EVENT_CHARACTERS


def _answer(text: str, rest: list[RunEvent], ending: RunDone | RunFailed) -> Answer:
    usage, change = NO_USAGE, None
    calls: list[ToolCallDelta] = []
    reasoning: list[str] = []
    for event in rest:
        match event:
            case Usage():
                usage = usage.plus(event)
            case ToolCallDelta():
                calls.append(event)
            case ReasoningDelta():
                reasoning.append(event.text)
            case ModelChange():
                change = event
            case _:
                pass
    return Answer(text, usage, ending, calls_of(calls), "".join(reasoning), change)
