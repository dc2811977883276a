"""The first bytes of a peer: the verdict never changes once it is given."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.grammar import METHOD_BYTES
from gateway.wire.sniff import Sniffed, sniff

LONGEST = b"M" * METHOD_BYTES


@pytest.mark.parametrize(
    ("data", "verdict"),
    [
        (b"", Sniffed.MORE),
        (b"G", Sniffed.MORE),
        (b"GET", Sniffed.MORE),
        (b"GET ", Sniffed.HTTP1),
        (b"GET / HTTP/1.1\r\n", Sniffed.HTTP1),
        (b"get /", Sniffed.HTTP1),
        (LONGEST, Sniffed.MORE),
        (LONGEST + b" ", Sniffed.HTTP1),
        (LONGEST + b"M", Sniffed.OTHER),
        (LONGEST + b"M ", Sniffed.OTHER),
        (b"PRI", Sniffed.MORE),
        (b"PRI * HTTP/", Sniffed.MORE),
        (b"PRI * HTTP/2", Sniffed.HTTP2),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Sniffed.HTTP2),
        (b"PRI * HTTP/1", Sniffed.HTTP1),
        (b"PRI /", Sniffed.HTTP1),
        (b"PRIX * HTTP/2", Sniffed.HTTP1),
        (b"\x16", Sniffed.TLS),
        (b"\x16\x03\x01", Sniffed.TLS),
        (b"\x15", Sniffed.OTHER),
        (b" GET", Sniffed.OTHER),
        (b"\r\nGET", Sniffed.OTHER),
        (b"\0", Sniffed.OTHER),
        (b"G\xc9T /", Sniffed.OTHER),
        (b"GET\t/", Sniffed.OTHER),
        (b"{", Sniffed.OTHER),
    ],
)
def test_verdict(data: bytes, verdict: Sniffed) -> None:
    assert sniff(data) is verdict
    assert sniff(bytearray(data)) is verdict


@given(st.sampled_from([b"", b"GET ", b"PRI * HTTP/2.0", b"PRI *", b"\x16", LONGEST]), st.binary(max_size=30))
def test_more_input_never_changes_a_verdict(start: bytes, rest: bytes) -> None:
    data = start + rest
    final = sniff(data)
    for end in range(len(data)):
        assert sniff(data[:end]) in {Sniffed.MORE, final}


@given(st.binary(min_size=METHOD_BYTES + 1))
def test_a_verdict_is_there_in_the_end(data: bytes) -> None:
    assert (sniff(data) is not Sniffed.MORE) or data.startswith(b"PRI * HTTP/"[: len(data)])
