"""Mutations that know the words of a grammar: beside atheris, and instead of it where it is not installed."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

__all__ = ["Mutator", "read_dictionary"]

_ENTRY = re.compile(r'(?:[A-Za-z_0-9]+=)?"((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|.)")
_NUMBER = re.compile(rb"[0-9A-Fa-f]{1,18}")
_ENDS = (b"\r\n\r\n", b"\n\n", b"\r\n", b"\n", b"}", b" ")


def read_dictionary(path: Path) -> list[bytes]:
    r"""The words of a dictionary of libFuzzer or AFL: `name="text"`, with `\\`, `\"`, `\xHH`.  Else ValueError."""
    words = []
    for number, line in enumerate(path.read_text("ascii").splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        entry = _ENTRY.fullmatch(line)
        if entry is None:
            raise ValueError(f'{path.name}, line {number}: not `name="text"`')
        text = _ESCAPE.sub(lambda found: chr(int(found[1][1:], 16)) if found[1][0] == "x" else found[1], entry[1])
        words.append(text.encode("latin-1"))
    return words


def _json(data: bytes) -> Any:
    """The value of a JSON text, or of the members of an object without its braces; None for nothing such."""
    for text in (data, b"{" + data + b"}"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            continue
    return None


class Mutator:
    """Changes an input in one to four places.  The same Random gives the same changes."""

    def __init__(self, words: list[bytes], seeds: list[bytes]) -> None:
        self._words = words or [b"\0"]
        self._seeds = seeds or [b""]
        self._values: list[Any] = [None, *(_json(word) for word in self._words)]

    def fresh(self, random: Random, max_size: int) -> bytes:
        """A seed, or two of them one behind the other, changed."""
        data = random.choice(self._seeds)
        if random.random() < 0.2:
            data += random.choice(self._seeds)
        return self.change(data, random, max_size)

    def change(self, data: bytes, random: Random, max_size: int) -> bytes:
        times = random.randint(1, 4)
        if data.startswith((b"{", b"[")) and random.random() < 0.7 and (value := _json(data)) is not None:
            for _ in range(times):
                value = self._changed(value, random)
            with suppress(RecursionError):
                text = json.dumps(value, ensure_ascii=random.random() < 0.5)
                return text.encode("utf-8", "surrogatepass")[:max_size]
        raw = bytearray(data)
        for _ in range(times):
            self._one(raw, random)
        return bytes(raw[:max_size])

    def _changed(self, value: Any, random: Random) -> Any:
        """Another value somewhere in a JSON value: so the text stays JSON, and the reader gets to what it means."""
        if isinstance(value, list | dict) and value and random.random() < 0.85:
            keys: list[Any] = list(value) if isinstance(value, dict) else list(range(len(value)))
            key = random.choice(keys)
            other = deepcopy(random.choice(self._values))
            match random.randrange(6):
                case 0 if isinstance(value, dict) and isinstance(other, dict):
                    value.update(other)
                case 1 if isinstance(value, list):
                    value.insert(key, deepcopy(value[key]) if random.random() < 0.5 else other)
                case 2:
                    del value[key]
                case _:
                    value[key] = self._changed(value[key], random)
            return value
        return random.choice((deepcopy(random.choice(self._values)), [value], {"type": value}, str(value), value))

    def _one(self, raw: bytearray, random: Random) -> None:
        at = random.randint(0, len(raw))
        match random.randrange(9):
            case 0:
                raw[at:at] = random.choice(self._words)
            case 1:
                raw[at : at + random.randint(1, 8)] = random.choice(self._words)
            case 2:
                del raw[at : at + random.randint(1, 12)]
            case 3 if at < len(raw):
                raw[at] = random.randrange(256)
            case 4 if at < len(raw):
                raw[at] ^= 1 << random.randrange(8)
            case 5:
                piece = raw[at : at + random.randint(1, 90)]
                to = random.randint(0, len(raw))
                raw[to:to] = piece
            case 6:
                self._line(raw, at, random)
            case 7:
                self._number(raw, at, random)
            case _:
                other = random.choice(self._seeds)
                start = random.randint(0, len(other))
                raw[at:at] = other[start : start + random.randint(1, 120)]

    @staticmethod
    def _line(raw: bytearray, at: int, random: Random) -> None:
        """Repeat, or drop, the line or the message around a place."""
        end_of = random.choice(_ENDS)
        start = raw.rfind(end_of, 0, at) + len(end_of) if end_of in raw[:at] else 0
        end = raw.find(end_of, at)
        end = len(raw) if end < 0 else end + len(end_of)
        if random.random() < 0.3:
            del raw[start:end]
        else:
            raw[end:end] = raw[start:end]

    @staticmethod
    def _number(raw: bytearray, at: int, random: Random) -> None:
        """Lengths are what framing hangs on: another one for the next number."""
        found = _NUMBER.search(raw, at)
        if found is None:
            return
        base = 16 if re.search(rb"[A-Fa-f]", found[0]) else 10
        number = int(found[0], base) + random.choice((-1, 1, 2, 10, -10))
        text = random.choice((b"%d" % max(number, 0), b"%x" % max(number, 0), b"0" + found[0], b"18446744073709551616"))
        raw[found.start() : found.end()] = text
