"""The WebSocket reader and writer against RFC 6455: the cases of data/websocket, told in `frames`, and more."""

from __future__ import annotations

import random
import tracemalloc
from codecs import getincrementaldecoder
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from frames import LIMIT, NAMED_CASES, feed, make, masked, sent_frames
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, Protocol, Side
from wsproto import events as wsproto_events
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, TextMessage

from gateway.errors import MisuseError
from gateway.wire.websocket import Binary, Closed, Event, Ping, Pong, State, Text, WebSocket

CASES = [pytest.param(case, id=name) for name, case in NAMED_CASES.items()]


def plain(event: Event) -> list[Any]:
    match event:
        case Text(text):
            return ["text", text]
        case Binary(data):
            return ["binary", data.hex()]
        case Ping(data):
            return ["ping", data.hex()]
        case Pong(data):
            return ["pong", data.hex()]
        case Closed(code, reason):
            return ["closed", code, reason]


@pytest.mark.parametrize("case", CASES)
def test_case(case: dict[str, Any]) -> None:
    events, out = feed(make(case), bytes.fromhex("".join(case["in"])))
    for got, expected in zip(map(plain, events), case["events"], strict=True):
        assert got[: len(expected)] == expected
    if "out" in case:
        assert out.hex() == "".join(case["out"])
    else:
        opcode, payload = sent_frames(out, case.get("role", "server"))[-1]
        assert opcode == 8
        assert int.from_bytes(payload[:2], "big") == case["events"][-1][1]
        assert 0 < len(payload[2:].decode()) <= 123  # every violation is told in words


@pytest.mark.parametrize("case", CASES)
def test_every_cut_gives_the_same(case: dict[str, Any]) -> None:
    data = bytes.fromhex("".join(case["in"]))
    whole = feed(make(case), data)
    for cut in range(1, len(data)):
        assert feed(make(case), data[:cut], data[cut:]) == whole, f"cut at {cut}"
    assert feed(make(case), *(data[i : i + 1] for i in range(len(data)))) == whole
    assert feed(make(case), b"", data) == whole


# Where the sans-IO layer of `websockets` is laxer (it leaves UTF-8 to a layer above and takes lengths that are not the
# shortest) or stricter (it finds a close frame inside a message untidy; section 5.4 lets control frames stand there).
DIFFERENT = ("utf8: ", "byte length", "close inside a message")
PLAIN = [case for case in CASES if not str(case.id).startswith(("deflate: ", "client: "))]


@pytest.mark.parametrize("case", [case for case in PLAIN if not any(part in str(case.id) for part in DIFFERENT)])
def test_an_independent_reader_agrees(case: dict[str, Any]) -> None:
    theirs = Protocol(Side.SERVER, state=OPEN, max_size=case.get("max_message", LIMIT))
    theirs.receive_data(bytes.fromhex("".join(case["in"])))
    sent = theirs.close_sent
    last = case["events"][-1]
    assert (sent and sent.code) == (last[1] if last[0] == "closed" else None)


# Without what wsproto treats in another way: the beginning of a surrogate (it waits for the rest), close code 1014.
payloads = st.one_of(
    st.binary(max_size=12), st.text(max_size=6).map(str.encode), st.sampled_from([b"\x03\xe8", b"a" * 126])
).filter(lambda payload: b"\xed" not in payload and b"\x03\xf6" not in payload)
firsts = st.sampled_from([0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8A, 0x88, 0xC1, 0x83, 0x09])
frames = st.builds(masked, firsts, payloads, st.binary(min_size=4, max_size=4))


@settings(max_examples=300, deadline=None)
@given(st.lists(frames, min_size=1, max_size=6), st.binary(max_size=3), st.randoms(use_true_random=False))
def test_any_frames_in_any_cut(sent: list[bytes], tail: bytes, choice: random.Random) -> None:
    data = b"".join(sent) + tail
    whole = feed(WebSocket(LIMIT), data)
    cuts = sorted({0, len(data), *(choice.randrange(len(data)) for _ in range(4))})
    assert feed(WebSocket(LIMIT), *(data[a:b] for a, b in pairwise(cuts))) == whole
    closed = [event for event in whole[0] if isinstance(event, Closed)]
    assert closed == ([whole[0][-1]] if closed else [])
    events = [plain(event)[:2] for event in whole[0]]
    assert events == by_wsproto(data)
    theirs = by_websockets(data)
    if events[-1:] == [["closed", 1007]]:  # which they cannot know before a frame is complete
        assert theirs[: len(events) - 1] == events[:-1]
    elif events[-1:] == [["closed", 1002]]:  # a close frame whose code and reason are wrong has two faults
        theirs = by_websockets(data + bytes(200))  # they read a header, and a control frame, to its end
        assert theirs[:-1] == events[:-1]
        assert theirs[-1] in (["closed", 1002], ["closed", 1007])
    else:
        assert theirs == events


