"""What a connection weighs in each of its stages: the difference between a crowd of 300 and a flood of 10,000."""

from __future__ import annotations

import asyncio

import pytest
from attackers import AUTH, UPGRADE, Peer, chat, connect
from siege import FULL, NEEDS_PROC, Aim

pytestmark = [pytest.mark.alone, NEEDS_PROC, pytest.mark.skipif(not FULL, reason="takes 20 s; ATTACKS=full runs it")]

COUNT = 1000
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
# No limit strikes while it is measured; an idle connection forgets its last head, as by default.
PATIENT = {"head_time": 100, "body_idle": 100, "keep_alive_idle": 100, "write_stall": 100, "remember": 0.5}

# What is sent, what has to be in the answer, and the most KiB: twice what was measured.
STAGES: dict[str, tuple[bytes, bytes, float]] = {
    "silent": (b"", b"", 4),
    "in a head": (b"POST /v1/chat/completions HTTP/1.1\r\n" + AUTH, b"", 5),
    "in a body": (chat("usual")[:-3], b"", 10),
    "idle after one answer": (GET, b"live", 6),
    "idle after two answers": (GET + GET, b"live", 7),
    "a run under way": (chat("silent"), b"", 14),
    "a stream that is silent": (chat("silent", stream=True), b"role", 16),
    "a stream that nobody reads": (chat("endless", stream=True), b"", 24),
    "a WebSocket": (UPGRADE("/echo"), b"101", 16),
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_connection_weighs_some_kilobytes(aim: Aim, stage: str) -> None:
    sent, awaited, most = STAGES[stage]
    target = aim(PATIENT, warm=False)
    before = target.rss()

    async def one(peer: Peer) -> None:
        await peer.send(sent)
        got = b""
        while awaited not in got:
            got += await peer.receive()

    async def main() -> float:
        small = {"buffer": 2048, "segment": 536} if stage.endswith("reads") else {}
        peers = [await connect(target.port, **small) for _ in range(COUNT)]
        try:
            await asyncio.gather(*map(one, peers))
            await asyncio.sleep(1.5)
            return (target.rss() - before) * 1024 / COUNT
        finally:
            for peer in peers:
                peer.close()

    weight = asyncio.run(main())
    print(f"{stage}: {weight:.1f} KiB")
    assert weight < most
