"""A provider's stream: what is read by a template, in runs of events, is what reading each event as JSON gives."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

from fuzz.invariants import every_cutting_gives
from gateway.errors import AgentError
from gateway.model.run import Usage
from gateway.providers.dialect import Piece
from gateway.providers.openai_stream import CompletionReader
from gateway.providers.settings import provider

__all__ = ["one_input"]

PROVIDER = provider("ollama", environment={})


class _Read(NamedTuple):
    pieces: list[Piece]
    finish_reason: str | None
    usage: Usage | None
    ended: bool
    failure: tuple[str, str, int] | None


def one_input(data: bytes) -> None:
    plain = _read([data], by_template=False)
    assert every_cutting_gives(data, partial(_read, by_template=True)) == plain, f"by JSON alone {plain}"
    reader = CompletionReader(PROVIDER, "m")
    pieces = reader.receive_whole(data)
    assert reader.ended
    assert len(pieces) <= 1
    _check(_result(reader, pieces))


def _read(cut: Iterable[bytes], *, by_template: bool) -> _Read:
    reader = CompletionReader(PROVIDER, "m")
    if not by_template:
        reader._lessons = 0
    pieces: list[Piece] = []
    for data in cut:
        ended = reader.ended
        found = reader.receive(data)
        assert not (ended and found), "a text after the end"
        pieces += found
    reader.eof()
    assert reader.ended
    found_so_far = _result(reader, pieces)
    _check(found_so_far)
    return found_so_far


def _result(reader: CompletionReader, pieces: list[Piece]) -> _Read:
    failure = reader.failure
    said = None if failure is None else (failure.message, failure.code, failure.status)
    return _Read(pieces, reader.finish_reason, reader.usage, reader.ended, said)


def _check(read: _Read) -> None:
    assert all(read.pieces), "an empty text"
    for text in read.pieces:
        if isinstance(text, str):
            text.encode()
    if read.failure is None:
        assert read.finish_reason in {None, "stop", "length", "content_filter"}
    else:
        AgentError(read.failure[0]).message.encode("utf-8", "surrogatepass")
        assert 400 <= read.failure[2] < 600