def by_websockets(data: bytes) -> list[list[Any]]:
    """The events of the library `websockets`, which puts no messages together, as its layers above would."""
    protocol = Protocol(Side.SERVER, state=OPEN, max_size=None)
    protocol.receive_data(data)
    events: list[list[Any]] = []
    kind, message = "", b""
    for frame in protocol.events_received():
        assert isinstance(frame, Frame)
        match frame.opcode:
            case Opcode.PING | Opcode.PONG:
                events.append([frame.opcode.name.lower(), bytes(frame.data).hex()])
                continue
            case Opcode.TEXT | Opcode.BINARY:
                kind, message = frame.opcode.name.lower(), b""
            case Opcode.CLOSE:
                break
            case Opcode.CONT:
                pass
        message += frame.data
        try:
            text = getincrementaldecoder("utf-8")().decode(message, final=frame.fin) if kind == "text" else ""
        except UnicodeDecodeError:
            return [*events, ["closed", 1007]]
        if frame.fin:
            events.append([kind, text if kind == "text" else message.hex()])
    if protocol.close_rcvd is not None:
        events.append(["closed", int(protocol.close_rcvd.code)])
    elif protocol.close_sent is not None:
        events.append(["closed", int(protocol.close_sent.code)])
    return events


def by_wsproto(data: bytes) -> list[list[Any]]:
    """The events of wsproto's own assembly of messages, which ours replaces."""
    connection = Connection(ConnectionType.SERVER, trailing_data=data)
    events: list[list[Any]] = []
    text, binary = "", b""
    for event in connection.events():
        match event:
            case TextMessage():
                text += event.data
                if event.message_finished:
                    events.append(["text", text])
                    text = ""
            case BytesMessage():
                binary += event.data
                if event.message_finished:
                    events.append(["binary", binary.hex()])
                    binary = b""
            case wsproto_events.Ping():
                events.append(["ping", event.payload.hex()])
            case wsproto_events.Pong():
                events.append(["pong", event.payload.hex()])
            case CloseConnection():
                events.append(["closed", int(event.code)])
            case _:
                raise AssertionError(event)
    return events


@given(st.text(max_size=80), st.sampled_from([1, 2, 7, 600]), st.binary(min_size=4, max_size=4))
def test_the_short_way_for_whole_messages_agrees_with_the_long_one(text: str, times: int, key: bytes) -> None:
    text *= times
    data = text.encode()
    for frame, message, event in (
        (masked(0x81, data, key), text, Text(text)),
        (masked(0x82, data, key), data, Binary(data)),
    ):
        assert WebSocket(LIMIT).whole(frame) == (message if len(frame) <= 65_543 else None)
        assert type(WebSocket(LIMIT).whole(frame)) in {type(message), type(None)}
        assert feed(WebSocket(LIMIT), frame) == feed(WebSocket(LIMIT), frame[:3], frame[3:]) == ([event], b"")


@pytest.mark.parametrize("first", [0x81, 0x82])
@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 124, 125, 126, 127, 640, 641, 65_534, 65_535, 65_536])
def test_the_short_way_says_what_the_long_one_says(first: int, length: int) -> None:
    good = masked(first, b"a" * length)
    over = WebSocket(length - 1)
    spoilt = [
        good[:-1], good + b"\x81", good[:1] + bytes([good[1] & 0x7F]) + good[2:], good[:-1] + b"\xff",
        masked(first, b"a" * (length - 1) + b"\xe2"), masked(first, b"a" * (length - 1) + b"\xff"),
        *(bytes([other]) + good[1:] for other in range(256) if other != first),
    ]  # fmt: skip
    for data in (good, *spoilt):
        assert feed(WebSocket(LIMIT), data) == feed(WebSocket(LIMIT), data[:1], data[1:])
    event = Text("a" * length) if first == 0x81 else Binary(b"a" * length)
    assert feed(WebSocket(length), good) == ([event], b"")
    assert (WebSocket(length).whole(good) is None) is (length > 65_535)
    assert over.whole(good) is None
    assert [event.code for event in over.receive(good) if isinstance(event, Closed)] == [1009]
    after_first = feed(WebSocket(LIMIT), masked(0x01, b"first"), good)
    assert [event.code for event in after_first[0] if isinstance(event, Closed)] == [1002]


