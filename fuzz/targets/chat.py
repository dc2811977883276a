"""A chat completion request out of its body, and the answer's bytes out of its text."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

from fuzz.targets.json5 import same
from gateway.api.chat_bytes import DONE, FALLBACK_CHARACTERS, ChunkEncoder, completion, fallback_text
from gateway.api.json_body import json_body
from gateway.api.parse import MODEL_CHARACTERS, chat_request
from gateway.api.parse_messages import MESSAGES
from gateway.api.parse_tools import TOOLS
from gateway.errors import RequestError
from gateway.json_limits import DIGITS
from gateway.model.chat import ROLES, ChatRequest, Image, Message, ToolCall
from gateway.model.run import Answer, ModelChange, RunDone, RunFailed, ToolCallDelta, Usage
from gateway.wire.grammar import FIELD_VALUE
from gateway.wire.sse import SseDecoder, SseEvent

__all__ = ["one_input"]

MESSAGE_CHARACTERS = 400
# What the reader of the parameters takes from a JSON value as it is.
PARAMETERS = {
    "temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "max_tokens", "max_completion_tokens",
    "stop", "response_format", "reasoning_effort", "logit_bias", "verbosity", "parallel_tool_calls",
}  # fmt: skip


class _NotJson(Exception):
    pass


def one_input(data: bytes) -> None:
    _json(data)
    try:
        request = chat_request(data)
    except RequestError as error:
        _refused(error)
        return
    value = json.loads(data.decode().removeprefix("\ufeff"))
    _accepted(request, value)
    _answer(request)


def _json(data: bytes) -> None:
    """Whatever json reads we read as the same, but for its constants, half surrogate pairs and endless integers."""
    try:
        value: Any = json_body(data)
    except RequestError as error:
        assert error.code == "invalid_json"
        _refused(error)
        try:
            text = data.decode().removeprefix("\ufeff")
            wanted = json.loads(text, parse_constant=_no_constant, parse_int=_limited)
            json.dumps(wanted, ensure_ascii=False).encode()
        except (ValueError, RecursionError, _NotJson):
            return
        raise AssertionError(f"json reads {wanted!r}, and we say {error}") from error
    assert same(value, json.loads(data.decode().removeprefix("\ufeff"), parse_constant=_no_constant))


def _no_constant(name: str) -> Any:
    raise _NotJson(name)


def _limited(digits: str) -> int:
    if len(digits) > DIGITS:
        raise _NotJson(digits)
    return int(digits)


def _refused(error: RequestError) -> None:
    assert (error.status, error.type) == (400, "invalid_request_error")
    assert 0 < len(error.message) <= MESSAGE_CHARACTERS, "an error must not repeat all that was sent"
    error.message.encode()


def _accepted(request: ChatRequest, value: dict[str, Any]) -> None:
    assert 0 < len(request.messages) <= MESSAGES
    assert len(request.messages) == len(value["messages"])
    for message, given in zip(request.messages, value["messages"], strict=True):
        _message(message, given)
    assert any(
        message.role == "tool" or (message.role in {"user", "function"} and (message.text or message.parts))
        for message in request.messages
    )
    assert request.images == sum(isinstance(part, Image) for message in request.messages for part in message.parts)
    assert request.model == value.get("model")
    assert request.model is None or len(request.model) <= MODEL_CHARACTERS
    assert request.stream is bool(value.get("stream"))
    assert request.include_usage is bool((value.get("stream_options") or {}).get("include_usage"))
    assert request.user == ((value.get("user") or "").strip() or None)
    known = PARAMETERS if request.tools else PARAMETERS - {"parallel_tool_calls"}
    wanted = {name: value[name] for name in value if name in known and value[name] is not None}
    assert same(dict(request.parameters), wanted)
    assert len({tool.name for tool in request.tools}) == len(request.tools) <= TOOLS
    for tool, described in zip(request.tools, value.get("tools") or (), strict=True):
        function = described["function"]
        assert same(list(tool), [function.get(name) for name in ("name", "description", "parameters", "strict")])
    choice = request.tool_choice
    assert choice.mode in {"auto", "none"} or request.tools
    assert (choice.mode == "function") is (choice.name in {tool.name for tool in request.tools})
    _round_trip(request)


def _message(message: Message, given: dict[str, Any]) -> None:
    assert message.role in ROLES
    assert message.role == given["role"]
    assert message.name == given.get("name")
    assert message.tool_call_id == (given.get("tool_call_id") if message.role == "tool" else None)
    calls = [
        (one["id"], one["function"]["name"], one["function"]["arguments"]) for one in given.get("tool_calls") or ()
    ]
    assert [*map(tuple, message.tool_calls)] == calls
    assert message.role == "assistant" or not calls
    content = given.get("content")
    if isinstance(content, str):
        assert message.text == content
    elif content is None:
        refusal = given.get("refusal")
        assert message.text == (refusal if isinstance(refusal, str) else "")
    else:
        texts = [
            part["refusal" if part["type"] == "refusal" else "text"] for part in content if part["type"] != "image_url"
        ]
        assert message.text == "\n".join(texts)
        assert len(message.parts) == (0 if len(texts) == len(content) else len(content))


def _round_trip(request: ChatRequest) -> None:
    """The request, written plainly, is the same request."""
    body: dict[str, Any] = {
        "messages": [_plainly(message) for message in request.messages],
        "model": request.model,
        "stream": request.stream,
        "stream_options": {"include_usage": request.include_usage},
        "user": request.user,
        "tools": [{"type": "function", "function": tool._asdict()} for tool in request.tools],
        "tool_choice": {"type": "function", "function": {"name": request.tool_choice.name}}
        if request.tool_choice.name is not None
        else request.tool_choice.mode,
        **request.parameters,
    }
    again = chat_request(json.dumps(body).encode())
    assert again == request._replace(parameters=again.parameters, tools=again.tools)
    assert same(dict(again.parameters), dict(request.parameters))
    assert same([list(tool) for tool in again.tools], [list(tool) for tool in request.tools])


def _plainly(message: Message) -> dict[str, Any]:
    return {
        "role": message.role,
        "content": [_part(part) for part in message.parts] or message.text,
        "name": message.name,
        "tool_call_id": message.tool_call_id,
        "tool_calls": [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ],
    }


def _part(part: str | Image) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    url = f"data:{part.media_type};base64,{b64encode(part.data).decode()}"
    return {"type": "image_url", "image_url": {"url": url, "detail": part.detail}}


def _answer(request: ChatRequest) -> None:
    """What we write of these texts and calls, json and a reader of event streams read as these texts and calls."""
    model = request.model or "openclaw"
    texts = [message.text for message in request.messages]
    calls = tuple(call for message in request.messages for call in message.tool_calls)
    answer = Answer("".join(texts), Usage(1, 2, 3, 4), RunDone(), calls, texts[0])
    whole = json.loads(completion("1", 1, model, answer, "stop", reasoning=True))
    (choice,) = whole["choices"]
    assert choice["message"]["content"] == ("".join(texts) or (None if calls else ""))
    assert choice["message"].get("reasoning_content", "") == texts[0]
    assert [_call_of(one) for one in choice["message"].get("tool_calls", [])] == [*calls]
    assert choice["finish_reason"] == ("tool_calls" if calls else "stop")
    assert whole["model"] == model

    encoder = ChunkEncoder("chatcmpl-1", 1, model, include_usage=True)
    apart = [encoder.texts([text]) for text in texts]
    assert encoder.texts(texts) == b"".join(apart)
    failed = RunFailed(texts[-1], "code", 500)
    asked = [piece for number, call in enumerate(calls) for piece in _pieces(number, call)]
    changed = ModelChange(texts[0], texts[-1])
    pieces = [
        encoder.role(),
        encoder.fallback(changed),
        *apart,
        *map(encoder.tool_call, asked),
        encoder.reasoning(texts[0]),
        encoder.finish("stop"),
        encoder.usage(Usage(1, 2)),
    ]
    stream = b"".join((*pieces, encoder.error(failed), DONE))
    events = SseDecoder().receive(stream)
    data = [event.data for event in events if isinstance(event, SseEvent) and event.type == "message"]
    assert len(data) == len(texts) + len(asked) + 6, "a comment is no event"
    assert data[-1] == "[DONE]"
    chunks = [json.loads(one) for one in data[:-1]]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[1:-2]]
    assert [delta["content"] for delta in deltas[: len(texts)]] == texts
    assert _joined([delta["tool_calls"][0] for delta in deltas[len(texts) : -2]]) == [*calls]
    assert deltas[-2] == {"reasoning_content": texts[0]}
    assert all(chunk["model"] == model for chunk in chunks[:-1])
    assert chunks[-1]["error"]["message"] == texts[-1]
    shown = fallback_text(changed)
    assert len(shown) <= FALLBACK_CHARACTERS
    assert FIELD_VALUE.fullmatch(shown)


def _call_of(value: dict[str, Any]) -> ToolCall:
    assert value["type"] == "function"
    return ToolCall(value["id"], value["function"]["name"], value["function"]["arguments"])


def _pieces(number: int, call: ToolCall) -> list[ToolCallDelta]:
    """A call as agents give it: its id and name, and its arguments in two pieces."""
    half = len(call.arguments) // 2
    return [
        ToolCallDelta(number, call.id, call.name),
        ToolCallDelta(number, arguments=call.arguments[:half]),
        ToolCallDelta(number, arguments=call.arguments[half:]),
    ]


def _joined(pieces: list[dict[str, Any]]) -> list[ToolCall]:
    """The calls as the official SDK puts them together: strings with the same name are joined."""
    found: dict[int, ToolCall] = {}
    for piece in pieces:
        function = piece["function"]
        call = found.get(piece["index"], ToolCall("", "", ""))
        found[piece["index"]] = ToolCall(
            call.id + piece.get("id", ""),
            call.name + function.get("name", ""),
            call.arguments + function["arguments"],
        )
    return [found[number] for number in range(len(found))]
