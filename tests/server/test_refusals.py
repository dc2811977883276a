"""Peers that are turned away: what they get, and how much of the log."""

from __future__ import annotations

import asyncio
import logging
import ssl

import pytest
from serving import run, serving

from gateway.model.http import Peer
from gateway.server.limits import Limits
from gateway.server.refusals import PERIOD, Refusals
from gateway.testing import ManualTimer

PEER = Peer("192.0.2.1", 1, local=False)
HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(200)


def test_a_flood_leaves_few_lines_and_its_number(caplog: pytest.LogCaptureFixture) -> None:
    timer = ManualTimer()
    refusals = Refusals(timer, 3)
    with caplog.at_level(logging.INFO):
        for _ in range(1000):
            refusals.tell(PEER, "400 nonsense")
        assert caplog.messages == ["refused 192.0.2.1: 400 nonsense"] * 3
        timer.advance(PERIOD)
        assert caplog.messages[3:] == ["refused more within 10 s: 997"]
        refusals.tell(Peer("", 0, local=True), "again")
        assert caplog.messages[4:] == ["refused unix: again"], "a new period, new lines"
        timer.advance(PERIOD)
        assert len(caplog.messages) == 5, "nothing was left out"
        refusals.close()


def test_the_number_is_told_at_the_end_too(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals(ManualTimer(), 0)
    with caplog.at_level(logging.INFO):
        refusals.tell(PEER, "x")
        refusals.close()
        refusals.close()
    assert caplog.messages == ["refused more within 10 s: 1"]


def test_a_tls_hello_on_the_plain_port_gets_a_close_without_a_byte(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with serving() as running:
            for sent in (HELLO, HELLO[:1], b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" + HELLO):
                got = await running.exchange(sent)
                assert b"TLS" not in got
                assert not got or got.endswith(b"\r\n\r\nOK"), "an end, and neither an alert nor HTTP"
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await running.connect(ssl=ssl.create_default_context(), server_hostname="localhost")

    with caplog.at_level(logging.INFO, "gateway"):
        run(main)
    assert (
        caplog.messages
        == ["refused 127.0.0.1: a TLS handshake came to a port that speaks plain HTTP; use http:// or ws://"] * 4
    )


def test_a_scanner_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with serving(limits=Limits(refusal_lines=5)) as running:
            await asyncio.gather(*(running.exchange(sent) for sent in [HELLO, b"SSH-2.0-x\r\n"] * 100))

    with caplog.at_level(logging.INFO, "gateway"):
        run(main)
    assert len(caplog.messages) == 6, "five lines, and at the end the number of the others"
    assert caplog.messages[-1] == "refused more within 10 s: 195"
