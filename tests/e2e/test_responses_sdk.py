"""The official Python SDK's `responses` against a gateway process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.responses import Response, ResponseFunctionToolCall
from processes import TOKEN, Launch, Running, configuration, python_agent
from pydantic import BaseModel

MODEL = "openclaw/assistant"
TOOL: Any = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": True,
}
OTHER: Any = {**TOOL, "name": "news"}
GIF = "data:image/gif;base64,R0lGODlhAQABAAAAACw="


def config() -> dict[str, Any]:
    endpoints = {"responses": {"enabled": True}}
    return configuration(
        python_agent("assistant"),
        python_agent("fail"),
        python_agent("fail_late"),
        python_agent("pause"),
        python_agent("words"),
        http={"endpoints": endpoints},
    )


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    launcher = Launch(tmp_path_factory.mktemp("responses"))
    try:
        yield launcher(config())
    finally:
        launcher.close()


@pytest.fixture
def client(gateway: Running) -> Iterator[OpenAI]:
    with OpenAI(base_url=gateway.base_url, api_key=TOKEN, max_retries=0, timeout=20) as made:
        yield made


def calls_of(response: Response) -> list[ResponseFunctionToolCall]:
    return [item for item in response.output if item.type == "function_call"]


def test_create(client: OpenAI) -> None:
    answer = client.responses.create(model="openclaw/words", input="one two", metadata={"a": "b"}, temperature=0.5)
    assert (answer.status, answer.output_text, answer.model) == ("completed", "one two ", "openclaw/words")
    assert answer.id.startswith("resp_")
    assert (answer.metadata, answer.temperature, answer.error) == ({"a": "b"}, 0.5, None)
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.total_tokens) == (1, 2, 3)


def test_instructions_and_items(client: OpenAI) -> None:
    answer = client.responses.create(
        model=MODEL,
        instructions="Be brief.",
        input=[
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": "hi"},
            {"role": "user", "content": [{"type": "input_text", "text": "and you?"}]},
        ],
    )
    assert answer.output_text == "system: Be brief. | user: hello | assistant: hi | user: and you?"
    assert answer.instructions == "Be brief."


def test_the_output_is_an_input(client: OpenAI) -> None:
    """As clients do that keep the conversation themselves."""
    first = client.responses.create(model=MODEL, input="hello", store=False)
    items: list[Any] = [{"role": "user", "content": "hello"}, *first.output, {"role": "user", "content": "more"}]
    second = client.responses.create(model=MODEL, input=items, store=False)
    assert second.output_text == "user: hello | assistant: user: hello | user: more"


def test_stream(client: OpenAI) -> None:
    with client.responses.stream(model=MODEL, input="hello there") as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert final.output_text == "user: hello there"
    kinds = [event.type for event in events]
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert kinds[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert deltas == ["user: ", "hello ", "there"]


def test_a_plain_stream(client: OpenAI) -> None:
    with client.responses.create(model=MODEL, input="hello", stream=True) as stream:
        events = list(stream)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == "user: hello"


@pytest.mark.parametrize("choice", ["auto", "required", {"type": "function", "name": "news"}])
@pytest.mark.parametrize("streamed", [False, True])
def test_tools_round_trip(client: OpenAI, choice: Any, streamed: bool) -> None:
    asked: list[Any] = [{"role": "user", "content": "How is it in Paris and Rome?"}]
    arguments: Any = {"model": MODEL, "tools": [TOOL, OTHER], "tool_choice": choice, "store": False}
    if streamed:
        with client.responses.stream(input=asked, **arguments) as stream:
            pieces = [event.delta for event in stream if event.type == "response.function_call_arguments.delta"]
            first = stream.get_final_response()
        assert len(pieces) == 4
    else:
        first = client.responses.create(input=asked, **arguments)
    assert first.output_text == "Let me see."
    calls = calls_of(first)
    assert [json.loads(call.arguments) for call in calls] == [{"city": "Paris"}, {"city": "Rome"}]
    assert {call.name for call in calls} == {"news" if isinstance(choice, dict) else "weather"}
    results = [
        {
            "type": "function_call_output",
            "call_id": call.call_id,
            "output": f"fine in {json.loads(call.arguments)['city']}",
        }
        for call in calls
    ]
    items: list[Any] = [*asked, *first.output, *results]
    second = client.responses.create(input=items, **{**arguments, "tool_choice": "auto"})
    assert second.output_text == "It is fine in Paris and fine in Rome."


def test_no_tool(client: OpenAI) -> None:
    answer = client.responses.create(model=MODEL, input="Paris?", tools=[TOOL], tool_choice="none")
    assert answer.output_text == "user: Paris?"
    assert not calls_of(answer)
    open_question = client.responses.create(model=MODEL, input="hm", tools=[TOOL])
    assert open_question.output_text == "Which city?"


def test_an_image(client: OpenAI) -> None:
    content: Any = [
        {"type": "input_text", "text": "what is it?"},
        {"type": "input_image", "image_url": GIF, "detail": "low"},
    ]
    answer = client.responses.create(model=MODEL, input=[{"role": "user", "content": content}])
    assert answer.output_text == "user: what is it? (image)"


def test_a_parsed_answer(client: OpenAI) -> None:
    class Answer(BaseModel):
        said: str

    answer = client.responses.parse(model="openclaw/words", input='{"said":"yes"}', text_format=Answer)
    assert answer.output_parsed == Answer(said="yes")


def test_an_answer_that_was_cut(client: OpenAI) -> None:
    answer = client.responses.create(model="openclaw/pause", input="cut")
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"


def test_errors(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.responses.create(model="openclaw/nobody", input="hi")
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as built_in:
        client.responses.create(model=MODEL, input="hi", tools=[{"type": "web_search_preview"}])
    assert built_in.value.param == "tools[0].type"
    with pytest.raises(openai.RateLimitError) as slow:
        client.responses.create(model="openclaw/fail", input="429")
    assert slow.value.response.headers["retry-after"] == "7"
    with client.responses.create(model="openclaw/fail-late", input="x", stream=True) as stream:
        events = list(stream)
    assert events[-1].type == "response.failed"
    assert events[-1].response.error is not None
    assert events[-1].response.error.message == "out of order"


def test_previous_response_id(client: OpenAI) -> None:
    first = client.responses.create(model=MODEL, input="a", instructions="Be brief.")
    second = client.responses.create(model=MODEL, input="b", previous_response_id=first.id)
    assert second.output_text == "user: a | assistant: system: Be brief. | user: a | user: b"
    assert second.previous_response_id == first.id
    with pytest.raises(openai.NotFoundError) as unknown:
        client.responses.create(model=MODEL, input="b", previous_response_id=f"resp_{'0' * 32}", stream=True)
    assert (unknown.value.code, unknown.value.param) == ("previous_response_not_found", "previous_response_id")


def test_tools_go_on_from_the_previous_response(client: OpenAI) -> None:
    first = client.responses.create(model=MODEL, input="How is it in Paris and Rome?", tools=[TOOL])
    results: Any = [
        {"type": "function_call_output", "call_id": call.call_id, "output": "fine"} for call in calls_of(first)
    ]
    second = client.responses.create(model=MODEL, input=results, tools=[TOOL], previous_response_id=first.id)
    assert second.output_text == "It is fine and fine."


def test_a_conversation(client: OpenAI) -> None:
    for text, heard in (("a", "user: a"), ("b", "user: a | assistant: user: a | user: b")):
        answer = client.responses.create(model=MODEL, input=text, conversation="trip")
        assert answer.output_text == heard
        assert answer.conversation is not None
        assert answer.conversation.id == "trip"
