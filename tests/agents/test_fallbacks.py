"""An agent of several models: which of them is asked, when, and what the caller is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from logging import WARNING
from typing import Any

import pytest
from scripted import ScriptedModel

from gateway.agents.fallbacks import COOL_DOWN, COOL_DOWN_CAP, CoolDown, Fallbacks
from gateway.errors import AgentError
from gateway.model.chat import ChatRequest, Message
from gateway.model.run import ModelChange, ReasoningDelta, RunDone, RunInput, Usage
from gateway.ports import Agent


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def run_of(model: str | None = None) -> RunInput:
    return RunInput("r1", "main", None, ChatRequest((Message("user", "hi"),)), model=model)


def down(code: str = "upstream_unreachable", status: int = 502, retry_after: float | None = None) -> ScriptedModel:
    return ScriptedModel([AgentError(f"failed with {code}", code=code, status=status, retry_after=retry_after)])


def up(text: str = "Hi") -> ScriptedModel:
    return ScriptedModel([text, Usage(1, 2), RunDone("stop")])


def nobody(wanted: str) -> Agent:
    raise AgentError(f"no model {wanted}", code="model_not_found", status=404)


def agent_of(*models: ScriptedModel, clock: Clock | None = None, choose: Callable[[str], Agent] = nobody) -> Fallbacks:
    return Fallbacks({f"p/{n}": model for n, model in enumerate(models)}, choose, CoolDown(clock or Clock()))


def events_of(agent: Fallbacks, model: str | None = None) -> list[Any]:
    """What a run gives; an error as its last event."""
    seen: list[Any] = []

    async def main() -> None:
        try:
            async for event in agent(run_of(model)):
                seen.append(event)  # noqa: PERF401 - what came before a failure counts
        except AgentError as error:
            seen.append(error)

    asyncio.run(main())
    return seen


def test_the_first_that_answers_is_not_spoken_of() -> None:
    first, second = up(), up("no")
    assert events_of(agent_of(first, second)) == ["Hi", Usage(1, 2), RunDone("stop")]
    assert second.asked == []


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("upstream_unreachable", 502),
        ("upstream_connect_timeout", 504),
        ("upstream_first_byte_timeout", 504),
        ("upstream_rate_limited", 429),
        ("upstream_error", 502),
        ("upstream_auth", 502),
        ("upstream_quota", 502),
        ("upstream_not_found", 502),
        ("upstream_protocol_error", 502),
        ("upstream_timeout", 504),
    ],
)
def test_what_another_model_may_not_have(code: str, status: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(WARNING):
        events = events_of(agent_of(down(code, status), up()))
    assert events == [ModelChange("p/1", code), "Hi", Usage(1, 2), RunDone("stop")]
    assert caplog.messages == [f"run r1 of agent main: p/0 failed, p/1 is asked: failed with {code}"]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("upstream_rejected", 400),
        ("context_length_exceeded", 400),
        ("unsupported_parameter", 400),
        ("tool_rounds", 500),
    ],
)
def test_the_callers_own_faults_are_told_at_once(code: str, status: int) -> None:
    second = up()
    (error,) = events_of(agent_of(down(code, status), second))
    assert (error.code, error.status, error.message, second.asked) == (code, status, f"failed with {code}", [])


@pytest.mark.parametrize("code", ["images_not_supported", "unsupported_parameter"])
def test_a_fallback_that_cannot_do_it_is_passed_over(code: str) -> None:
    assert events_of(agent_of(down(), down(code, 400), up()))[0] == ModelChange("p/2", "upstream_unreachable")
    (error,) = events_of(agent_of(down(), down(code, 400)))
    assert (error.code, error.status) == ("upstream_unreachable", 502)


def test_images_go_to_the_model_that_takes_them() -> None:
    blind = down("images_not_supported", 400)
    assert events_of(agent_of(blind, up()))[0] == ModelChange("p/1", "images_not_supported")
    (error,) = events_of(agent_of(blind, blind))
    assert (error.code, error.status, error.message) == (
        "images_not_supported",
        400,
        "failed with images_not_supported",
    )


@pytest.mark.parametrize("said", ["a", ["a", "b"], ReasoningDelta("hm")])
def test_who_has_begun_to_speak_is_not_interrupted(said: Any) -> None:
    second = up()
    events = events_of(agent_of(ScriptedModel([said, AgentError("cut", code="upstream_protocol_error")]), second))
    assert events[0] == said
    assert (events[1].message, second.asked) == ("cut", [])


def test_the_last_error_is_the_callers() -> None:
    events = events_of(agent_of(down("upstream_auth"), down("upstream_rate_limited", 429, 7.0)))
    (error,) = events
    assert (error.code, error.status, error.retry_after) == ("upstream_rate_limited", 429, 7.0)
    assert error.message == "failed with upstream_rate_limited (2 of 2 models were tried)"


def test_a_single_model_speaks_for_itself() -> None:
    (error,) = events_of(agent_of(down()))
    assert error.message == "failed with upstream_unreachable"


# -- who failed is left alone for a while


def test_a_model_that_failed_is_not_asked_for_a_while() -> None:
    clock, first, second = Clock(), down("upstream_auth"), up()
    agent = agent_of(first, second, clock=clock)
    events_of(agent)
    assert events_of(agent)[0] == ModelChange("p/1", "upstream_auth")
    assert (len(first.asked), len(second.asked)) == (1, 2)
    clock.now += COOL_DOWN
    first.answers = up("I am back").answers
    assert events_of(agent)[0] == "I am back"
    assert (len(first.asked), len(second.asked)) == (2, 2)


@pytest.mark.parametrize(("asked", "waits"), [(5.0, 5.0), (0.0, 1.0), (86_400.0, COOL_DOWN_CAP)])
def test_a_provider_that_says_how_long_is_taken_at_its_word(asked: float, waits: float) -> None:
    clock, first = Clock(), down("upstream_rate_limited", 429, asked)
    agent = agent_of(first, up(), clock=clock)
    events_of(agent)
    for passed, times in ((waits - 0.5, 1), (0.6, 2)):
        clock.now += passed
        events_of(agent)
        assert len(first.asked) == times


def test_where_all_have_failed_all_are_asked_again() -> None:
    first, second = down(), down()
    agent = agent_of(first, second)
    events_of(agent)
    first.answers = up("back").answers
    assert events_of(agent)[0] == "back"
    assert (len(first.asked), len(second.asked)) == (2, 1)


def test_the_error_says_who_was_not_asked() -> None:
    second = up()
    agent = agent_of(down(), second)
    events_of(agent)
    second.answers = down("upstream_error").answers
    (error,) = events_of(agent)
    assert error.message == "failed with upstream_error (1 of 2 models were tried; 1 more failed a short time ago)"


def test_agents_share_what_they_learned() -> None:
    cool_down, first = CoolDown(Clock()), down()
    for _ in range(2):
        events_of(Fallbacks({"p/0": first, "p/1": up()}, nobody, cool_down))
    assert len(first.asked) == 1


# -- the model that the run names


def test_a_chosen_model_answers_alone() -> None:
    wanted: list[str] = []

    def choose(name: str) -> Agent:
        wanted.append(name)
        return up("chosen")

    agent = agent_of(up(), up("second"), choose=choose)
    assert events_of(agent, "p/9")[0] == "chosen"
    assert wanted == ["p/9"]
    assert events_of(agent, "p/1")[0] == "second"  # its own, without a word of a change
    (error,) = events_of(agent_of(up(), up()), "p/9")
    assert (error.code, error.status) == ("model_not_found", 404)


def test_a_chosen_model_has_no_fallbacks() -> None:
    (error,) = events_of(agent_of(down(), up()), "p/0")
    assert error.message == "failed with upstream_unreachable"


def test_a_run_that_is_given_up_closes_the_model() -> None:
    closed: list[str] = []

    async def endless(_: RunInput) -> Any:
        try:
            while True:
                yield "x"
        finally:
            closed.append("model")

    async def main() -> None:
        events: Any = Fallbacks({"p/0": endless, "p/1": endless}, nobody, CoolDown(Clock()))(run_of())
        async for _ in events:
            break
        await events.aclose()

    asyncio.run(main())
    assert closed == ["model"]
