"""Peers that leave in the middle, with a FIN or a RST: those who may have their answer, the others leave nothing."""

from __future__ import annotations

import asyncio
import re

import pytest
from attackers import AUTH, CHUNKED, UPGRADE, End, Peer, chat, crowd, frame, reset, shut
from siege import NEEDS_PROC, Siege, Target

pytestmark = [pytest.mark.alone, NEEDS_PROC]

COUNT = 30


@pytest.mark.parametrize(
    ("kind", "request_", "ending"),
    [
        ("an answer", chat("large", "10"), rb'"xxxxxxxxxx"'),
        ("a stream", chat("usual", stream=True), rb"data: \[DONE\]\n\n\r\n0\r\n\r\n$"),
        ("two answers", chat("large", "10") + chat("large", "11"), rb'(?s)"x{10}".*"x{11}"'),
        ("a refusal", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", rb" 405 "),
    ],
)
def test_half_closed_senders_get_their_answer(
    target: Target, siege: Siege, kind: str, request_: bytes, ending: bytes
) -> None:
    async def one(peer: Peer) -> End:
        await peer.send(request_)
        shut(peer)
        return await peer.end()

    ends, cuts = siege(target, f"100 half-closed, {kind}", lambda port: crowd(port, one, 100))
    assert cuts == {}
    for end in ends:
        assert end.how == "closed"
        assert re.search(ending, end.answer), end.answer


def test_half_closed_within_a_body(target: Target, siege: Siege) -> None:
    async def one(peer: Peer) -> End:
        await peer.send(chat("usual")[:-3])
        shut(peer)
        return await peer.end()

    ends, _ = siege(target, "100 half-closed, in the body", lambda port: crowd(port, one, 100))
    assert all(end.answer.startswith(b"HTTP/1.1 400 ") and end.how == "closed" for end in ends)


STAGES: dict[str, tuple[bytes, bytes]] = {
    "connecting": (b"", b""),
    "in the head": (b"POST /v1/chat/completions HTTP/1.1\r\n" + AUTH, b""),
    "in the body": (chat("usual")[:-5], b""),
    "in a chunk": (CHUNKED + b"5\r\nab", b""),
    "while the run works": (chat("silent"), b""),
    "in the stream": (chat("endless", stream=True), b"data: "),
    "with a pipeline behind it": (chat("endless", stream=True) * 200, b"data: "),
    "after an answer": (chat("large", "10"), b"}}"),
    "after a refusal": (b"GET * HTTP/1.1\r\n\r\n" + bytes(100), b"400"),
    "in the WebSocket": (UPGRADE("/echo") + frame(0x01, b"abc") + b"\x80", b"101"),
    "while the WebSocket speaks": (UPGRADE("/shout"), b"xxxx"),
    "behind a thousand frames": (UPGRADE("/echo") + frame(0x81, b"abc") * 9000, b"101"),
    "behind ten thousand chunks": (CHUNKED + b"1\r\nx\r\n" * 10_000, b""),
}


@pytest.mark.parametrize("stage", STAGES)
def test_resets(target: Target, siege: Siege, stage: str) -> None:
    """At every stage: no run, no connection and no line about an error is left behind."""
    sent, awaited = STAGES[stage]

    async def one(peer: Peer) -> End:
        if sent:
            await peer.send(sent)
        got = b""
        while awaited not in got:
            piece = await peer.receive()
            assert piece, got
            got += piece
        await asyncio.sleep(0.02)
        reset(peer)
        return End(0.0, got, "open")

    siege(target, f"{COUNT} resets {stage}", lambda port: crowd(port, one, COUNT), least=0.3)
    log = target.running.text()
    assert "Traceback" not in log, log
    assert "ERROR" not in log, log
