"""Python callables as agents."""

from __future__ import annotations

from collections.abc import AsyncIterator
from inspect import isasyncgenfunction, iscoroutinefunction

from ..errors import ConfigError
from ..model.run import RunEvent, RunInput, Usage
from ..ports import Agent
from ..targets import find

__all__ = ["echo", "load_target"]


async def echo(run: RunInput) -> AsyncIterator[RunEvent]:
    """Says what was said, word by word.  Its tokens are words, and its usage counts them."""
    words = ["Echo:", *run.request.messages[-1].text.split()]
    for index, word in enumerate(words):
        yield word if index == 0 else f" {word}"
    heard = sum(len(message.text.split()) for message in (*run.history, *run.request.messages))
    yield Usage(heard, len(words))


echo.__dict__["takes"] = frozenset()  # see `registry.taken_by`


def load_target(target: str, place: str) -> Agent:
    """The agent named by `module:function`, as a configuration gives it at `place`.  Raises ConfigError."""
    module_name, colon, attribute = target.partition(":")
    if not colon or not module_name or not attribute:
        raise ConfigError(f"{place}: {target!r} is not `module:function`")
    agent: Agent = find(target, place)  # checked by the next lines, as far as a callable can be
    call = getattr(agent, "__call__", agent)  # noqa: B004 - for objects with an async generator method __call__
    known = any(test(one) for test in (isasyncgenfunction, iscoroutinefunction) for one in (agent, call))
    if isinstance(agent, type) or not known:  # a class is called to make an object, not to run it
        raise ConfigError(f"{place}: {target!r} is neither an async generator function nor a coroutine function")
    return agent
