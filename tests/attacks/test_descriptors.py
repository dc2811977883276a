"""Connections and file descriptors: what happens when there are none left."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from contextlib import suppress

import pytest
from attackers import Peer, chat, connect
from siege import Aim, Target

from gateway.server.limits import SPARE_FILES, Limits, within_files

FILES = 200
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(not hasattr(os, "sysconf"), reason="there is no limit on files here"),
]


@pytest.fixture(scope="module")
def poor(aim: Aim) -> Target:
    """A gateway that may have 200 files open."""
    return aim(warm=False, files=FILES)


async def answers(peers: list[Peer], request: bytes = GET) -> Counter[bytes]:
    """How often which status came; empty for a connection that was closed without one."""

    async def one(peer: Peer) -> bytes:
        with suppress(OSError):  # it was closed already, but there may be an answer
            await peer.send(request)
        return (await peer.end()).answer[9:12]

    try:
        return Counter(await asyncio.gather(*map(one, peers)))
    finally:
        for peer in peers:
            peer.close()


def test_without_a_descriptor_connections_wait_and_the_log_has_one_line(poor: Target) -> None:
    """On uvloop they are closed, and not told of: libuv keeps one descriptor in reserve, to take them and end them."""
    closed = os.environ.get("TESTS_LOOP") == "uvloop"

    async def main() -> None:
        hoarder = await connect(poor.port)
        await hoarder.send(chat("hoard"))  # an agent takes all there are, for 1.5 s
        await asyncio.sleep(0.3)
        peers = [await connect(poor.port) for _ in range(50)]  # by the kernel; the gateway cannot take them
        counted = await answers(peers)
        had = await hoarder.receive()
        hoarder.close()
        assert counted == {b"" if closed else b"200": 50}
        assert b"had 1" in had
        assert await answers([await connect(poor.port) for _ in range(50)]) == {b"200": 50}, "all is well again"

    asyncio.run(main())
    log = poor.running.text()
    assert log.count("no connection can be taken: [Errno 24] Too many open files") == (0 if closed else 1), log
    assert "Traceback" not in log, log


def test_more_connections_than_files_are_refused_not_lost(poor: Target) -> None:
    async def main() -> None:
        await poor.quiet()
        peers = [await connect(poor.port) for _ in range(FILES - 20)]
        await asyncio.sleep(0.5)
        counted = await answers(peers)
        assert counted[b"200"] == FILES // 2
        assert counted[b"503"] + counted[b""] == FILES - 20 - FILES // 2
        await poor.quiet()  # and all is well again

    asyncio.run(main())
    assert poor.running.text().count("too many connections: 127.0.0.1") == 1


def test_the_limit_on_connections_stays_below_that_on_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def allow(files: int) -> int:
        monkeypatch.setattr(os, "sysconf", {"SC_OPEN_MAX": files}.__getitem__)
        return within_files(Limits(connections=10_000)).connections

    assert allow(-1) == 10_000
    assert allow(1_000_000) == 10_000
    assert allow(1024) == 1024 - SPARE_FILES
    assert allow(64) == 32
