"""The answers of POST /v1/chat/completions as bytes.

Source: https://platform.openai.com/docs/api-reference/chat/object and .../chat/streaming.
"""

from __future__ import annotations

import json
import re
from json.encoder import encode_basestring

from ..model.run import NO_USAGE, Answer, ModelChange, RunFailed, ToolCallDelta, Usage
from .problem import run_error_object

__all__ = ["DONE", "KEEP_ALIVE", "ChunkEncoder", "completion", "fallback_text", "finish_of_calls"]

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"

# What a provider said goes into a header: proxies take 4 KiB for all of them at least.
FALLBACK_CHARACTERS = 200
_UNPRINTABLE = r"[^ -~]"  # compiled at its first use


def _usage(usage: Usage) -> str:
    if usage is NO_USAGE:  # as of most agents in Python
        return '{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}'
    prompt, answer, cached, reasoning = usage
    if cached is reasoning is None:
        return f'{{"prompt_tokens":{prompt},"completion_tokens":{answer},"total_tokens":{prompt + answer}}}'
    details = ""
    if cached is not None:
        details = f',"prompt_tokens_details":{{"cached_tokens":{cached}}}'
    if reasoning is not None:
        details += f',"completion_tokens_details":{{"reasoning_tokens":{reasoning}}}'
    return f'{{"prompt_tokens":{prompt},"completion_tokens":{answer},"total_tokens":{prompt + answer}{details}}}'


def completion(
    run_id: str, created: int, model: str, answer: Answer, finish_reason: str, *, reasoning: bool = False
) -> bytes:
    """A `chat.completion` object.  `created` is in seconds since the epoch; `reasoning`: show what was thought."""
    text, usage, _, tool_calls, thoughts, _ = answer
    content, more = encode_basestring(text), ""
    if thoughts and reasoning:
        more = f',"reasoning_content":{encode_basestring(thoughts)}'
    if tool_calls:
        finish_reason = finish_of_calls(finish_reason)
        content = content if text else "null"
        calls = ",".join(f"{{{_call(call.id, call.name, call.arguments)}}}" for call in tool_calls)
        more += f',"tool_calls":[{calls}]'
    return (
        f'{{"id":"chatcmpl-{run_id}","object":"chat.completion","created":{created},"model":{encode_basestring(model)},'
        f'"choices":[{{"index":0,"message":{{"role":"assistant","content":{content},"refusal":null{more}}},'
        f'"logprobs":null,"finish_reason":{encode_basestring(finish_reason)}}}],"usage":{_usage(usage)}}}'
    ).encode("utf-8", "replace")


def _call(call_id: str, name: str, arguments: str) -> str:
    function = f'{{"name":{encode_basestring(name)},"arguments":{encode_basestring(arguments)}}}'
    return f'"id":{encode_basestring(call_id)},"type":"function","function":{function}'


def finish_of_calls(reason: str) -> str:
    """The finish reason of an answer that asks for calls: clients look there to find out that it does."""
    return "tool_calls" if reason == "stop" else reason


def fallback_text(change: ModelChange) -> bytes:
    """Which model answers in place of the first, and why, as the value of a header or a comment: printable ASCII."""
    text = f"{change.model}; {change.reason}"[:FALLBACK_CHARACTERS]
    return re.sub(_UNPRINTABLE, "?", text).strip().encode()


# What stands around the text of a chunk: behind what all those of its stream begin with, before what they end with.
_TEXT = '"choices":[{"index":0,"delta":{"content":'
_END = '},"logprobs":null,"finish_reason":null}]'
_AFTER = _END + "}\n\n"
_AFTER_WITH_USAGE = _END + ',"usage":null}\n\n'


class ChunkEncoder:
    """The `chat.completion.chunk` events of one stream.

    All but the text is the same in each chunk of a stream, so it is encoded once.
    """

    __slots__ = ("_after", "_before")

    def __init__(self, completion_id: str, created: int, model: str, *, include_usage: bool) -> None:
        name = json.dumps(model, ensure_ascii=False)
        head = f'data: {{"id":"{completion_id}","object":"chat.completion.chunk","created":{created},"model":{name},'
        self._before = head + _TEXT
        self._after = _AFTER_WITH_USAGE if include_usage else _AFTER

    @property
    def _head(self) -> str:
        """What all chunks begin with."""
        return self._before.removesuffix(_TEXT)

    def role(self) -> bytes:
        """The first chunk."""
        return self._choice('{"role":"assistant","content":""}', "null")

    def texts(self, texts: list[str]) -> bytes:
        """Pieces of the answer, each in a chunk of its own.

        `?` stands for half of a surrogate pair, which UTF-8 cannot hold, here as in the other chunks.
        """
        if len(texts) == 1:
            return f"{self._before}{encode_basestring(texts[0])}{self._after}".encode("utf-8", "replace")
        joined = f"{self._after}{self._before}".join(map(encode_basestring, texts))
        return f"{self._before}{joined}{self._after}".encode("utf-8", "replace")

    def tool_call(self, delta: ToolCallDelta) -> bytes:
        """A piece of a call; the first of each tells its id and its name."""
        number, call_id, name, arguments = delta
        if call_id or name:
            call = _call(call_id, name, arguments)
        else:
            call = f'"function":{{"arguments":{encode_basestring(arguments)}}}'
        return self._choice(f'{{"tool_calls":[{{"index":{number},{call}}}]}}', "null")

    def reasoning(self, text: str) -> bytes:
        """A piece of what was thought."""
        return self._choice(f'{{"reasoning_content":{encode_basestring(text)}}}', "null")

    @staticmethod
    def fallback(change: ModelChange) -> bytes:
        """A comment, since the head is gone by then: which model answers, and why."""
        return b": fallback %b\n\n" % fallback_text(change)

    def finish(self, reason: str) -> bytes:
        """The chunk that tells why the answer ends; exactly one in a good stream."""
        return self._choice("{}", encode_basestring(reason))

    def usage(self, usage: Usage) -> bytes:
        """The chunk that `stream_options.include_usage` asks for: without choices, after the finish reason."""
        return f'{self._head}"choices":[],"usage":{_usage(usage)}}}\n\n'.encode("utf-8", "replace")

    @staticmethod
    def error(failed: RunFailed) -> bytes:
        """A failure inside a stream that has begun."""
        return b"data: " + run_error_object(failed) + b"\n\n"

    def _choice(self, delta: str, finish: str) -> bytes:
        choice = f'"choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}]'
        return (self._head + choice + self._after.removeprefix(_END)).encode("utf-8", "replace")
