"""A response request out of its body, and the response's bytes, whole and streamed, out of what an agent says."""

from __future__ import annotations

import json
from base64 import b64encode
from random import Random
from typing import Any

from fuzz.invariants import random_of
from fuzz.targets.json5 import same
from gateway.api.parse import MODEL_CHARACTERS
from gateway.api.parse_messages import MESSAGES
from gateway.api.parse_tools import TOOLS
from gateway.api.responses_bytes import ResponseEncoder, response
from gateway.api.responses_parse import METADATA_PAIRS, ResponsesRequest, responses_request
from gateway.errors import RequestError
from gateway.model.chat import Image, Message
from gateway.model.run import Answer, RunDone, RunFailed, ToolCallDelta, Usage
from gateway.wire.sse import SseDecoder, SseEvent

__all__ = ["one_input"]

MESSAGE_CHARACTERS = 400
RUN = "0123456789abcdef" * 2
ROLES = {"system", "developer", "user", "assistant", "tool"}
# Members of a response that repeat the request as it is, where it says anything.
REPEATED = {
    "instructions", "max_output_tokens", "parallel_tool_calls", "previous_response_id", "prompt_cache_key",
    "safety_identifier", "store", "temperature", "tool_choice", "top_p", "truncation", "user", "metadata",
}  # fmt: skip
# Parameters of a run, and what the request calls them.
PARAMETERS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "parallel_tool_calls": "parallel_tool_calls",
    "max_completion_tokens": "max_output_tokens",
}


def one_input(data: bytes) -> None:
    try:
        request = responses_request(data)
    except RequestError as error:
        assert (error.status, error.type) in {(400, "invalid_request_error"), (404, "invalid_request_error")}
        assert error.status == 400 or error.code in {"previous_response_not_found", "item_not_found"}
        assert 0 < len(error.message) <= MESSAGE_CHARACTERS, "an error must not repeat all that was sent"
        error.message.encode()
        return
    value = json.loads(data.decode().removeprefix("\ufeff"))
    _accepted(request, {name: one for name, one in value.items() if one is not None})
    _round_trip(request)
    _answer(request)
    _stream(request, random_of(data))


def _accepted(request: ResponsesRequest, value: dict[str, Any]) -> None:
    chat = request.chat
    assert 0 < len(chat.messages) <= MESSAGES + 1
    assert {message.role for message in chat.messages} <= ROLES
    assert any(message.role in {"user", "tool"} for message in chat.messages)
    assert chat.model == value.get("model")
    assert chat.model is None or len(chat.model) <= MODEL_CHARACTERS
    assert chat.stream is bool(value.get("stream"))
    assert chat.user == (value.get("user", "").strip() or None)
    assert request.store is value.get("store", True)
    assert request.after == value.get("previous_response_id", "resp_")[5:] or request.after is None
    assert len(chat.tools) == len(value.get("tools", ())) <= TOOLS
    assert len(value.get("metadata", ())) <= METADATA_PAIRS
    for name in REPEATED & value.keys():
        assert same(request.echo[name], value[name]), name
    for name, asked in PARAMETERS.items():
        if name in chat.parameters:
            assert same(chat.parameters[name], value[asked])
    texts = "".join(message.text for message in chat.messages)
    if isinstance(value["input"], str):
        assert value["input"] == chat.messages[-1].text
    else:
        for item in value["input"]:
            holder = {"message": "content", "function_call_output": "output"}.get(item.get("type", "message"))
            content = item.get(holder) if holder else None
            assert not isinstance(content, str) or content in texts, "something that was said got lost"
    calls = [call for message in chat.messages for call in message.tool_calls]
    if isinstance(value["input"], list):
        assert len(calls) == sum(item.get("type") == "function_call" for item in value["input"])
    images = [part for message in chat.messages for part in message.parts if isinstance(part, Image)]
    assert len(images) == chat.images


def _references(request: ResponsesRequest, index: int) -> list[dict[str, Any]]:
    if index not in request.references:
        return []
    run_id, text, calls = request.references[index]
    ids = [f"msg_{run_id}00"] * text + [f"fc_{run_id}{number:02x}" for number in calls]
    return [{"type": "item_reference", "id": identity} for identity in ids]


def _items(message: Message, *, bare: bool) -> list[dict[str, Any]]:
    """`bare`: it is there even if it says nothing."""
    if message.role == "tool":
        return [{"type": "function_call_output", "call_id": message.tool_call_id, "output": message.text}]
    calls = [
        {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}
        for call in message.tool_calls
    ]
    if not message.text and (calls or not bare):
        return calls
    if not bare:  # what is said belongs to a message with a call of its own
        return [*calls, {"role": "assistant", "content": message.text}]
    content: Any = message.text
    if message.parts:
        content = [
            {"type": "input_text", "text": part} if isinstance(part, str) else _image(part) for part in message.parts
        ]
    return [{"role": message.role, "content": content}, *calls]


