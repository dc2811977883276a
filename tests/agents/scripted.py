"""A model that says what a test has written for it, and keeps what it was asked; and tools to go with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from gateway.model.run import RunDone, RunEvent, RunInput, ToolCallDelta


class ScriptedModel:
    """Gives one list of events after another, the last one for ever.  An exception among them is raised."""

    def __init__(self, *answers: list[RunEvent | BaseException]) -> None:
        self.answers = list(answers)
        self.asked: list[RunInput] = []

    async def __call__(self, run: RunInput) -> AsyncIterator[RunEvent]:
        self.asked.append(run)
        for event in self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]:
            if isinstance(event, BaseException):
                raise event
            yield event


def asks(*calls: tuple[str, str], first: int = 0, say: str = "") -> list[RunEvent | BaseException]:
    """An answer that asks for calls: of (name, arguments), each in three pieces."""
    events: list[RunEvent | BaseException] = [say] if say else []
    for number, (name, arguments) in enumerate(calls, first):
        half = len(arguments) // 2
        events.append(ToolCallDelta(number, f"m{number}", name, ""))
        events += [ToolCallDelta(number, arguments=arguments[:half]), ToolCallDelta(number, arguments=arguments[half:])]
    return [*events, RunDone("tool_calls")]


class Tool:
    """Counts its calls; what it gives is told by a coroutine function."""

    description = "A tool."
    parameters: Mapping[str, Any] = {"type": "object"}

    def __init__(self, name: str, work: Callable[[Mapping[str, Any]], Awaitable[str]]) -> None:
        self.name = name
        self.work = work
        self.calls: list[Mapping[str, Any]] = []

    async def call(self, arguments: Mapping[str, Any]) -> str:
        self.calls.append(arguments)
        return await self.work(arguments)