@pytest.mark.parametrize("size", range(6, 300))
def test_a_length_that_is_not_that_of_the_read_goes_the_long_way(size: int) -> None:
    data = bytes(size - 2)
    for second in range(256):
        whole = WebSocket(LIMIT).whole(bytes((0x82, second)) + data)
        assert whole == (bytes(size - 6) if second == 0x80 + size - 6 and size <= 131 else None), second


def test_the_short_way_is_for_what_begins_and_ends_with_a_read() -> None:
    good = masked(0x81, b"good")
    for before in (good[:1], good[:7], masked(0x01, b"first"), masked(0x02, b"")):
        socket = WebSocket(LIMIT)
        assert socket.receive(before) == []
        assert socket.whole(good) is None
    socket = WebSocket(LIMIT)
    socket.receive(masked(0x01, b"o") + masked(0x89, b"") + masked(0x80, b"ne"))
    assert socket.whole(good) == "good"
    socket.close(1000)
    assert socket.whole(good) is None
    socket = WebSocket(LIMIT)
    socket.receive(masked(0x83, b""))
    assert socket.whole(good) is None
    assert WebSocket(LIMIT, mask=lambda: b"mask").whole(good) is None


@given(st.binary(max_size=140), st.binary(max_size=140))
def test_anything_at_all(first: bytes, second: bytes) -> None:
    assert feed(WebSocket(100), first, second) == feed(WebSocket(100), first + second)


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65535, 65536, 200_000])
def test_lengths_of_messages(length: int) -> None:
    rng = random.Random(length)
    data = rng.randbytes(length)
    message = masked(0x82, data)
    assert feed(WebSocket(LIMIT), message) == ([Binary(data)], b"")
    for cut in (*range(1, min(20, len(message))), len(message) - 1):
        assert feed(WebSocket(LIMIT), message[:cut], message[cut:]) == ([Binary(data)], b"")
    assert sent_frames(WebSocket(LIMIT).send_binary(data)) == [(2, data)]
    text = "é" * (length // 2)
    assert feed(WebSocket(LIMIT), masked(0x81, text.encode())) == ([Text(text)], b"")
    assert sent_frames(WebSocket(LIMIT).send_text(text)) == [(1, text.encode())]


def test_both_roles_understand_each_other() -> None:
    key = random.Random(1)
    client, server = WebSocket(LIMIT, mask=lambda: key.randbytes(4)), WebSocket(LIMIT)
    long = "x" * 70_000
    to_server = client.send_text(long) + client.ping(b"p") + client.send_binary(b"") + client.close(4001, "bye")
    assert server.receive(to_server) == [Text(long), Ping(b"p"), Binary(b""), Closed(4001, "bye")]
    answer = server.outgoing()
    assert client.receive(answer) == [Pong(b"p"), Closed(4001, "")]
    assert client.outgoing() == b""
    assert client.state is server.state is State.CLOSED
    masked_frame = WebSocket(LIMIT, mask=lambda: b"mask").send_text("masked")
    refused = WebSocket(LIMIT, mask=lambda: b"mask").receive(masked_frame)  # section 5.1: servers do not mask
    assert isinstance(refused[0], Closed)
    assert refused[0].code == 1002


def test_our_close_then_theirs() -> None:
    socket = WebSocket(LIMIT)
    socket.receive(masked(0x01, b"unfinished") + masked(0x89, b"ping"))
    assert sent_frames(socket.close(1001, "restart")) == [(10, b"ping"), (8, b"\x03\xe9restart")]
    assert socket.state is State.CLOSING
    # What was on its way is discarded, whether it finishes the message or begins others; pings get no answer any more.
    late = masked(0x80, b"end") + masked(0x81, b"late") + masked(0x89, b"?") + masked(0x01, b"a")
    assert feed(socket, late) == ([Ping(b"?")], b"")
    assert feed(socket, masked(0x88, b"\x03\xe9")) == ([Closed(1001, "")], b"")
    assert feed(socket, masked(0x81, b"more"), b"\xff\xff\xff") == ([], b"")


def test_violation_while_we_close_sends_no_second_close() -> None:
    socket = WebSocket(LIMIT)
    socket.close(1000)
    events, out = feed(socket, b"\x83\x80\0\0\0\0")
    assert [event.code for event in events if isinstance(event, Closed)] == [1002]
    assert out == b""


def test_misuse_raises() -> None:
    socket = WebSocket(LIMIT)
    for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 70_000):
        with pytest.raises(MisuseError, match=str(code)):
            socket.close(code)
    with pytest.raises(MisuseError, match="125"):
        socket.ping(b"x" * 126)
    with pytest.raises(MisuseError, match="at 3"):
        socket.send_text("abc\ud800")
    socket.close(1000)
    calls: tuple[Callable[[], bytes], ...] = (
        lambda: socket.send_text(""),
        lambda: socket.send_binary(b""),
        socket.ping,
        lambda: socket.close(1000),
    )
    for send in calls:
        with pytest.raises(MisuseError, match="CLOSING"):
            send()
    socket.receive(masked(0x88, b""))
    with pytest.raises(MisuseError, match="CLOSED"):
        socket.send_text("")


