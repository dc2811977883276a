"""What holds of every reader of a model's answer, whatever API it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import NamedTuple

from gateway.errors import AgentError
from gateway.model.run import ReasoningDelta, ToolCallDelta, Usage
from gateway.providers.calls import CALLS
from gateway.providers.dialect import Piece, Reader
from gateway.providers.settings import provider

__all__ = ["PROVIDER", "Read", "check", "numbered", "read_stream", "read_whole"]

PROVIDER = provider("ollama", environment={})


def numbered() -> Callable[[], str]:
    """Ids that every reader makes alike."""
    numbers = count()
    return lambda: f"made by us: {next(numbers)}"


class Read(NamedTuple):
    """What a reader made of its input."""

    pieces: list[Piece]
    finish_reason: str | None
    usage: Usage | None
    ended: bool
    failure: tuple[str, str, int] | None


def read_stream(reader: Reader, cut: Iterable[bytes]) -> Read:
    """A stream in pieces."""
    pieces: list[Piece] = []
    for data in cut:
        ended = reader.ended
        found = reader.receive(data)
        assert not (ended and found), "a piece after the end"
        pieces += found
    reader.eof()
    return _result(reader, pieces)


def read_whole(reader: Reader, data: bytes) -> Read:
    """The same bytes as one document."""
    return _result(reader, reader.receive_whole(data))


def _result(reader: Reader, pieces: list[Piece]) -> Read:
    failure = reader.failure
    said = None if failure is None else (failure.message, failure.code, failure.status)
    return Read(pieces, reader.finish_reason, reader.usage, reader.ended, said)


def check(read: Read) -> None:
    """Raises AssertionError."""
    assert read.ended
    calls: list[str] = []
    for piece in read.pieces:
        match piece:
            case str():
                assert piece, "an empty text"
                piece.encode()
            case ReasoningDelta(text):
                assert text, "an empty thought"
                text.encode()
            case ToolCallDelta(number, call_id, name, arguments):
                f"{call_id}{name}{arguments}".encode()
                if call_id or name:
                    assert number == len(calls), "calls are counted from 0, each of them begun once"
                    assert call_id, "a call without an id"
                    assert name, "a call without a name"
                    calls.append(call_id)
                else:
                    assert 0 <= number < len(calls), "arguments of a call that has not begun"
                    assert arguments, "an empty piece of a call"
    assert len(calls) <= CALLS
    assert len(set(calls)) == len(calls), "two calls with one id"
    if read.failure is None:
        assert read.finish_reason in {"stop", "length", "content_filter", "tool_calls"}
        assert (read.finish_reason == "tool_calls") <= bool(calls), "tool_calls, and none there"
        assert (read.finish_reason == "stop") <= (not calls), "calls, and nobody is told to make them"
    else:
        AgentError(read.failure[0]).message.encode("utf-8", "surrogatepass")
        assert 400 <= read.failure[2] < 600
    if read.usage is not None:
        assert all(count is None or count >= 0 for count in read.usage)
