"""One question to POST /v1/chat/completions, whoever serves it, and its answer."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..model.http import Headers, Malformed
from ..model.names import PUBLIC, headers
from ..records import Protocol
from ..wire.sse import SseDecoder
from .console import UnansweredError

__all__ = ["CHAT_PATH", "Post", "Question", "Reply", "ask_stream", "ask_whole", "text_of"]

CHAT_PATH = "/v1/chat/completions"

ANSWER_BYTES = 64 << 20
"""Of an answer in one piece.  It is held in memory twice; a model writes about a thousandth of that."""

REFUSAL_BYTES = 64 << 10
"""Of what a server says that does not answer 200; it may be no gateway at all."""


class Reply(Protocol):
    """What came back, from a socket or from within this process."""

    @property
    def status(self) -> int: ...

    async def read(self) -> bytes:
        """What has come of the body; empty at its end.  Raises UnansweredError."""


Post: TypeAlias = Callable[[Headers, bytes], AbstractAsyncContextManager[Reply]]
"""(headers, body) -> a block that has the reply; leaving it early ends the run.  Raises UnansweredError."""


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    agent: str | None = None
    session_key: str | None = None

    def headers(self) -> Headers:
        """Those of the request."""
        lines = [(b"content-type", b"application/json")]
        for suffix, value in (("agent-id", self.agent), ("session-key", self.session_key)):
            if value:  # as the bytes that were typed; whether they are UTF-8 is for the gateway to judge
                lines.append((headers(suffix)[0], value.encode("utf-8", "surrogateescape")))
        return tuple(lines)

    def body(self, *, stream: bool) -> bytes:
        """That of the request."""
        document = {"model": PUBLIC, "messages": [{"role": "user", "content": self.text}], "stream": stream}
        return json.dumps(document).encode()


async def ask_whole(post: Post, question: Question) -> dict[str, Any]:
    """The completion object.  Raises UnansweredError."""
    async with post(question.headers(), question.body(stream=False)) as reply:
        await _accept(reply)
        body = await _read(reply, ANSWER_BYTES)
        if len(body) > ANSWER_BYTES:
            raise UnansweredError(f"the answer is longer than {ANSWER_BYTES >> 20} MiB; --stream takes longer ones")
        document = _document(body)
        if "choices" not in document:
            raise UnansweredError("what answers there is no gateway: its answer is not a completion")
        return document


async def ask_stream(post: Post, question: Question) -> AsyncGenerator[dict[str, Any], None]:
    """The chunk objects as they come.  A failure within the stream is yielded, and then raised: UnansweredError."""
    decoder = SseDecoder()
    async with post(question.headers(), question.body(stream=True)) as reply:
        await _accept(reply)
        while data := await reply.read():
            for event in decoder.receive(data):
                if isinstance(event, Malformed):
                    raise UnansweredError(event.reason)
                if event.data == "[DONE]":
                    return
                chunk = _document(event.data.encode())
                yield chunk
                if "error" in chunk:
                    raise UnansweredError(_message(chunk))
    raise UnansweredError("the answer was cut off before its end")


def text_of(answer: Mapping[str, Any]) -> str:
    """What a completion, or a chunk of one, says."""
    match answer:
        case {"choices": [{"message": {"content": str(text)}}, *_]} | {
            "choices": [{"delta": {"content": str(text)}}, *_]
        }:
            return text
        case _:
            return ""


async def _accept(reply: Reply) -> None:
    if reply.status == 200:
        return
    try:
        document = _document(await _read(reply, REFUSAL_BYTES))
        message = _message(document)
    except UnansweredError:
        raise UnansweredError(f"what answers there, with status {reply.status}, is no gateway") from None
    raise UnansweredError(f"{message}{_REMEDIES.get(str(document['error'].get('code')), '')}")


_REMEDIES = {
    "invalid_api_key": " Give it with --token, or as the configuration or the environment of the gateway has it.",
    "not_found": " Does its configuration say gateway.http.endpoints.chatCompletions.enabled: true?",
}


async def _read(reply: Reply, limit: int) -> bytes:
    """The body; of a longer one than `limit`, a little more than that."""
    body = bytearray()
    while len(body) <= limit and (data := await reply.read()):
        body += data
    return bytes(body)


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise UnansweredError("what answers there is no gateway: its answer is not a JSON object")
    return document


def _message(document: Mapping[str, Any]) -> str:
    match document:
        case {"error": {"message": str(message)}}:
            return message
        case _:
            raise UnansweredError("what answers there is no gateway: its error has no message")
