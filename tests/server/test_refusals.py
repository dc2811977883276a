"""Peers that speak another protocol: what they get, and how much of the log."""

from __future__ import annotations

import asyncio
import logging
import ssl

import pytest
from serving import run, serving

HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(200)


def test_a_tls_hello_on_the_plain_port_gets_a_close_without_a_byte(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with serving() as running:
            for sent in (HELLO, HELLO[:1], b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" + HELLO):
                got = await running.exchange(sent)
                assert b"TLS" not in got
                assert not got or got.endswith(b"\r\n\r\nOK"), "an end, and neither an alert nor HTTP"
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await running.connect(ssl=ssl.create_default_context(), server_hostname="localhost")
            assert running.server.services.cuts.counts == {"refused without an answer": 4}

    with caplog.at_level(logging.INFO, "gateway"):
        run(main)
    assert caplog.messages == [
        (
            "refused without an answer: 127.0.0.1: "
            "a TLS handshake came to a port that speaks plain HTTP; use http:// or ws://"
        ),
        "refused without an answer: 3 more within 10 s",
    ]


def test_a_scanner_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with serving() as running:
            await asyncio.gather(*(running.exchange(sent) for sent in [HELLO, b"SSH-2.0-x\r\n"] * 100))

    with caplog.at_level(logging.INFO, "gateway"):
        run(main)
    assert [line.partition(": 127")[0] for line in caplog.messages] == [
        "refused without an answer",
        "refused 400",
        "refused without an answer: 99 more within 10 s",
        "refused 400: 99 more within 10 s",
    ]
