"""The answers of POST /v1/chat/completions as bytes.

Source: https://platform.openai.com/docs/api-reference/chat/object and .../chat/streaming.
"""

from __future__ import annotations

import json
from json.encoder import encode_basestring

from ..model.run import Answer, RunFailed, Usage
from .problem import run_error_object

__all__ = ["DONE", "KEEP_ALIVE", "ChunkEncoder", "completion"]

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"


def _usage(usage: Usage) -> str:
    prompt, answer, _, _ = usage
    return f'{{"prompt_tokens":{prompt},"completion_tokens":{answer},"total_tokens":{prompt + answer}}}'


def completion(run_id: str, created: int, model: str, answer: Answer, finish_reason: str) -> bytes:
    """A `chat.completion` object.  `created` is in seconds since the epoch."""
    text = answer.text
    return (
        f'{{"id":"chatcmpl-{run_id}","object":"chat.completion","created":{created},"model":{encode_basestring(model)},'
        f'"choices":[{{"index":0,"message":{{"role":"assistant","content":{encode_basestring(text)},"refusal":null}},'
        f'"logprobs":null,"finish_reason":{encode_basestring(finish_reason)}}}],"usage":{_usage(answer.usage)}}}'
    ).encode("utf-8", "replace")


class ChunkEncoder:
    """The `chat.completion.chunk` events of one stream.

    All but the text is the same in each chunk of a stream, so it is encoded once.
    """

    __slots__ = ("_after", "_before", "_head", "_tail")

    def __init__(self, completion_id: str, created: int, model: str, *, include_usage: bool) -> None:
        name = json.dumps(model, ensure_ascii=False)
        self._head = (
            f'data: {{"id":"{completion_id}","object":"chat.completion.chunk","created":{created},"model":{name},'
        )
        self._tail = ',"usage":null}\n\n' if include_usage else "}\n\n"
        self._before = self._head + '"choices":[{"index":0,"delta":{"content":'
        self._after = '},"logprobs":null,"finish_reason":null}]' + self._tail

    def role(self) -> bytes:
        """The first chunk."""
        return self._choice('{"role":"assistant","content":""}', "null")

    def texts(self, texts: list[str]) -> bytes:
        """Pieces of the answer, each in a chunk of its own.

        `?` stands for half of a surrogate pair, which UTF-8 cannot hold, here as in the other chunks.
        """
        joined = f"{self._after}{self._before}".join(map(encode_basestring, texts))
        return f"{self._before}{joined}{self._after}".encode("utf-8", "replace")

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
        return (self._head + choice + self._tail).encode("utf-8", "replace")