@pytest.mark.parametrize(
    ("reason", "kept"),
    [("x" * 123, "x" * 123), ("x" * 124, "x" * 123), ("x" * 122 + "é", "x" * 122), ("x" * 121 + "é", "x" * 121 + "é"),
     ("€" * 50, "€" * 41), ("a\ud800b", "a?b")],
)  # fmt: skip
def test_close_reason_is_cut_at_a_character(reason: str, kept: str) -> None:
    assert sent_frames(WebSocket(LIMIT).close(4000, reason)) == [(8, b"\x0f\xa0" + kept.encode())]


def test_pings_that_wait_are_bounded_and_the_latest_answered() -> None:
    socket = WebSocket(LIMIT)
    for _ in range(10):
        socket.receive(b"".join(masked(0x89, b"%03d" % i) for i in range(1000)))
    assert sent_frames(socket.outgoing()) == [(10, b"%03d" % i) for i in range(936, 1000)]
    assert socket.outgoing() == b""


def test_the_number_of_fragments_is_limited() -> None:
    socket = WebSocket(LIMIT)
    events = socket.receive(masked(0x02, b"") + masked(0x00, b"") * 131_072)
    assert [event.code for event in events if isinstance(event, Closed)] == [1009]


def test_fragments_are_counted_for_each_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.wire.message._MAX_FRAMES", 3)
    socket = WebSocket(LIMIT)
    message = masked(0x01, b"a") + masked(0x00, b"b") + masked(0x80, b"c")
    assert socket.receive(message * 5) == [Text("abc")] * 5
    assert [type(event) for event in socket.receive(message[:-7] + masked(0x00, b"") * 2)] == [Closed]


@pytest.mark.parametrize("first", [0x01, 0x02])
def test_tiny_fragments_weigh_what_their_content_weighs(first: int) -> None:
    socket = WebSocket(LIMIT)
    character = "\u0101".encode()
    piece = masked(0x00, character) * 1000
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        socket.receive(masked(first, character))
        for _ in range(10):
            assert socket.receive(piece) == []
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 60_000  # 20,002 bytes of content in 10,001 fragments, and what the buffers have to spare
    [event] = socket.receive(masked(0x80, b""))
    assert event == (Text("\u0101" * 10_001) if first == 1 else Binary(character * 10_001))


def test_nothing_is_kept_after_a_violation() -> None:
    socket = WebSocket(LIMIT)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        socket.receive(masked(0x02, b"x" * 400_000))
        assert len(socket.receive(b"\x83\x80" + bytes(400_000))) == 1
        for _ in range(10):
            assert socket.receive(bytes(400_000)) == []
        assert tracemalloc.get_traced_memory()[0] - before < 20_000
    finally:
        tracemalloc.stop()
