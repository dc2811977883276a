"""The line about an answer: who asked, and nothing that could be another line."""

from __future__ import annotations

import logging

import pytest

from gateway.model.caller import OPERATOR, Caller
from gateway.model.http import Peer, RequestHead
from gateway.server.accesslog import log_answer
from gateway.wire.http1 import Http1, Http1Limits
from gateway.wire.response import ResponseWriter

PEERS = [
    (Peer("192.0.2.1", 1, local=False), "192.0.2.1"),
    (Peer("", 0, local=True), "unix"),
    (Peer("192.0.2.1", 1, local=False, tls=True, certificate="CN=alice"), "192.0.2.1 'CN=alice'"),
    (Peer("", 0, local=True, tls=True, certificate="CN=a\nb\x1b[31m"), "unix 'CN=a\\nb\\x1b[31m'"),
]


class Over:
    """A request that is over."""

    def __init__(self, head: RequestHead, peer: Peer, *, caller: Caller = OPERATOR) -> None:
        self.head, self.peer, self.caller, self.request_id = head, peer, caller, "r1"
        self.writer = ResponseWriter("GET", "1.1", keep_alive=True)
        self.writer.whole(200, b"", (), b"")


@pytest.mark.parametrize(("peer", "who"), PEERS)
def test_who_asked(peer: Peer, who: str, caplog: pytest.LogCaptureFixture) -> None:
    head = Http1(Http1Limits()).receive(b"GET /v1/models?key=secret HTTP/1.1\r\nHost: h\r\n\r\n")[0]
    assert isinstance(head, RequestHead)
    with caplog.at_level(logging.INFO):
        log_answer(Over(head, peer), 0.012)
    assert caplog.messages == [f'{who} "GET /v1/models" 200 0.012s req=r1']


def test_which_key(caplog: pytest.LogCaptureFixture) -> None:
    head = Http1(Http1Limits()).receive(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")[0]
    assert isinstance(head, RequestHead)
    with caplog.at_level(logging.INFO):
        log_answer(Over(head, PEERS[0][0], caller=Caller("reports")), 1.5)
    assert caplog.messages == ['192.0.2.1 "GET /" 200 1.500s req=r1 key=reports']
