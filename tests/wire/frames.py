"""WebSocket frames as peers send them, and the cases in data/websocket, one line of JSON each.

in        frames as the client sends them, in hexadecimal
events    what they are: ["text", str], ["binary" | "ping" | "pong", hexadecimal], ["closed", code, reason?]
out       frames that have to go back; where it is not given, one close frame with the code of the last event
deflate   permessage-deflate is on: with `takeover` or without it, and `client_bits`
role      "client" for what a server sends

In handshakes.json, each case is a good handshake but for its `changes`: `Name: value` stands in place of the lines of
that name, `Name` alone removes them.  `status` and `headers` are those of the answer; `plain` ones do not ask for a
WebSocket at all.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wsproto.frame_protocol import FrameDecoder

from gateway.wire.extensions import Agreement, Compression
from gateway.wire.websocket import Event, WebSocket

__all__ = ["HANDSHAKES", "KEY", "LIMIT", "NAMED_CASES", "feed", "handshake", "make", "masked", "sent_frames"]

DATA = Path(__file__).parent.parent / "data" / "websocket"
NAMED_CASES: dict[str, dict[str, Any]] = {
    f"{file.stem}: {case['name']}": case
    for file in sorted(DATA.glob("*.jsonl"))
    for case in map(json.loads, file.read_text("utf-8").splitlines())
}
HANDSHAKES: dict[str, dict[str, Any]] = {
    case["name"]: case for case in json.loads((DATA / "handshakes.json").read_text("utf-8"))
}
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455, section 1.3
LIMIT = 1 << 20


def handshake(case: Mapping[str, Any]) -> bytes:
    """The head of a request, without the case's body."""
    good = ["Host: example.org", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {KEY}"]
    good.append("Sec-WebSocket-Version: 13")
    names = {change.partition(":")[0].lower() for change in case["changes"]}
    lines = [line for line in good if line.partition(":")[0].lower() not in names]
    lines += [change for change in case["changes"] if ":" in change]
    return "\r\n".join((case.get("line", "GET /ws HTTP/1.1"), *lines, "", "")).encode("latin-1")


def make(case: dict[str, Any]) -> WebSocket:
    agreement = None
    if "deflate" in case:
        takeover, bits = case["deflate"].get("takeover", False), case["deflate"].get("client_bits", 15)
        agreement = Agreement(Compression(), takeover, takeover, 15, bits, b"")
    mask = (lambda: bytes(4)) if case.get("role") == "client" else None
    return WebSocket(case.get("max_message", LIMIT), mask, agreement)


def masked(first: int, payload: bytes, key: bytes = b"\x37\xfa\x21\x3d") -> bytes:
    """A client's frame: `first` is its first byte."""
    length = len(payload)
    if length < 126:
        head = bytes((first, 0x80 | length))
    elif length < 65536:
        head = struct.pack("!BBH", first, 0xFE, length)
    else:
        head = struct.pack("!BBQ", first, 0xFF, length)
    repeated = (key * (length // 4 + 1))[:length]
    return head + key + (int.from_bytes(payload) ^ int.from_bytes(repeated)).to_bytes(length)


def sent_frames(data: bytes, role: str = "server") -> list[tuple[int, bytes]]:
    """Read what we wrote in that role with wsproto's decoder in the other: (opcode, payload), all of them final."""
    decoder = FrameDecoder(client=role == "server")
    decoder.receive_bytes(data)
    frames = []
    while (frame := decoder.process_buffer()) is not None:
        assert frame.frame_finished
        assert frame.message_finished
        assert isinstance(frame.payload, bytes)
        frames.append((int(frame.opcode), frame.payload))
    assert len(decoder.buffer) == 0
    return frames


def feed(socket: WebSocket, *pieces: bytes) -> tuple[list[Event], bytes]:
    """All events of the pieces, and all that went back."""
    events: list[Event] = []
    out = b""
    for piece in pieces:
        events += socket.receive(piece)
        out += socket.outgoing()
    return events, out
