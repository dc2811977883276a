"""Edits of a configuration's text: what comes out means what was asked for, and secrets that were hidden come back.

The input is two JSON5 texts with a NUL between them: the text, and what it is to mean.
"""

from __future__ import annotations

from fuzz.invariants import random_of
from fuzz.json5_writer import write
from gateway.config.edit import MAX_DEPTH, edit
from gateway.config.json5 import Document, Json5Error, loads, parse
from gateway.config.redact import SentinelError, redact, redact_text, restore, restore_text
from gateway.config.style import same
from gateway.model.names import REDACTED

__all__ = ["one_input"]

MAX_TEXT = 2_000
"""Bytes: what is looked for lies in how pieces meet, not in how many there are."""


def one_input(data: bytes) -> None:
    first, _, second = data[:MAX_TEXT].partition(b"\0")
    text, wanted = _read(first), _read(second)
    if text is not None and wanted is not None:
        _edits(text[0], text[1], wanted[1])
        again = write(text[1].value, random_of(data))
        _edits(again, parse(again), wanted[1])
    if text is not None and isinstance(text[1].value, dict):
        _secrets(*text)


def _read(data: bytes) -> tuple[str, Document] | None:
    try:
        text = data.decode()
        return text, parse(text, MAX_DEPTH)
    except (UnicodeDecodeError, Json5Error):
        return None


def _edits(text: str, document: Document, wanted: Document) -> None:
    assert edit(text, document.value) == text
    edited = edit(text, wanted.value)
    assert same(loads(edited), wanted.value), edited
    assert edit(edited, wanted.value) == edited
    assert same(loads(edit(edited, document.value)), document.value), "and back"


def _secrets(text: str, document: Document) -> None:
    if REDACTED in text:
        return  # who has written it himself is told so, or gets what he has written
    shown = redact(document.value)
    assert same(restore(shown, document.value), document.value)
    told = redact_text(text, document)
    if told is None:
        return
    assert same(loads(told), shown), told
    try:
        assert restore_text(told, parse(told), text, document) == text
    except SentinelError as error:
        raise AssertionError(told) from error
