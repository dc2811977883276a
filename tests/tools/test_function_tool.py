"""Python functions as tools: what the model is told of them, what they are called with, what becomes of their results."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConfigError, ToolError
from gateway.tools.function import THREADS, FunctionTool, load_function
from gateway.tools.schema import problems


class Unit(Enum):
    C = "celsius"
    F = "fahrenheit"


@dataclass
class Place:
    city: str
    tags: list[str] = field(default_factory=list)


class Window(TypedDict):
    start: int
    end: NotRequired[int]


def weather(  # noqa: D417 - not every parameter needs words
    city: str,
    days: int = 1,
    unit: Unit = Unit.C,
    detail: Literal["low", "high"] = "low",
    near: list[float] | None = None,
    extra: dict[str, int] | None = None,
) -> str:
    """The weather of a city.

    Goes on over several
    lines.

    Args:
        city (str): Its name,
            with the country.
        days: How many.
        near: Coordinates.

    Returns:
        A sentence: with a colon.

    """
    return f"{city} {days} {unit} {detail} {near} {extra}"


def call(tool: FunctionTool, **arguments: Any) -> str:
    return asyncio.run(tool.call(arguments))


def test_a_schema_out_of_hints_and_docstring() -> None:
    tool = FunctionTool(weather)
    assert tool.name == "weather"
    assert tool.description == "The weather of a city. Goes on over several lines."
    assert tool.parameters == {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Its name, with the country."},
            "days": {"type": "integer", "description": "How many.", "default": 1},
            "unit": {"enum": ["celsius", "fahrenheit"], "default": "celsius"},
            "detail": {"enum": ["low", "high"], "default": "low"},
            "near": {
                "anyOf": [{"type": "array", "items": {"type": "number"}}, {"type": "null"}],
                "description": "Coordinates.",
            },
            "extra": {"anyOf": [{"type": "object", "additionalProperties": {"type": "integer"}}, {"type": "null"}]},
        },
        "additionalProperties": False,
        "required": ["city"],
    }


def test_arguments_become_what_the_hints_say() -> None:
    assert call(FunctionTool(weather), city="Rome", unit="fahrenheit", near=[1]) == ("Rome 1 Unit.F low [1.0] None")


def sphinx(a: int, b: int) -> int:
    """Add.

    :param a: the first
        of two
    :param int b: the second
    :returns: the sum
    """
    return a + b


def numpy(a: int, b: int) -> int:
    """Add.

    Parameters
    ----------
    a : int
        the first
        of two
    b
        the second

    Returns
    -------
    int
        the sum

    """
    return a + b


@pytest.mark.parametrize("function", [sphinx, numpy])
def test_other_docstrings(function: Any) -> None:
    tool = FunctionTool(function)
    assert tool.description == "Add."
    assert {name: one["description"] for name, one in tool.parameters["properties"].items()} == {
        "a": "the first of two",
        "b": "the second",
    }
    assert call(tool, a=1, b=2) == "3"


def test_nested_types() -> None:
    def visit(
        place: Place, window: Window, pair: tuple[int, str], ids: set[int], words: Annotated[str, "Some."]
    ) -> Any:
        return [place, window, pair, sorted(ids), words]

    tool = FunctionTool(visit)
    properties = tool.parameters["properties"]
    assert properties["place"]["required"] == ["city"]
    assert properties["window"]["required"] == ["start"]
    assert properties["words"] == {"type": "string", "description": "Some."}
    given = {"place": {"city": "Rome"}, "window": {"start": 1}, "pair": [1, "x"], "ids": [2, 1, 2], "words": "w"}
    assert call(tool, **given) == '[{"city": "Rome", "tags": []}, {"start": 1}, [1, "x"], [1, 2], "w"]'
    with pytest.raises(ToolError, match=r"`place\.city` is missing; `pair` has to have at least 2 items"):
        call(tool, **{**given, "place": {}, "pair": [1]})


def test_what_has_no_schema() -> None:
    def positional(a: int, /) -> None: ...
    def odd(a: threading.Lock) -> None: ...
    def keys(a: dict[int, str]) -> None: ...
    def unknown(a: NoSuchThing) -> None: ...  # type: ignore[name-defined]  # noqa: F821 - that is the point

    for function in (positional, odd, keys, unknown):
        with pytest.raises(ConfigError, match=f"tool {function.__name__}: "):
            FunctionTool(function)


def test_names_and_classes_are_refused() -> None:
    with pytest.raises(ConfigError, match="a name is 1 to 64"):
        FunctionTool(lambda: "x")
    assert FunctionTool(lambda: "x", name="x").name == "x"
    with pytest.raises(ConfigError, match="a class"):
        FunctionTool(Place)


def test_parameters_that_are_given() -> None:
    tool = FunctionTool(
        lambda **given: given,
        name="any",
        description="Takes all.",
        parameters={"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    )
    assert tool.description == "Takes all."
    assert call(tool, a=1, b=2) == '{"a": 1, "b": 2}'
    with pytest.raises(ToolError, match="`a` is missing"):
        call(tool)


def test_callables_of_all_kinds() -> None:
    class Thing:
        """Does it."""

        async def __call__(self, a: int) -> str:
            return f"thing {a}"

    async def plain(a: int, b: int) -> int:
        return a + b

    assert call(FunctionTool(Thing(), name="thing"), a=1) == "thing 1"
    assert call(FunctionTool(partial(plain, b=2), name="plain"), a=1) == "3"


def test_results() -> None:
    results: dict[str, Any] = {"é": "é", '{"a": "é"}': {"a": "é"}, "null": None, '"celsius"': Unit.C, "[1]": {1}}
    for text, result in results.items():
        assert call(FunctionTool(lambda result=result: result, name="x", parameters={})) == text
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(ToolError, match="cannot be told"):
        call(FunctionTool(lambda: circle, name="x"))


def test_what_it_raises_comes_through() -> None:
    def fails(kind: str) -> None:
        raise {"value": ValueError, "stop": StopIteration, "tool": ToolError}[kind]("why")

    for kind, error in (("value", ValueError), ("tool", ToolError), ("stop", RuntimeError)):
        with pytest.raises(error):
            call(FunctionTool(fails), kind=kind)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_tool_cannot_end_the_program(is_async: bool) -> None:
    async def leaves_async() -> None:
        raise SystemExit(3)

    def leaves() -> None:
        raise SystemExit(3)

    with pytest.raises(ToolError, match="tried to end the program"):
        call(FunctionTool(leaves_async if is_async else leaves))


def test_a_function_that_blocks_does_not_hold_up_the_loop() -> None:
    release = threading.Event()
    tool = FunctionTool(lambda: release.wait(20), name="slow")

    async def main() -> None:
        running = asyncio.ensure_future(tool.call({}))
        await asyncio.sleep(0.01)
        assert not running.done()
        release.set()
        assert await running == "true"

    asyncio.run(main())


def test_whoever_is_cancelled_leaves_the_thread_behind() -> None:
    release = threading.Event()
    tool = FunctionTool(lambda: release.wait(20), name="slow")

    async def main() -> None:
        calls = [asyncio.ensure_future(tool.call({})) for _ in range(THREADS)]
        await asyncio.sleep(0.01)
        for one in calls:
            one.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        with pytest.raises(ToolError, match=f"{THREADS} calls of slow are under way"):
            await tool.call({})  # threads cannot be ended: they count until they return
        release.set()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                assert await tool.call({}) == "true"
                break
            except ToolError:
                await asyncio.sleep(0.01)
        else:
            pytest.fail("the threads have returned, and still count")

    asyncio.run(main())


@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "c"]), st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    )
)
def test_a_function_gets_what_it_asks_for_or_nothing(arguments: dict[str, Any]) -> None:
    def strict(a: int, b: str | None = None, c: bool = False) -> str:
        assert type(a) is int
        assert b is None or type(b) is str
        assert type(c) is bool
        return "ok"

    tool = FunctionTool(strict)
    if list(problems(arguments, tool.parameters)):
        with pytest.raises(ToolError, match="arguments are not right"):
            call(tool, **arguments)
    else:
        assert call(tool, **arguments) == "ok"


def test_targets() -> None:
    assert load_function("json:dumps", "here")({}) == "{}"
    for target, why in (
        ("no_such_module:x", "cannot be imported"),
        ("json:nothing", "has no 'nothing'"),
        ("json:__name__", "is no function"),
    ):
        with pytest.raises(ConfigError, match=f"here: .*{why}"):
            load_function(target, "here")
