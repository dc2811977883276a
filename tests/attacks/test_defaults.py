"""The limits as they are without any configuration: by value, and, with ATTACKS=full, by waiting for each of them."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable

import pytest
from attackers import CHUNKED, UPGRADE, End, Peer, chat, crowd, drip, stay
from processes import TOKEN, Launch, configuration
from siege import FULL, NEEDS_PROC, Aim

from gateway.bounds import connection_limits
from gateway.config.schema import Config
from gateway.server.limits import Limits
from gateway.server.link import LinkLimits
from gateway.wire.http1 import Http1Limits

pytestmark = pytest.mark.alone


def test_by_value() -> None:
    """A change of these is a change for everybody who runs a gateway: it belongs in the changelog."""
    expected = {
        "head_time": 10,
        "body_idle": 30,
        "keep_alive_idle": 75,
        "write_stall": 60,
        "pace": 16_384,
        "linger": 5,
        "linger_bytes": 67_108_864,
        "hang_up_probe": 5,
        "drain_bytes": 65_536,
        "unread_bytes": 65_536,
        "unsent_bytes": 134_217_728,
        "connections": 10_000,
        "connections_per_peer": 1_000,
        "unauthenticated_per_peer": 100,
    }
    limits = Limits()._asdict()
    assert {name: limits[name] for name in expected} == expected
    assert Http1Limits() == (32_768, 16_384, 100)
    link = LinkLimits()
    assert (link.ping_interval, link.pong_timeout, link.close_timeout) == (25, 25, 5)
    assert (link.max_message, link.queue_bytes, link.queue_messages) == (26_214_400, 1_048_576, 256)


def test_a_configuration_without_limits_has_the_same() -> None:
    assert connection_limits(Config()) == Limits()


async def mute(peer: Peer) -> End:
    """Open a WebSocket, and never answer its pings."""
    await peer.send(UPGRADE("/echo"))
    return await peer.end(80)


LONG = b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 20000\r\n"
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"

# What the attacker does, the limit that cuts it, and the seconds that takes.
KINDS: dict[str, tuple[Callable[[Peer], Awaitable[End]], str, float]] = {
    "silent": (stay(b"", 100), "head_time", 10),
    "slow head": (drip(b"GET / HTTP/1.1\r\nHost: x\r\n", b"x", 1, 100), "head_time", 10),
    "slow body": (drip(CHUNKED, b"1\r\nx\r\n", 1, 100), "body_idle", 30),
    "idle": (stay(GET, 100), "keep_alive_idle", 75),
    "unread": (stay(chat("endless", stream=True), 100), "write_stall", 60),
    "mute": (mute, "pong_timeout", 50),
}


@NEEDS_PROC
@pytest.mark.skipif(not FULL, reason="takes 80 s; ATTACKS=full runs it")
@pytest.mark.timeout(150)
def test_by_waiting(aim: Aim) -> None:
    target = aim(warm=False)

    async def main() -> list[list[End]]:
        return await asyncio.gather(
            *(crowd(target.port, one, 50, buffer=2048, segment=536) for one, _, _ in KINDS.values())
        )

    for (kind, (_, limit, seconds)), ends in zip(KINDS.items(), asyncio.run(main()), strict=True):
        took = [end.seconds for end in ends]
        print(f"{kind}: {limit} after {min(took):.1f} to {max(took):.1f} s")
        assert not [end for end in ends if end.how == "open"]
        assert seconds - 0.1 <= min(took)
        assert max(took) <= seconds + 4, kind
    cuts = asyncio.run(target.quiet())["cuts"]
    assert cuts.pop("linger", 0) <= 100
    assert cuts == {"head_time": 100, "body_idle": 50, "keep_alive_idle": 50, "write_stall": 50}


def test_a_configured_limit_strikes_and_says_so(launch: Launch) -> None:
    """With `gateway run`, as its users have it."""
    config = configuration()
    config["gateway"]["http"]["limits"] = {"headTimeoutMs": 300, "bodyIdleTimeoutMs": 500}
    running = launch(config)
    body = CHUNKED.replace(b"attacked-secret", TOKEN.encode())

    async def main() -> None:
        silent, slow = await asyncio.gather(
            crowd(running.port, stay(b""), 20), crowd(running.port, drip(body, b"1\r\nx\r\n", 0.1), 20)
        )
        assert all(0.25 < end.seconds < 2 and end.how != "open" for end in silent)
        assert all(0.45 < end.seconds < 2 and end.answer.startswith(b"HTTP/1.1 408 ") for end in slow)

    asyncio.run(main())
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(10) == 0
    log = running.text()
    assert log.count("head_time: 127.0.0.1: nothing came") == 1, log
    assert "head_time: 19 more within 10 s" in log, log
    assert "body_idle: 127.0.0.1: the request body stopped coming" in log, log
    assert "body_idle: 19 more within 10 s" in log, log
