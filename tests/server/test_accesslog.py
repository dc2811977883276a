"""The line about an answer: who asked, and nothing that could be another line."""

from __future__ import annotations

import logging

import pytest

from gateway.model.http import Peer, RequestHead
from gateway.server.accesslog import log_answer
from gateway.wire.http1 import Http1, Http1Limits

PEERS = [
    (Peer("192.0.2.1", 1, local=False), "192.0.2.1"),
    (Peer("", 0, local=True), "unix"),
    (Peer("192.0.2.1", 1, local=False, tls=True, certificate="CN=alice"), "192.0.2.1 'CN=alice'"),
    (Peer("", 0, local=True, tls=True, certificate="CN=a\nb\x1b[31m"), "unix 'CN=a\\nb\\x1b[31m'"),
]


@pytest.mark.parametrize(("peer", "who"), PEERS)
def test_who_asked(peer: Peer, who: str, caplog: pytest.LogCaptureFixture) -> None:
    head = Http1(Http1Limits()).receive(b"GET /v1/models?key=secret HTTP/1.1\r\nHost: h\r\n\r\n")[0]
    assert isinstance(head, RequestHead)
    with caplog.at_level(logging.INFO):
        log_answer(peer, head, 200, 0.012, "r1")
    assert caplog.messages == [f'{who} "GET /v1/models" 200 0.012s req=r1']
