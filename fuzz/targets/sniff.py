"""What the first bytes say: decided by a prefix, once for all, and as the reader of requests sees it."""

from __future__ import annotations

from gateway.model.http import Malformed, RequestHead
from gateway.wire.grammar import METHOD_BYTES
from gateway.wire.http1 import Http1, Http1Limits
from gateway.wire.sniff import Sniffed, sniff

__all__ = ["one_input"]


def one_input(data: bytes) -> None:
    data = data[:64]
    verdicts = [sniff(data[:end]) for end in range(len(data) + 1)]
    assert verdicts[0] is Sniffed.MORE
    for end, verdict in enumerate(verdicts):
        assert sniff(bytearray(data[:end])) is verdict
        if verdict is Sniffed.MORE:
            assert end <= METHOD_BYTES, "still undecided"
        else:
            assert set(verdicts[end:]) == {verdict}, f"more input changes {verdict} to {set(verdicts[end:])}"
            break
    last = verdicts[-1]
    assert (last is Sniffed.TLS) == data.startswith(b"\x16")
    if last is Sniffed.HTTP2:
        assert data.startswith(b"PRI * HTTP/2")

    http = Http1(Http1Limits())
    events = http.receive(data)
    if data.startswith((b"\r", b"\n")):
        return  # empty lines before a request are the reader's
    if last in {Sniffed.TLS, Sniffed.HTTP2, Sniffed.OTHER}:
        assert [type(event) for event in events] == [Malformed], events
    elif last is Sniffed.MORE:
        assert events == []
        assert http.buffered == len(data)
    if events and isinstance(events[0], RequestHead):
        assert last is Sniffed.HTTP1
        assert data.startswith(events[0].method.encode() + b" ")
