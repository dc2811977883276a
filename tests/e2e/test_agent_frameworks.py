"""Agent frameworks in front of a gateway process: one loop each of asking, calling a function, and asking again.

Their packages are large, so they are no part of the `test` extra: `pip install openai-agents langchain-openai`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest
from openai import AsyncOpenAI
from processes import TOKEN, Launch, Running, configuration, python_agent

MODEL = "openclaw/assistant"
QUESTION = "How is it in Paris and Rome?"
ANSWER = "It is fine in Paris and fine in Rome."

# Their own dependencies warn of what is old in one another, which is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")

AGENTS = pytest.mark.skipif(find_spec("agents") is None, reason="the package `openai-agents` is not installed")
LANGCHAIN = pytest.mark.skipif(find_spec("langchain_openai") is None, reason="`langchain-openai` is not installed")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    launcher = Launch(tmp_path_factory.mktemp("frameworks"))
    endpoints = {"responses": {"enabled": True}, "chatCompletions": {"enabled": True}}
    try:
        yield launcher(configuration(python_agent("assistant"), http={"endpoints": endpoints}))
    finally:
        launcher.close()


def asked_of_agents(gateway: Running, *, streamed: bool, **settings: Any) -> tuple[str, list[str]]:
    """The final answer of a loop of openai-agents with its own model for responses, and the cities it looked up."""
    agents: Any = import_module("agents")
    agents.set_tracing_disabled(True)
    looked_up: list[str] = []

    @agents.function_tool  # type: ignore[untyped-decorator]  # the package may not be there
    def weather(city: str) -> str:
        """The weather of a city."""
        looked_up.append(city)
        return f"fine in {city}"

    async def main() -> str:
        async with AsyncOpenAI(base_url=gateway.base_url, api_key=TOKEN, max_retries=0, timeout=20) as client:
            model = agents.OpenAIResponsesModel(model=MODEL, openai_client=client)
            agent = agents.Agent(
                name="traveller",
                instructions="Be brief.",
                model=model,
                tools=[weather],
                model_settings=agents.ModelSettings(**settings),
            )
            if not streamed:
                return str((await agents.Runner.run(agent, QUESTION)).final_output)
            result = agents.Runner.run_streamed(agent, QUESTION)
            async for _ in result.stream_events():
                pass
            return str(result.final_output)

    return asyncio.run(main()), sorted(looked_up)


@AGENTS
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("settings", [{}, {"store": False}, {"parallel_tool_calls": True, "temperature": 0.1}])
def test_openai_agents(gateway: Running, streamed: bool, settings: dict[str, Any]) -> None:
    assert asked_of_agents(gateway, streamed=streamed, **settings) == (ANSWER, ["Paris", "Rome"])


@AGENTS
def test_openai_agents_go_on_from_a_response(gateway: Running) -> None:
    agents: Any = import_module("agents")
    agents.set_tracing_disabled(True)

    async def main() -> str:
        async with AsyncOpenAI(base_url=gateway.base_url, api_key=TOKEN, max_retries=0, timeout=20) as client:
            model = agents.OpenAIResponsesModel(model=MODEL, openai_client=client)
            agent = agents.Agent(name="traveller", instructions="Be brief.", model=model)
            first = await agents.Runner.run(agent, "a")
            second = await agents.Runner.run(agent, "b", previous_response_id=first.last_response_id)
            return str(second.final_output)

    assert asyncio.run(main()) == "system: Be brief. | user: a | assistant: system: Be brief. | user: a | user: b"


@LANGCHAIN
def test_langchain_goes_on_from_a_response(gateway: Running) -> None:
    messages: Any = import_module("langchain_core.messages")
    model = import_module("langchain_openai").ChatOpenAI(
        model=MODEL, base_url=gateway.base_url, api_key=TOKEN, max_retries=0, timeout=20, use_previous_response_id=True
    )
    conversation: list[Any] = [messages.HumanMessage("a")]
    conversation += [model.invoke(conversation), messages.HumanMessage("b")]
    assert model.invoke(conversation).text == "user: a | assistant: user: a | user: b"


@LANGCHAIN
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("responses", [False, True])
def test_langchain(gateway: Running, streamed: bool, responses: bool) -> None:
    messages: Any = import_module("langchain_core.messages")
    tool: Any = import_module("langchain_core.tools").tool
    chat_openai: Any = import_module("langchain_openai").ChatOpenAI

    @tool  # type: ignore[untyped-decorator]  # the package may not be there
    def weather(city: str) -> str:
        """The weather of a city."""
        return f"fine in {city}"

    model = chat_openai(
        model=MODEL, base_url=gateway.base_url, api_key=TOKEN, max_retries=0, timeout=20, use_responses_api=responses
    ).bind_tools([weather])

    def ask(conversation: list[Any]) -> Any:
        if not streamed:
            return model.invoke(conversation)
        whole = None
        for piece in model.stream(conversation):
            whole = piece if whole is None else whole + piece
        return whole

    conversation: list[Any] = [messages.SystemMessage("Be brief."), messages.HumanMessage(QUESTION)]
    first = ask(conversation)
    assert [call["args"] for call in first.tool_calls] == [{"city": "Paris"}, {"city": "Rome"}]
    results = [weather.invoke(call) for call in first.tool_calls]
    last = ask([*conversation, first, *results])
    assert last.text == ANSWER
    assert not last.tool_calls
