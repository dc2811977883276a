"""Runs whose caller has tools: the calls of an agent in good form, and what the caller demanded, held."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from ..errors import AgentError
from ..model.chat import ToolChoice
from ..model.run import RunDone, RunEvent, RunFailed, RunInput, ToolCallDelta, ToolUse

__all__ = ["calling"]


async def calling(produced: Any, run: RunInput) -> AsyncGenerator[RunEvent, None]:
    """What an agent gives for a request with tools.

    Calls are numbered from 0 without gaps, and the id and the name of each stand in its first piece and nowhere else:
    clients put the pieces together in just that way.  A call without an id gets one.  Raises AgentError: for a call
    without a name, and (502, `tool_choice_unsatisfied`) where the agent ends well without the call that was demanded.
    """
    calls = _Calls(run)
    try:
        if hasattr(produced, "__aiter__"):
            async for event in produced:
                if event.__class__ is ToolCallDelta:
                    yield calls.piece(event)
                elif event.__class__ is RunDone:
                    yield calls.ending(event)
                    return
                elif event.__class__ is RunFailed:
                    yield event
                    return
                else:
                    if event.__class__ is ToolUse:
                        calls.used.add(event.call.name)
                    yield event
        else:
            yield await produced
        yield calls.ending(RunDone())
    finally:
        close = getattr(produced, "aclose", None)
        if close is not None:
            await close()


class _Calls:
    """The calls of one run.  `used` are the names of what was called, the gateway's own tools too."""

    def __init__(self, run: RunInput) -> None:
        self.used: set[str] = set()
        self._numbers: dict[int, int] = {}
        self._choice: ToolChoice = run.request.tool_choice
        self._digits = run.run_id[:24]

    def piece(self, delta: ToolCallDelta) -> ToolCallDelta:
        """A piece of a call as clients expect it."""
        number = self._numbers.get(delta.number)
        if not isinstance(delta.arguments, str):
            what = type(delta.arguments).__name__
            raise AgentError(f"the agent gave {what} where the arguments of a call were expected: JSON, as text")
        if number is not None:
            return ToolCallDelta(number, "", "", delta.arguments)
        if not delta.name:
            raise AgentError("the agent began the call of a tool without its name")
        number = self._numbers[delta.number] = len(self._numbers)
        self.used.add(delta.name)
        return ToolCallDelta(number, delta.id or f"call_{self._digits}{number}", delta.name, delta.arguments)

    def ending(self, done: RunDone) -> RunDone:
        """The end, once it is one that the caller can do with."""
        reason = done.finish_reason
        if reason == "stop" or (reason == "tool_calls" and not self._numbers):
            self._require()
            return RunDone("tool_calls" if self._numbers else "stop")
        return done  # it broke off: too long, or filtered

    def _require(self) -> None:
        mode, name = self._choice
        if (mode == "required" and not self.used) or (mode == "function" and name not in self.used):
            what = "required" if mode == "required" else f"'{name}'"
            message = f"tool_choice={what} was not satisfied by the agent's answer"
            raise AgentError(message, code="tool_choice_unsatisfied", status=502)
