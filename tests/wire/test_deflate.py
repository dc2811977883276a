"""permessage-deflate (RFC 7692): in bounded memory, the same however it is cut, and as other implementations have it.

What single streams mean stands in data/websocket/deflate.jsonl.
"""

from __future__ import annotations

import random
import tracemalloc
import zlib
from itertools import pairwise

import pytest
from frames import feed, masked
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage
from wsproto.extensions import PerMessageDeflate as WsprotoDeflate

from gateway.errors import MisuseError
from gateway.wire.deflate import Deflater, Inflater
from gateway.wire.extensions import Agreement, Compression
from gateway.wire.websocket import Binary, Closed, State, Text, WebSocket

MIB = 1 << 20
ALL = Compression(threshold=0)


def agreement(takeover: bool = False, bits: int = 15, compression: Compression = ALL) -> Agreement:
    return Agreement(compression, takeover, takeover, bits, bits, b"")


def deflate(data: bytes, *, level: int = 9, bits: int = 15) -> bytes:
    stream = zlib.compressobj(level, zlib.DEFLATED, -bits)
    return (stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


def inflate(inflater: Inflater, *frames: bytes) -> bytes:
    """One message."""
    pieces = [piece for frame in frames for piece in inflater.feed(frame, frame_over=True)]
    return b"".join([*pieces, *inflater.finish()])


# Memory


def peak(limit: int, message: bytes) -> tuple[int, int]:
    """(close code, most bytes that were taken) for a message of one frame, read in pieces as a socket gives them."""
    tracemalloc.start()
    try:
        socket = WebSocket(limit, agreement=agreement())
        pieces = [message[i : i + 65_536] for i in range(0, len(message), 65_536)]
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        events = [event for piece in pieces for event in socket.receive(piece)]
        socket.outgoing()
        most = tracemalloc.get_traced_memory()[1] - before
        left = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    [event] = events
    if isinstance(event, Closed):
        assert left < 20_000
        return event.code, most
    return 0, most


@pytest.mark.parametrize("limit", [1000, 100_000, 4 * MIB])
@pytest.mark.parametrize("first", [0xC1, 0xC2])
def test_a_bomb_costs_no_more_than_the_limit(limit: int, first: int) -> None:
    bomb = deflate(bytes(50 * MIB))
    assert 45_000 < len(bomb) < 55_000
    code, most = peak(limit, masked(first, bomb))
    assert code == 1009
    # The buffer grows by an eighth at a time.  The bomb as it came, an inflater and two steps of output come on top.
    assert most < limit * 9 // 8 + 4 * len(bomb) + 250_000


def test_a_bomb_costs_less_than_a_plain_message_that_is_allowed() -> None:
    plain = masked(0x82, bytes(4 * MIB))
    assert peak(4 * MIB, masked(0xC2, deflate(bytes(50 * MIB))))[1] < peak(4 * MIB, plain)[1]


def test_bombs_in_fragments_and_one_after_the_other() -> None:
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    pieces = [stream.compress(bytes(MIB)) + stream.flush(zlib.Z_SYNC_FLUSH) for _ in range(50)]
    frames = [masked(0x42 if not i else 0x00, piece) for i, piece in enumerate(pieces)]
    socket = WebSocket(4 * MIB, agreement=agreement())
    tracemalloc.start()
    try:
        events = [event for frame in frames for event in socket.receive(frame)]
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [event.code for event in events if isinstance(event, Closed)] == [1009]
    assert most < 5 * MIB


def test_without_takeover_nothing_is_kept_between_messages() -> None:
    socket = WebSocket(MIB, agreement=agreement(compression=Compression()))
    text = "all of this can be compressed, " * 100
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(3):
            assert socket.receive(masked(0xC1, deflate(text.encode()))) == [Text(text)]
            assert socket.send_text(text)[0] == 0xC1
        assert tracemalloc.get_traced_memory()[0] - before < 5_000
    finally:
        tracemalloc.stop()


def test_nothing_is_kept_after_a_violation() -> None:
    socket = WebSocket(MIB, agreement=agreement(takeover=True))
    socket.receive(masked(0x42, deflate(random.Random(0).randbytes(500_000)) + b"\0\0\xff\xff"))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        assert len(socket.receive(masked(0xC2, b"another"))) == 1
        for _ in range(10):
            assert socket.receive(bytes(400_000)) == []
        assert tracemalloc.get_traced_memory()[0] - before < 20_000
    finally:
        tracemalloc.stop()


# Reading


def test_output_comes_in_steps() -> None:
    pieces = list(Inflater(15, takeover=False).feed(deflate(bytes(10 * MIB)), frame_over=True))
    assert sum(map(len, pieces)) == 10 * MIB
    assert max(map(len, pieces)) == 65_536


damage = st.tuples(st.integers(0, 10_000), st.integers(0, 255))


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(st.binary(max_size=60), st.text(max_size=300).map(str.encode), st.integers(0, 30_000).map(bytes)),
    st.lists(damage, max_size=2),
    st.integers(1, 3),
    st.sampled_from([0x41, 0x42, 0xC1, 0xC2]),
    st.integers(0, 20_000),
    st.randoms(use_true_random=False),
)
def test_any_stream_in_any_cut(
    data: bytes, damages: list[tuple[int, int]], frames: int, first: int, limit: int, choice: random.Random
) -> None:
    payload = bytearray(deflate(data * frames, level=choice.choice([0, 1, 9])))
    for place, value in damages:
        payload[place % len(payload)] = value
    sent = masked(first & 0x7F if frames > 1 else first, bytes(payload[: len(payload) // frames]))
    for number in range(1, frames):
        part = bytes(payload[number * len(payload) // frames : (number + 1) * len(payload) // frames])
        sent += masked(0x80 if number == frames - 1 else 0x00, part)
    sent += masked(0x89, b"!")
    whole = feed(WebSocket(limit, agreement=agreement()), sent)
    assert feed(WebSocket(limit, agreement=agreement()), *(bytes([byte]) for byte in sent)) == whole
    cuts = sorted({0, len(sent), *(choice.randrange(len(sent)) for _ in range(4))})
    assert feed(WebSocket(limit, agreement=agreement()), *(sent[a:b] for a, b in pairwise(cuts))) == whole


@pytest.mark.parametrize("after", [b"\x06", b"\x00\x01\x00\xfe\xffx", b"\xff"])
def test_of_two_faults_close_together_the_cuts_do_not_decide(after: bytes) -> None:
    """The message passes its limit with the last symbol before what is broken: found together, or one by one."""
    for limit in range(990, 1010):
        stream = zlib.compressobj(9, zlib.DEFLATED, -15, 8, zlib.Z_HUFFMAN_ONLY)
        data = stream.compress(bytes(1000)) + stream.flush(zlib.Z_SYNC_FLUSH)
        for end in range(len(data) - 8, len(data)):
            sent = masked(0xC2, data[:end] + after)
            whole = feed(WebSocket(limit, agreement=agreement()), sent)
            assert feed(WebSocket(limit, agreement=agreement()), *(bytes([byte]) for byte in sent)) == whole


# Writing


def test_what_is_better_sent_plain() -> None:
    alone = Deflater(12, takeover=False, compression=Compression(threshold=100))
    assert alone.message(b"a" * 99) is None
    assert alone.message(random.Random(0).randbytes(5000)) is None
    assert alone.message(b"a" * 100) is not None
    assert Deflater(12, takeover=False, compression=ALL).message(b"") is None
    # A window that follows ours must see all that ours has seen.
    remembering = Deflater(12, takeover=True, compression=Compression(threshold=100))
    assert remembering.message(b"a" * 99) is None
    assert remembering.message(random.Random(0).randbytes(5000)) is not None


@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("bits", range(8, 16))
def test_windows_are_kept_to(bits: int, takeover: bool) -> None:
    """Fed byte by byte, zlib's inflater has no more than the window to look back at."""
    rng = random.Random(bits)
    words = [rng.randbytes(20) for _ in range(3000)]
    deflater = Deflater(bits, takeover, Compression(level=9))
    stream = zlib.decompressobj(-bits)
    for _ in range(3):
        message = b"".join(rng.choice(words[: 1 << (bits - 4)]) for _ in range(1000))
        deflated = deflater.message(message)
        assert deflated is not None or not takeover
        if deflated is not None:
            got = b"".join(stream.decompress(bytes([byte])) for byte in deflated + b"\0\0\xff\xff")
            assert got == message
        if not takeover:
            stream = zlib.decompressobj(-bits)


def test_takeover_is_worth_it_for_messages_that_are_alike() -> None:
    text = '{"type":"event","event":"chat","payload":{"runId":"abc123","seq":%d,"state":"delta","text":"and so on"}}'
    sizes = {}
    for takeover in (False, True):
        socket = WebSocket(MIB, agreement=agreement(takeover, 12))
        sizes[takeover] = sum(len(socket.send_text(text % number)) for number in range(100))
    assert sizes[True] * 4 < sizes[False]


def test_messages_that_cannot_be_sent_are_told_before_they_are_compressed() -> None:
    socket = WebSocket(MIB, agreement=agreement(takeover=True))
    with pytest.raises(MisuseError, match="at 3"):
        socket.send_text("abc\ud800")
    assert socket.state is State.OPEN


# Both roles, and other implementations

messages = st.lists(
    st.one_of(st.binary(max_size=300), st.text(max_size=100).map(str.encode), st.integers(0, 5000).map(bytes)),
    max_size=6,
)
takeovers, windows = st.booleans(), st.integers(9, 15)


@given(messages, st.booleans(), st.integers(8, 15))
def test_both_roles_understand_each_other(sent: list[bytes], takeover: bool, bits: int) -> None:
    agreed = agreement(takeover, bits)
    client, server = WebSocket(MIB, lambda: b"mask", agreed), WebSocket(MIB, agreement=agreed)
    for message in sent:
        assert server.receive(client.send_binary(message)) == [Binary(message)]
        assert client.receive(server.send_binary(message)) == [Binary(message)]
    masked_frame = WebSocket(MIB, lambda: b"mask", agreed).send_text("x" * 1000)
    refused = client.receive(masked_frame)
    assert [event.code for event in refused if isinstance(event, Closed)] == [1002]


@given(messages, takeovers, windows)
def test_websockets_understands_us_and_we_understand_it(sent: list[bytes], takeover: bool, bits: int) -> None:
    theirs = PerMessageDeflate(not takeover, not takeover, bits, bits)
    deflater, inflater = Deflater(bits, takeover, ALL), Inflater(bits, takeover)
    for message in sent:
        ours = deflater.message(message)
        if ours is not None:
            assert theirs.decode(Frame(Opcode.BINARY, ours, rsv1=True)).data == message
        if message:
            assert inflate(inflater, bytes(theirs.encode(Frame(Opcode.BINARY, message)).data)) == message


@given(messages, takeovers, windows)
def test_wsproto_understands_us_and_we_understand_it(sent: list[bytes], takeover: bool, bits: int) -> None:
    def extension() -> WsprotoDeflate:
        made = WsprotoDeflate(not takeover, bits, not takeover, bits)
        made._enabled = True
        return made

    server = WebSocket(MIB, agreement=agreement(takeover, bits))
    client = Connection(ConnectionType.CLIENT, [extension()])
    for message in sent:
        client.receive_data(server.send_binary(message))
        received = b""
        for event in client.events():
            assert isinstance(event, BytesMessage)
            received += bytes(event.data)
        assert received == message
        assert server.receive(client.send(BytesMessage(message))) == [Binary(message)]
