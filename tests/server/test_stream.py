"""The body of a streaming answer, over a host that notes what it is given and a loop whose time stands still."""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.deadlines import Deadlines
from gateway.errors import MisuseError, PeerGone
from gateway.server.pulse import Pulse
from gateway.server.stream import LOOKS, PIECE_BYTES, TURN_BYTES, StreamBody
from gateway.testing import ManualTimer
from gateway.wire.response import ResponseWriter

COALESCE = 0.002
SILENCE = 15.0


class Loop(ManualTimer):
    """The part of a loop that a stream needs."""

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> object:
        return self.call_at(self.now, callback, *args)


class Host:
    """A connection that notes what leaves; `gone` and `full` are set by the test."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.hurried = 0
        self.full = False
        self.gone = False
        self.drains = 0

    def send(self, data: bytes) -> bool:
        if self.gone:
            raise PeerGone("the connection is closed")
        self.sent.append(data)
        return self.full

    def send_now(self) -> None:
        self.hurried += 1

    async def drain(self) -> None:
        self.drains += 1
        self.full = False


class Rig:
    """A stream whose head has been sent."""

    def __init__(self, coalesce: float = COALESCE) -> None:
        self.loop = Loop()
        self.host = Host()
        writer = ResponseWriter("GET", "1.1", keep_alive=True)
        writer.head(200, b"", (), None)
        self.silence = Deadlines[StreamBody](self.loop, SILENCE / LOOKS, lambda stream: stream.expired())
        loop = cast("AbstractEventLoop", self.loop)
        self.pulse = Pulse(loop, coalesce)
        self.stream = StreamBody(self.host, writer, loop, self.pulse, self.silence)

    def left(self) -> list[bytes]:
        sent, self.host.sent = self.host.sent, []
        return sent


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def test_the_first_piece_leaves_at_once() -> None:
    rig = Rig()
    rig.stream.write(b"a")
    assert rig.left() == [chunk(b"a")]


def test_what_follows_soon_leaves_together() -> None:
    rig = Rig()
    rig.stream.write(b"a")
    rig.left()
    for piece in (b"b", b"c", b"d"):
        rig.stream.write(piece)
    assert rig.left() == []
    rig.loop.advance(COALESCE / 2)
    rig.stream.write(b"e")
    assert rig.left() == []
    rig.loop.advance(COALESCE / 2)
    assert rig.left() == [chunk(b"bcde")]
    rig.loop.advance(1)
    assert rig.left() == []


def test_after_a_pause_a_piece_leaves_at_once() -> None:
    rig = Rig()
    for piece in (b"a", b"b", b"c"):
        rig.stream.write(piece)
        assert rig.left() == [chunk(piece)]
        rig.loop.advance(COALESCE)


def test_without_coalescing_a_turn_leaves_together() -> None:
    rig = Rig(coalesce=0)
    for piece in (b"a", b"b", b"c"):
        rig.stream.write(piece)
    assert rig.left() == []
    rig.loop.advance(0)
    assert rig.left() == [chunk(b"abc")]


def test_flush_does_not_wait() -> None:
    rig = Rig()
    for piece in (b"a", b"b", b"c"):
        rig.stream.write(piece)
    rig.stream.flush()
    assert rig.left() == [chunk(b"a"), chunk(b"bc")]
    assert rig.host.hurried == 1
    rig.stream.flush()
    rig.loop.advance(1)
    assert rig.left() == []
    # What was flushed is a piece of its own kind, a role say: the first piece behind it does not wait either.
    rig.stream.write(b"d")
    assert rig.left() == [chunk(b"d")]


def test_a_producer_that_never_waits_is_stopped() -> None:
    async def main() -> None:
        rig = Rig()
        rig.stream.write(b"a")
        written = 0
        while not rig.stream.full:
            rig.stream.write(b"x" * 1000)
            written += 1000
        assert TURN_BYTES <= written < TURN_BYTES + 1000
        assert rig.left()[1:] == [chunk(b"x" * written)]
        turns = 0

        def turn() -> None:
            nonlocal turns
            turns += 1

        asyncio.get_running_loop().call_soon(turn)
        await rig.stream.drain()
        assert turns == 1  # the others had theirs
        assert rig.host.drains == 0
        assert not rig.stream.full

    asyncio.run(main())


def test_full_says_what_the_transport_says() -> None:
    async def main() -> None:
        rig = Rig()
        rig.host.full = True
        rig.stream.write(b"a")
        assert rig.stream.full
        await rig.stream.drain()
        assert rig.host.drains == 1
        assert not rig.stream.full

    asyncio.run(main())


def test_silence_is_filled_as_often_as_it_lasts() -> None:
    rig = Rig()
    rig.stream.fill_silence(b": hum\n")
    rig.loop.advance(SILENCE - 1)
    assert rig.left() == []
    rig.loop.advance(1)
    assert rig.left() == [chunk(b": hum\n")]
    rig.loop.advance(2 * SILENCE)
    assert rig.left() == [chunk(b": hum\n")] * 2


def test_what_is_written_breaks_the_silence() -> None:
    rig = Rig()
    rig.stream.fill_silence(b": hum\n")
    for _ in range(4):
        rig.loop.advance(SILENCE * (1 - 1 / LOOKS) - 0.1)
        rig.stream.write(b"a")
    assert rig.left() == [chunk(b"a")] * 4


@pytest.mark.parametrize("after", [0.0, 0.1, 0.25, 0.3, 0.9])
def test_a_silence_is_never_longer_than_it_may_be(after: float) -> None:
    rig = Rig()
    rig.stream.fill_silence(b": hum\n")
    rig.loop.advance(SILENCE * after)
    rig.stream.write(b"a")
    assert rig.left() == [chunk(b"a")]
    rig.loop.advance(SILENCE)
    assert rig.left() == [chunk(b": hum\n")]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0, 0, COALESCE / 2, COALESCE, 3 * COALESCE]), st.text("ab", max_size=3))))
def test_a_piece_that_comes_alone_is_sent_like_others(steps: list[tuple[float, str]]) -> None:
    def sent(*, alone: bool) -> list[tuple[float, list[bytes]]]:
        rig = Rig()
        writer = ResponseWriter("GET", "1.1", keep_alive=True)
        writer.head(200, b"", (), None)
        loop = cast("AbstractEventLoop", rig.loop)
        encode = "|".join
        stream = StreamBody(
            rig.host, writer, loop, rig.pulse, rig.silence, encode=lambda pieces: encode(pieces).encode() + b";"
        )
        told = []
        for pause, text in steps:
            rig.loop.advance(pause)
            if alone:
                stream.put(text)
            else:
                stream.put_all([text])
            told.append((rig.loop.time(), rig.left()))
        rig.loop.advance(COALESCE)
        return [*told, (0.0, rig.left())]

    assert sent(alone=True) == sent(alone=False)


def test_a_peer_that_does_not_read_is_not_filled_up() -> None:
    rig = Rig()
    rig.stream.fill_silence(b": hum\n")
    rig.host.full = True
    rig.loop.advance(3 * SILENCE)
    assert rig.left() == []
    rig.host.full = False
    rig.loop.advance(SILENCE)
    assert rig.left() == [chunk(b": hum\n")]


def test_probe_writes_what_fills_silences() -> None:
    rig = Rig()
    rig.stream.probe()
    assert rig.left() == []
    rig.stream.fill_silence(b": hum\n")
    rig.stream.probe()
    assert rig.left() == [chunk(b": hum\n")]


def test_the_end_takes_what_is_pending_along() -> None:
    async def main() -> None:
        rig = Rig()
        rig.stream.fill_silence(b": hum\n")
        for piece in (b"a", b"b", b"c"):
            rig.stream.write(piece)
        await rig.stream.end()
        assert rig.left() == [chunk(b"a"), chunk(b"bc") + b"0\r\n\r\n"]
        rig.loop.advance(3 * SILENCE)
        assert rig.left() == []
        assert len(rig.silence) == 0

    asyncio.run(main())


def test_an_empty_stream() -> None:
    async def main() -> None:
        rig = Rig()
        await rig.stream.end()
        assert rig.left() == [b"0\r\n\r\n"]

    asyncio.run(main())


def test_nobody_to_read_it() -> None:
    async def main() -> None:
        rig = Rig()
        rig.stream.write(b"a")
        rig.stream.fill_silence(b": hum\n")
        rig.host.gone = True
        rig.stream.write(b"b")
        rig.loop.advance(COALESCE)  # the timer must not raise into the loop
        with pytest.raises(PeerGone):
            rig.stream.write(b"c")
        rig.loop.advance(SILENCE)
        with pytest.raises(PeerGone):
            await rig.stream.end()
        assert rig.left() == [chunk(b"a")]

    asyncio.run(main())


def test_close_stops_all_timers() -> None:
    rig = Rig()
    rig.stream.fill_silence(b": hum\n")
    rig.stream.write(b"a")
    rig.stream.write(b"b")
    rig.stream.close()
    rig.loop.advance(3 * SILENCE)
    assert rig.left() == [chunk(b"a")]
    assert len(rig.silence) == 0


def test_pieces_that_leave_together_are_encoded_together() -> None:
    rig = Rig()
    asked: list[list[str]] = []

    def encode(pieces: list[str]) -> bytes:
        asked.append(pieces)
        return "+".join(pieces).encode()

    writer = ResponseWriter("GET", "1.1", keep_alive=True)
    writer.head(200, b"", (), None)
    loop = cast("AbstractEventLoop", rig.loop)
    stream = StreamBody(rig.host, writer, loop, rig.pulse, rig.silence, encode=encode)
    stream.put("a")  # the first piece leaves at once
    assert rig.left() == [chunk(b"a")]
    stream.put("b")
    stream.put_all(["c", "d"])
    stream.write(b"|")  # behind what was put
    stream.put("e")
    assert rig.left() == []
    rig.loop.advance(COALESCE)
    assert rig.left() == [chunk(b"b+c+d|e")]
    assert asked == [["a"], ["b", "c", "d"], ["e"]]
    stream.put("f")
    asyncio.run(stream.end())
    assert rig.left() == [chunk(b"f") + b"0\r\n\r\n"]


def test_the_first_piece_behind_what_was_flushed_does_not_wait() -> None:
    rig = Rig()
    rig.stream.write(b"role")
    rig.stream.flush()
    rig.stream.write(b"a")
    rig.stream.write(b"b")
    assert rig.left() == [chunk(b"role"), chunk(b"a")]
    rig.loop.advance(COALESCE)
    assert rig.left() == [chunk(b"b")]


def test_without_a_pulse_all_pieces_wait_for_the_next_turn() -> None:
    rig = Rig(coalesce=0)
    writer = ResponseWriter("GET", "1.1", keep_alive=True)
    writer.head(200, b"", (), None)
    loop = cast("AbstractEventLoop", rig.loop)
    stream = StreamBody(rig.host, writer, loop, rig.pulse, rig.silence, encode=lambda pieces: "".join(pieces).encode())
    for pieces in ("ab", "cd"):
        for piece in pieces:
            stream.put(piece)
        assert rig.left() == []
        rig.loop.advance(0)
        assert rig.left() == [chunk(pieces.encode())]
        rig.loop.advance(1)


def test_many_pieces_end_the_turn() -> None:
    rig = Rig()
    writer = ResponseWriter("GET", "1.1", keep_alive=True)
    writer.head(200, b"", (), None)
    loop = cast("AbstractEventLoop", rig.loop)
    stream = StreamBody(rig.host, writer, loop, rig.pulse, rig.silence, encode=lambda pieces: b"x" * len(pieces))
    count = 0
    while not stream.full:
        stream.put("")
        count += 1
    assert count <= TURN_BYTES // PIECE_BYTES + 2, "a piece counts for more than its characters"


def test_pieces_need_an_encoder() -> None:
    with pytest.raises(MisuseError, match="cannot encode"):
        Rig().stream.put("a")
