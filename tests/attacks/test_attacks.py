"""Nothing waits for ever, nothing grows for ever: one attack after the other on a gateway with short time limits."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from attackers import AUTH, CHUNKED, CROWD, UPGRADE, End, chat, connect, crowd, drip, frame, stay, volley
from siege import FULL, NEEDS_PROC, SHORT, Aim, Siege, Target

pytestmark = [pytest.mark.alone, NEEDS_PROC]

OPENING = b"GET / HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /v1/chat/completions HTTP/1.1\r\n"
LONG = POST + AUTH + b"Content-Length: 20000\r\n\r\n"


MOST = 10.0
"""Seconds after which all limits of SHORT have struck, and a busy machine has seen it."""


def cut_after(ends: list[End], least: float) -> None:
    """All were cut, none of them before its time, and none much later."""
    assert not [one for one in ends if one.how == "open"], "the gateway did not cut them all"
    assert min(one.seconds for one in ends) >= 0.95 * least
    assert max(one.seconds for one in ends) <= MOST


# The slow, 300 of them at a time: each kind has its limit.


def test_silent_connects(target: Target, siege: Siege) -> None:
    ends, cuts = siege(target, "300 silent connects", lambda port: crowd(port, stay(b"")))
    cut_after(ends, SHORT["head_time"])
    assert cuts == {"head_time": CROWD}


def test_slow_heads(target: Target, siege: Siege) -> None:
    ends, cuts = siege(target, "300 slow heads", lambda port: crowd(port, drip(OPENING, b"x", 0.2)))
    cut_after(ends, SHORT["head_time"])
    assert cuts.pop("linger", 0) <= CROWD  # after their answer, they went on
    assert cuts == {"head_time": CROWD}
    assert all(one.answer.startswith(b"HTTP/1.1 408 ") for one in ends)


@pytest.mark.parametrize(
    ("kind", "opening", "drop"),
    [
        ("slow bodies", LONG, b"x"),
        ("slow chunks", CHUNKED, b"1\r\nx\r\n"),
        ("slow chunk extensions", CHUNKED + b"1;", b"x"),
        ("that expect 100-continue", LONG[:-2] + b"Expect: 100-continue\r\n\r\n", b""),
        ("slow trailers", CHUNKED + b"0\r\n", b"x: y\r\n"),
    ],
)
def test_slow_bodies(target: Target, siege: Siege, kind: str, opening: bytes, drop: bytes) -> None:
    ends, cuts = siege(target, f"300 {kind}", lambda port: crowd(port, drip(opening, drop, 0.2)))
    cut_after(ends, SHORT["body_idle"])
    assert cuts.pop("linger", 0) <= CROWD
    assert cuts == {"body_idle": CROWD}
    assert all(b"HTTP/1.1 408 " in one.answer for one in ends)


def test_slow_bodies_of_refused_requests(target: Target, siege: Siege) -> None:
    """They are read for the sake of the connection, in the end for nothing: not for longer than the others."""
    refused = POST + b"Host: x\r\nContent-Length: 60000\r\n\r\n" + bytes(10_000)
    ends, cuts = siege(target, "300 refused bodies", lambda port: crowd(port, drip(refused, b"x", 0.2)))
    cut_after(ends, SHORT["body_idle"])
    assert cuts.pop("linger", 0) <= CROWD
    assert cuts == {"body_idle": CROWD}


def test_idle_after_an_answer(target: Target, siege: Siege) -> None:
    get = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    ends, cuts = siege(target, "300 idle after an answer", lambda port: crowd(port, stay(get)))
    cut_after(ends, SHORT["keep_alive_idle"])
    assert cuts == {"keep_alive_idle": CROWD}


def test_slow_readers_of_streams(target: Target, siege: Siege) -> None:
    request = chat("endless", stream=True)
    # Small segments, so that it is not the kernel that takes the stream: over loopback it would take megabytes.
    ends, cuts = siege(
        target, "300 slow readers of a stream", lambda port: crowd(port, stay(request), buffer=2048, segment=536)
    )
    cut_after(ends, SHORT["write_stall"])
    assert cuts == {"write_stall": CROWD}


def test_slow_readers_of_large_answers(aim: Aim, siege: Siege) -> None:
    """A whole answer has to be kept for its reader; all of them together have a limit."""
    target = aim({**SHORT, "unsent_bytes": 400_000})
    request = chat("large", "100000")
    ends, cuts = siege(
        target,
        "300 slow readers of 100 kB",
        lambda port: crowd(port, stay(request), buffer=2048, segment=536, spread=1.5),
    )
    assert not [one for one in ends if one.how == "open"]
    assert cuts["unsent_bytes"] > CROWD / 2
    assert sum(cuts.values()) >= CROWD


def test_the_kernel_gives_up_too(target: Target) -> None:
    """What the kernel has taken of an answer is closed behind by the gateway: the kernel must not keep it for long."""

    def left() -> int:
        """Sockets of the gateway in FIN-WAIT-1: closed, but not with all that was sent taken."""
        lines = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
        return sum(line[1].endswith(f":{target.port:04X}") and line[3] == "04" for line in lines)

    async def main() -> None:
        peers = [await connect(target.port, buffer=2048) for _ in range(20)]
        for peer in peers:
            await peer.send(chat("large", "100000"))
        await target.quiet()  # cut by keep_alive_idle
        end = time.monotonic() + 8
        assert left() > 10
        while left():
            assert time.monotonic() < end, f"{left()} sockets are left"
            await asyncio.sleep(0.05)
        for peer in peers:
            peer.close()

    asyncio.run(main())


# What has no end.

TOO_LONG = {
    "endless headers": (OPENING, b"a: b\r\n" * 1000, 431),
    "an endless header": (OPENING + b"a: ", b"b" * 10_000, 431),
    "an endless request line": (b"GET /", b"a" * 10_000, 414),
    "endless leading CRLF": (b"", b"\r\n" * 5000, 400),
    "an endless method": (b"", b"A" * 10_000, 400),
    "endless chunk extensions": (CHUNKED, b"1;a=b\r\nx\r\n" * 1000, 400),
    "an endless chunk extension": (CHUNKED + b"1;a=", b"b" * 10_000, 400),
    "endless chunk-size digits": (CHUNKED, b"0" * 10_000, 400),
    "endless trailers": (CHUNKED + b"0\r\n", b"a: b\r\n" * 1000, 431),
    "an endless trailer": (CHUNKED + b"0\r\na: ", b"b" * 10_000, 400),
}


@pytest.mark.parametrize("name", TOO_LONG)
def test_what_has_no_end(target: Target, siege: Siege, name: str) -> None:
    opening, more, status = TOO_LONG[name]
    ends, _ = siege(target, name, lambda port: volley(port, opening, more))
    for one in ends:
        assert one.answer.startswith(b"HTTP/1.1 %d " % status), one.answer[:200]
        assert one.how != "open", "answered, but not cut"


# Floods: nothing in them is wrong, there is only too much of it.

GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
FLOODS: dict[str, tuple[bytes, bytes]] = {
    "requests": (b"", GET * 1000),
    "chunks of one byte": (CHUNKED, b"1\r\nx\r\n" * 5000),
    "pipelined chunks of one byte": (b"", GET + CHUNKED + b"1\r\nx\r\n" * 5000 + b"0\r\n\r\n"),
    "tiny frames": (UPGRADE("/echo"), frame(0x81, b"x") * 5000),
    "pings": (UPGRADE("/echo"), frame(0x89, b"p" * 125) * 1000),
    "pongs": (UPGRADE("/echo"), frame(0x8A) * 5000),
    "empty fragments": (UPGRADE("/echo") + frame(0x01), frame(0x00) * 5000),
}


@pytest.mark.parametrize("name", FLOODS)
def test_floods(target: Target, siege: Siege, name: str) -> None:
    opening, more = FLOODS[name]
    siege(target, f"a flood of {name}", lambda port: volley(port, opening, more, seconds=0.8))


@pytest.mark.parametrize("name", ["requests", "tiny frames", "pings"])
def test_floods_whose_answers_are_not_read(target: Target, siege: Siege, name: str) -> None:
    opening, more = FLOODS[name]
    _, cuts = siege(
        target,
        f"a flood of {name}, answers unread",
        lambda port: volley(port, opening, more, reading=False, seconds=8, buffer=2048, segment=536),
    )
    assert cuts == {"write_stall": 1}


def test_one_byte_at_a_time(aim: Aim, siege: Siege) -> None:
    """A hundred requests in segments of one byte each are all answered, however long they take."""
    target = aim({"head_time": 60, "body_idle": 60})
    request = chat("large", "10", more=b"Connection: close\r\n")

    async def attack(port: int) -> list[End]:
        async def one(peer: Any) -> End:
            for at in range(len(request)):
                await peer.send(request[at : at + 1])
                await asyncio.sleep(0)
            found: End = await peer.end()
            return found

        return await crowd(port, one, 100)

    ends, cuts = siege(target, "100 requests in 1-byte segments", attack)
    assert cuts == {}
    assert all(one.answer.startswith(b"HTTP/1.1 200 ") and one.answer.endswith(b"}}") for one in ends)


@pytest.mark.timeout(150)
def test_connects(target: Target, siege: Siege) -> None:
    """200 connects per second; half of them say something, all leave at once."""
    seconds = 60 if FULL else 4

    async def attack(port: int) -> list[End]:
        began = time.monotonic()
        for number in range(200 * seconds):
            peer = await connect(port)
            if number % 2:
                await peer.send(GET)
            peer.close()
            await asyncio.sleep(max(0.0, began + number / 200 - time.monotonic()))
        return []

    siege(target, f"200 connects/s for {seconds} s", attack)


def test_the_log_has_a_bound(target: Target, siege: Siege) -> None:
    """Some lines for each limit, not one for each of the attackers; thousands came before, if these tests ran together."""
    siege(target, "300 silent connects, for the log", lambda port: crowd(port, stay(b"")))
    lines = target.running.text().splitlines()
    assert len(lines) < 150, lines
    assert any("head_time: 127.0.0.1: nothing came" in line for line in lines), lines
