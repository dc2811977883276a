"""A provider's stream: what is read by a template, in runs of events, is what reading each event as JSON gives."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from fuzz.answers import PROVIDER, Read, check, numbered, read_stream, read_whole
from fuzz.invariants import after_each, every_cutting_gives
from gateway.providers.openai_stream import CompletionReader

__all__ = ["one_input"]


def one_input(data: bytes) -> None:
    plain = _read([data], by_template=False)
    assert every_cutting_gives(data, partial(_read, by_template=True)) == plain, f"by JSON alone {plain}"
    for end in (b"\n\n", b"\n"):
        assert _read(after_each(data, end), by_template=True) == plain, f"by JSON alone {plain}, cut after {end!r}"
    check(plain)
    check(read_whole(_reader(), data))


def _read(cut: Iterable[bytes], *, by_template: bool) -> Read:
    reader = _reader()
    if not by_template:
        reader._lessons = 0
    return read_stream(reader, cut)


def _reader() -> CompletionReader:
    return CompletionReader(PROVIDER, "m", numbered())
