"""A chat completion request out of its body, and the answer's bytes out of its text."""

from __future__ import annotations

import json
from typing import Any

from fuzz.targets.json5 import same
from gateway.api.chat_bytes import DONE, ChunkEncoder, completion
from gateway.api.json_body import DIGITS, json_body
from gateway.api.parse import MESSAGES, MODEL_CHARACTERS, chat_request
from gateway.errors import RequestError
from gateway.model.chat import ROLES, ChatRequest
from gateway.model.run import Answer, RunDone, RunFailed, Usage
from gateway.wire.sse import SseDecoder, SseEvent

__all__ = ["one_input"]

MESSAGE_CHARACTERS = 400
# What the reader of the parameters takes from a JSON value as it is.
PARAMETERS = {
    "temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "max_tokens", "max_completion_tokens",
    "stop", "response_format", "reasoning_effort", "logit_bias",
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
        assert message.role in ROLES
        assert message.role == given["role"]
        assert (message.name, message.tool_call_id) == (given.get("name"), given.get("tool_call_id"))
        content = given.get("content")
        if isinstance(content, str):
            assert message.text == content
        elif content is None:
            assert message.text == ""
        else:
            assert message.text == "\n".join(
                part["refusal" if part["type"] == "refusal" else "text"] for part in content
            )
    assert any(message.text and message.role in {"user", "tool", "function"} for message in request.messages)
    assert request.model == value.get("model")
    assert request.model is None or len(request.model) <= MODEL_CHARACTERS
    assert request.stream is bool(value.get("stream"))
    assert request.include_usage is bool((value.get("stream_options") or {}).get("include_usage"))
    assert request.user == ((value.get("user") or "").strip() or None)
    wanted = {name: value[name] for name in value if name in PARAMETERS and value[name] is not None}
    assert same(dict(request.parameters), wanted)
    _round_trip(request)


def _round_trip(request: ChatRequest) -> None:
    """The request, written plainly, is the same request."""
    body: dict[str, Any] = {
        "messages": [
            {"role": one.role, "content": one.text}
            | ({} if one.name is None else {"name": one.name})
            | ({} if one.tool_call_id is None else {"tool_call_id": one.tool_call_id})
            for one in request.messages
        ],
        "model": request.model,
        "stream": request.stream,
        "stream_options": {"include_usage": request.include_usage},
        "user": request.user,
        **request.parameters,
    }
    again = chat_request(json.dumps(body).encode())
    assert again == request._replace(parameters=again.parameters)
    assert same(dict(again.parameters), dict(request.parameters))


def _answer(request: ChatRequest) -> None:
    """What we write of these texts, json and a reader of event streams read as these texts."""
    model = request.model or "openclaw"
    texts = [message.text for message in request.messages]
    whole = json.loads(completion("1", 1, model, Answer("".join(texts), Usage(1, 2), RunDone()), "stop"))
    assert whole["choices"][0]["message"]["content"] == "".join(texts)
    assert whole["model"] == model

    encoder = ChunkEncoder("chatcmpl-1", 1, model, include_usage=True)
    apart = [encoder.texts([text]) for text in texts]
    assert encoder.texts(texts) == b"".join(apart)
    failed = RunFailed(texts[-1], "code", 500)
    pieces = [encoder.role(), *apart, encoder.finish("stop"), encoder.usage(Usage(1, 2))]
    stream = b"".join((*pieces, encoder.error(failed), DONE))
    events = SseDecoder().receive(stream)
    assert len(events) == len(texts) + 5
    data = [event.data for event in events if isinstance(event, SseEvent) and event.type == "message"]
    assert data[-1] == "[DONE]"
    chunks = [json.loads(one) for one in data[:-1]]
    assert [chunk["choices"][0]["delta"]["content"] for chunk in chunks[1 : 1 + len(texts)]] == texts
    assert all(chunk["model"] == model for chunk in chunks[:-1])
    assert chunks[-1]["error"]["message"] == texts[-1]