def _image(image: Image) -> dict[str, Any]:
    url = f"data:{image.media_type};base64,{b64encode(image.data).decode()}"
    return {"type": "input_image", "image_url": url, "detail": image.detail}


def _round_trip(request: ResponsesRequest) -> None:
    """The request, written plainly, is the same request."""
    chat = request.chat
    body: dict[str, Any] = {
        **request.echo,
        "input": [
            item
            for index, message in enumerate(chat.messages)
            for item in (*_references(request, index), *_items(message, bare=index not in request.references))
        ],
        "instructions": None,
        "model": chat.model,
        "stream": chat.stream,
    }
    if "parallel_tool_calls" not in chat.parameters:  # the response says what it is then
        del body["parallel_tool_calls"]
    again = responses_request(json.dumps(body).encode())
    assert [*again.references.values()] == [*request.references.values()]
    assert again.chat == chat, f"{again.chat}\nis not\n{chat}"
    assert same(dict(again.chat.parameters), dict(chat.parameters))
    assert (again.after, again.conversation, again.store) == (request.after, request.conversation, request.store)
    apart: dict[str, Any] = {"instructions": None, "parallel_tool_calls": None}
    assert same({**again.echo, **apart}, {**request.echo, **apart})


def _answer(request: ResponsesRequest) -> None:
    """What we write json reads as what was said."""
    chat, model = request.chat, request.chat.model or "openclaw"
    text = chat.messages[-1].text
    calls = tuple(call for message in chat.messages for call in message.tool_calls)
    whole = json.loads(response(RUN, 1, model, request.echo, Answer(text, Usage(1, 2), RunDone(), calls, text)))
    kinds = [item["type"] for item in whole["output"]]
    assert kinds == ["reasoning"] * bool(text) + ["message"] * bool(text or not calls) + ["function_call"] * len(calls)
    assert all(item["content"][0]["text"] == text for item in whole["output"] if item["type"] == "message")
    assert [
        (item["call_id"], item["name"], item["arguments"])
        for item in whole["output"]
        if item["type"] == "function_call"
    ] == [tuple(call) for call in calls]
    assert (whole["model"], whole["status"]) == (model, "completed")
    assert same({name: whole[name] for name in request.echo}, json.loads(json.dumps(dict(request.echo))))


def _stream(request: ResponsesRequest, random: Random) -> None:
    """The events, read by an independent reader of event streams, tell the same from piece to piece as in the end."""
    texts = [message.text for message in request.chat.messages if message.text]
    calls = [call for message in request.chat.messages for call in message.tool_calls]
    encoder = ResponseEncoder(RUN, 1, request.chat.model or "openclaw", request.echo)
    stream = encoder.begin()
    for text in texts:
        if random.random() < 0.2:
            stream += encoder.reasoning(text)
            continue
        if not encoder.in_message:
            stream += encoder.begin_message()
        stream += encoder.texts([text[:1], text[1:]]) if random.random() < 0.5 else encoder.texts([text])
        if calls and random.random() < 0.5:
            call = random.choice(calls)
            number = calls.index(call)
            stream += encoder.call(ToolCallDelta(number, call.id, call.name))
            stream += encoder.call(ToolCallDelta(number, arguments=call.arguments))
    failed = random.random() < 0.2
    if failed:
        stream += encoder.failed(RunFailed("no", "code", 500), Usage(1, 2))
    else:
        stream += encoder.done(RunDone(), Usage(1, 2))
    decoded = [event for event in SseDecoder().receive(stream) if isinstance(event, SseEvent)]
    assert decoded[-1].data == "[DONE]"
    events = [json.loads(event.data) for event in decoded[:-1]]
    assert [event["type"] for event in events] == [event.type for event in decoded[:-1]]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    last = events[-1]["response"]
    assert events[-1]["type"] == ("response.failed" if failed else "response.completed")
    assert last["status"] == ("failed" if failed else "completed")
    for index, item in enumerate(last["output"]):
        about = [event for event in events if event.get("output_index") == index]
        assert about[0]["type"] == "response.output_item.added"
        assert failed or (about[-1]["type"], about[-1]["item"]) == ("response.output_item.done", item)
        said = "".join(event["delta"] for event in about if event["type"].endswith(".delta"))
        match item["type"]:
            case "message":
                assert said == item["content"][0]["text"]
            case "reasoning":
                assert said == item["summary"][0]["text"]
            case _:
                assert said == item["arguments"]
