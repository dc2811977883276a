"""Python callables as agents."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.agents.function import echo, load_target
from gateway.errors import ConfigError
from gateway.model.chat import ChatRequest, Message
from gateway.model.run import RunEvent, RunInput, Usage

PLACE = "config.json5:3:5: agents.list[0].runtime.target"
MODULE = """
import functools

async def generator(run):
    yield "a"

async def coroutine(run):
    return "a"

def function(run):
    return "a"

class Object:
    async def __call__(self, run):
        yield "a"

    async def method(self, run):
        return "a"

made = Object()
partial = functools.partial(coroutine)
nothing = None
number = 17
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "some_agents.py").write_text(MODULE)
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["generator", "coroutine", "made", "made.method", "partial"])
def test_targets(folder: Path, name: str) -> None:
    agent = load_target(f"some_agents:{name}", PLACE)
    assert callable(agent)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("some_agents", "is not `module:function`"),
        ("", "is not `module:function`"),
        (":generator", "is not `module:function`"),
        ("some_agents:", "is not `module:function`"),
        ("no_such_module_anywhere:x", "cannot be imported"),
        ("some_agents.inner:x", "cannot be imported"),
        ("some_agents:no_such", "'some_agents' has no 'no_such'"),
        ("some_agents:made.no_such", "has no 'made.no_such'"),
        ("some_agents:nothing", "has no 'nothing'"),
        ("some_agents:function", "neither an async generator function nor a coroutine function"),
        ("some_agents:number", "neither an async generator function nor a coroutine function"),
        ("some_agents:Object", "neither an async generator function nor a coroutine function"),
    ],
)
def test_targets_that_cannot_be_used(folder: Path, target: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_target(target, PLACE)
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"{PLACE}: ")


@pytest.mark.parametrize(
    ("source", "says"),
    [("import no_such_thing", "no_such_thing"), ("1/0", "ZeroDivisionError"), ("def", "SyntaxError")],
)
def test_modules_that_fail(folder: Path, source: str, says: str) -> None:
    (folder / "broken_agents.py").write_text(source)
    with pytest.raises(ConfigError, match=says) as caught:
        load_target("broken_agents:agent", PLACE)
    assert str(caught.value).startswith(f"{PLACE}: ")


def test_partials_work_as_agents() -> None:
    async def base(prefix: str, run: RunInput) -> AsyncIterator[str]:
        yield prefix + run.agent_id

    agent = functools.partial(base, "I am ")
    run = RunInput("r", "main", "k", ChatRequest((Message("user", "hi"),)))

    async def main() -> list[str]:
        return [event async for event in agent(run)]

    assert asyncio.run(main()) == ["I am main"]


def test_echo() -> None:
    history = (Message("user", "one two"), Message("assistant", "three"))
    request = ChatRequest((Message("system", "be brief"), Message("user", "  hello \n there ")))
    run = RunInput("r", "main", "k", request, history)

    async def main() -> list[RunEvent]:
        return [event async for event in echo(run)]

    assert asyncio.run(main()) == ["Echo:", " hello", " there", Usage(7, 3)]
