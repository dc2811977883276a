"""What is taken at a glance is what taking it apart gives, layer by layer."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from flowing import Body, relayed
from scripted_provider import DONE, chunk
from test_flow import CHUNKED, framed

from gateway.providers import template as template_module
from gateway.providers.dialect import Piece
from gateway.providers.openai_stream import CompletionReader
from gateway.providers.template import READS, Template
from gateway.wire.chunked import BulkChunked

BEFORE, AFTER = 'data: {"content":"', '"}\n\n'


def event(text: bytes) -> bytes:
    return BEFORE.encode() + text + AFTER.encode()


def framed_as(line: bytes, text: bytes) -> bytes:
    return line + event(text) + b"\r\n"


SIZE = len(event(b"abc"))


@pytest.mark.parametrize(
    ("read", "known"),
    [
        (framed_as(b"%x\r\n" % SIZE, b"abc"), True),
        (framed_as(b"%X\r\n" % SIZE, b"abc"), True),
        (framed_as(b"0%x\r\n" % SIZE, b"abc"), False),  # a size that only the strict reader takes
        (framed_as(b"%x;a=b\r\n" % SIZE, b"abc"), False),
        (framed_as(b"%x\n" % SIZE, b"abc"), False),
        (framed_as(b"%x\r\n" % (SIZE + 1), b"abc"), False),
        (framed_as(b"%x\r\n" % (SIZE - 1), b"abc"), False),
        (framed_as(b"%x\r\n" % SIZE, b"abd"), False),  # not the event that it is said to be
        (framed_as(b"%x\r\n" % SIZE, b"abc") + b"0\r\n\r\n", False),
        (framed_as(b"1\r\nx\r\n%x\r\n" % SIZE, b"abc"), False),
        (framed_as(b"%x\r\n" % SIZE, b"abc")[:-1], False),
        (event(b"abc"), False),
        (b"", False),
    ],
)
def test_only_one_plain_chunk_is_learned(read: bytes, known: bool) -> None:
    one = Template(BEFORE, AFTER)
    one.learn(read, event(b"abc"))
    assert bool(one.reads) is known
    assert known is (BulkChunked().one(read) == event(b"abc"))


def test_only_so_many_are_learned() -> None:
    one = Template(BEFORE, AFTER)
    for size in range(1, 2 * READS):
        text = b"x" * size
        one.learn(framed_as(b"%x\r\n" % len(event(text)), text), event(text))
    assert len(one.reads) == READS


TEXTS = ["a", "to", "ken", " the", "x", "12", "grü", "ß", "🦀", ".", "", 'say "', "\\", "\n", "\x7f", "}}]}"]


def altered(rng: random.Random, read: bytes) -> bytes:
    """As a broken, or only another, server may send it."""
    at = rng.randrange(len(read))
    match rng.randrange(9):
        case 0:
            return (
                read[:at] + bytes([rng.choice([0, 10, 13, 34, 48, 92, 97, 255, rng.randrange(256)])]) + read[at + 1 :]
            )
        case 1:
            return read[:at] + read[at + 1 :]
        case 2:
            return read[:at] + rng.choice([b'"', b"\\", b"\r\n", b"\n\n", b"0", b" "]) + read[at:]
        case 3:
            return read.upper()
        case 4:
            line, _, rest = read.partition(b"\r\n")
            return rng.choice([b"0", b"", b" "]) + line + rng.choice([b";a", b"", b" "]) + b"\r\n" + rest
        case 5:  # as long as what was learned, and text where text was, but not the same document
            end = read.rfind(b'"}')
            return read[: end - 2] + rng.choice([b'","', b'\\"', b"\x00\x01", b"\xff\xfe", b'"}']) + read[end:]
        case 6:
            return read.replace(b"null", rng.choice([b'"no"', b"nul,", b"[{}]", b"true"]))
        case 7:  # a chunk with what is no whole event, before one with an event as ever
            return framed(rng.choice([b"data: x\n", b": x\n", b"data", b"id: 1\r", read[5:at]]) or b"\n")[0]
        case _:
            return read + read


def random_stream(rng: random.Random) -> list[bytes]:
    texts = [rng.choice(TEXTS if rng.random() < 0.2 else TEXTS[:3]) for _ in range(rng.randrange(5, 40))]
    reads = framed(*map(chunk, texts))
    if rng.random() < 0.7:
        at = rng.randrange(3, len(reads))
        reads[at] = altered(rng, reads[at])
    if rng.random() < 0.5:  # cut where no chunk ends
        at = rng.randrange(len(reads))
        cut = rng.randrange(len(reads[at]))
        reads[at : at + 1] = [reads[at][:cut], reads[at][cut:]]
    if rng.random() < 0.3:
        at = rng.randrange(len(reads))
        reads[at : at + 2] = [b"".join(reads[at : at + 2])]
    return [CHUNKED, *(read for read in reads if read), *framed(chunk(finish="stop"), DONE), b"0\r\n\r\n"]


async def seen(pieces: list[bytes], room: int, *, tapped: bool) -> tuple[list[Any], list[str]]:
    heard: list[str] = []

    def tap(texts: list[str]) -> bool:
        heard.extend(texts)
        return len(heard) < 50

    body = await relayed(pieces, Body(room), *([tap] if tapped else []), turns=9)
    return body.seen, heard


def test_at_a_glance_or_layer_by_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(23)
    taken = 0
    receive = CompletionReader.receive

    def counted(reader: CompletionReader, data: bytes) -> list[Piece]:
        nonlocal taken
        taken += 1
        return receive(reader, data)

    monkeypatch.setattr(CompletionReader, "receive", counted)

    async def main() -> None:
        nonlocal taken
        counts = []
        for _ in range(600):
            pieces = random_stream(rng)
            room = rng.choice([1, 4, 1 << 30, 1 << 30])
            tapped = rng.random() < 0.3
            told = []
            for most in (READS, 0):
                monkeypatch.setattr(template_module, "READS", most)
                taken = 0
                told.append(await seen(pieces, room, tapped=tapped))
                counts.append(taken)
            assert told[0] == told[1], pieces
        assert sum(counts[::2]) < 0.7 * sum(counts[1::2]), "much is taken at a glance"

    asyncio.run(main())
