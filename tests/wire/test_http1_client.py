"""The client side of HTTP/1.1: what it sends cannot be injected into, what it reads does not depend on the cuts."""

from __future__ import annotations

import pytest
from h11 import SERVER, Connection, Data, EndOfMessage, Request

from gateway.errors import MisuseError
from gateway.model.http import BodyChunk, BodyEnd, Malformed, ResponseHead
from gateway.wire.http1_client import Http1Client, ResponseEvent

HOST = (b"host", b"example.org")


def waiting(method: str = "POST", head_bytes: int = 65_536) -> Http1Client:
    client = Http1Client(head_bytes)
    client.request(method, "/x", (HOST,), b"")
    return client


def merged(events: list[ResponseEvent]) -> list[ResponseEvent]:
    """Adjacent body chunks as one."""
    result: list[ResponseEvent] = []
    for event in events:
        if isinstance(event, BodyChunk) and result and isinstance(result[-1], BodyChunk):
            result[-1] = BodyChunk(result[-1].data + event.data)
        else:
            result.append(event)
    return result


def outcome(*pieces: bytes, method: str = "POST", eof: bool = True) -> tuple[list[object], bool]:
    """(status or body or end or fault, in order; whether the connection can be used again before any EOF)."""
    client = waiting(method)
    events = [event for piece in pieces for event in client.receive(piece)]
    reusable = client.reusable
    if eof:
        events += client.eof()
    shown: list[object] = []
    for event in merged(events):
        match event:
            case ResponseHead():
                shown.append(event.status)
            case BodyChunk():
                shown.append(event.data)
            case BodyEnd():
                shown.append("end")
            case Malformed():
                assert event.status == 502
                shown.append("fault")
    return shown, reusable


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
TOKENS = b"".join(
    b"%x\r\n%s\r\n" % (len(t), t) for t in (b"data: one\n\n", b"data: two\n\n", b"data: 3\n\n", b"a\r\nb\r\n")
)
TEXT = b"data: one\n\ndata: two\n\ndata: 3\n\na\r\nb\r\n"

CASES: list[tuple[bytes, str, list[object], bool]] = [
    (OK + b"Content-Length: 5\r\n\r\nhello", "POST", [200, b"hello", "end"], True),
    (OK + b"Content-Length: 0\r\n\r\n", "POST", [200, "end"], True),
    (OK + b"Content-Length: 5\r\nConnection: close\r\n\r\nhello", "POST", [200, b"hello", "end"], False),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", "POST", [200, b"hello", "end"], False),
    (OK + b"Content-Length: 5\r\n\r\nhello surplus", "POST", [200, b"hello", "end", "fault"], False),
    (OK + b"Content-Length: 5\r\nConnection: close\r\n\r\nhello surplus", "POST", [200, b"hello", "end"], False),
    (OK + b"Content-Length: 5\r\n\r\nhel", "POST", [200, b"hel", "fault"], False),
    (OK + b"\r\nuntil the end", "POST", [200, b"until the end", "end"], False),
    (b"HTTP/1.1 204 No Content\r\n\r\n", "POST", [204, "end"], True),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "GET", [304, "end"], True),
    (OK + b"Content-Length: 5\r\n\r\n", "HEAD", [200, "end"], True),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\nx", "POST",
     [200, b"x", "end"], True),
    (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "POST", ["fault"], False),
    (CHUNKED + TOKENS + b"0\r\n\r\n", "POST", [200, TEXT, "end"], True),
    (CHUNKED + TOKENS + b"0\r\nX-Sum: 1\r\n\r\n", "POST", [200, TEXT, "end"], True),
    (CHUNKED + b"3;name=value\r\nabc\r\n" + TOKENS + b"0\r\n\r\n", "POST", [200, b"abc" + TEXT, "end"], True),
    (CHUNKED + b"003\r\nabc\r\n0\r\n\r\n", "POST", [200, b"abc", "end"], True),
    (CHUNKED + b"11170\r\n" + b"x" * 70_000 + b"\r\n" + TOKENS + b"0\r\n\r\n", "POST", [200, b"x" * 70_000 + TEXT, "end"], True),
    (CHUNKED + TOKENS + b"0\r\n\r\nHTTP/1.1 200", "POST", [200, TEXT, "end", "fault"], False),
    (CHUNKED + TOKENS, "POST", [200, TEXT, "fault"], False),
    (CHUNKED + b"3\r\nabcd\r\n", "POST", [200, b"abc", "fault"], False),
    (CHUNKED + b"5\r\nabc\r\n1\r\nx\r\n", "POST", [200, b"abc\r\n", "fault"], False),
    (CHUNKED + b"-3\r\nabc\r\n", "POST", [200, "fault"], False),
    (CHUNKED + b"0x3\r\nabc\r\n", "POST", [200, "fault"], False),
    (CHUNKED + b"1_0\r\nabc\r\n", "POST", [200, "fault"], False),
    (CHUNKED + b"3\nabc\n0\n\n", "POST", [200, "fault"], False),
    (OK + b"Content-Length: five\r\n\r\nhello", "POST", ["fault"], False),
    (OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "POST", ["fault"], False),
    (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "POST", ["fault"], False),
    (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "POST", ["fault"], False),
    (b"HTTP/1.1 200", "POST", ["fault"], False),
    (b"", "POST", ["fault"], False),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "method", "expected", "reusable"), CASES)
def test_reads_the_same_wherever_it_is_cut(raw: bytes, method: str, expected: list[object], reusable: bool) -> None:
    assert outcome(raw, method=method) == (expected, reusable)
    step = 1 if len(raw) < 1000 else 2500
    for cut in range(0, len(raw) + 1, step):
        assert outcome(raw[:cut], raw[cut:], method=method) == (expected, reusable), cut
    assert outcome(*(raw[i : i + step] for i in range(0, len(raw), step)), method=method) == (expected, reusable)


def test_a_head_is_limited_wherever_it_is_cut() -> None:
    head = OK + b"Content-Length: 0\r\nX: " + b"x" * 40 + b"\r\n\r\n"
    for limit, fits in ((len(head), True), (len(head) - 1, False)):
        for cut in range(len(head) + 1):
            client = waiting(head_bytes=limit)
            events = client.receive(head[:cut]) + client.receive(head[cut:])
            assert isinstance(events[0], ResponseHead if fits else Malformed), (limit, cut)


def test_interim_responses_count_towards_the_limit_of_the_head() -> None:
    client = waiting(head_bytes=200)
    events = client.receive(b"HTTP/1.1 102 Processing\r\n\r\n" * 9)
    assert [type(event) for event in events] == [Malformed]


def test_nothing_follows_a_fault() -> None:
    client = waiting()
    assert isinstance(client.receive(b"garbage\r\n\r\n")[0], Malformed)
    assert client.receive(OK + b"\r\n") == []
    assert client.eof() == []
    assert not client.reusable


def test_an_answer_that_nobody_asked_for_spoils_the_connection() -> None:
    client = Http1Client()
    assert client.reusable
    assert isinstance(client.receive(b"HTTP/1.1 408 Request Timeout\r\n\r\n")[0], Malformed)
    assert not client.reusable


def test_one_connection_carries_one_request_after_another() -> None:
    client = Http1Client()
    for number in range(3):
        client.request("POST", "/", (HOST,), b"x")
        assert not client.reusable
        with pytest.raises(MisuseError):
            client.request("POST", "/", (HOST,), b"x")
        body = b"%d" % number
        events = client.receive(CHUNKED + b"1\r\n" + body + b"\r\n0\r\n\r\n")
        assert events[1:] == [BodyChunk(body), BodyEnd()]
    assert client.eof() == []
    assert not client.reusable


def test_a_request_is_what_h11_reads() -> None:
    body = b'{"model":"m"}'
    raw = Http1Client().request("POST", "/v1/chat/completions?a=b", (HOST, (b"x-a", b"b c")), body)
    server = Connection(SERVER)
    server.receive_data(raw)
    request = server.next_event()
    assert isinstance(request, Request)
    assert (request.method, request.target) == (b"POST", b"/v1/chat/completions?a=b")
    assert list(request.headers) == [HOST, (b"x-a", b"b c"), (b"content-length", b"13")]
    data = server.next_event()
    assert isinstance(data, Data)
    assert bytes(data.data) == body
    assert isinstance(server.next_event(), EndOfMessage)


def test_a_get_without_body_has_no_length() -> None:
    assert b"content-length" not in Http1Client().request("GET", "/", (HOST,))
    assert b"content-length: 0\r\n" in Http1Client().request("POST", "/", (HOST,))


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("GET /\r\nX: y", "/", ()),
        ("", "/", ()),
        ("GÉT", "/", ()),
        ("CONNECT", "/", ()),
        ("GET", "/ HTTP/1.1\r\nX: y", ()),
        ("GET", "/a b", ()),
        ("GET", "/a#b", ()),
        ("GET", "/é", ()),
        ("GET", "", ()),
        ("GET", "http://example.org/", ()),
        ("GET", "/", ((b"x", b"a\r\ny: z"),)),
        ("GET", "/", ((b"x", b"a\ny: z"),)),
        ("GET", "/", ((b"x", b"a\0"),)),
        ("GET", "/", ((b"x\r\ny", b"z"),)),
        ("GET", "/", ((b"x y", b"z"),)),
        ("GET", "/", ((b"", b"z"),)),
        ("GET", "/", ((b"Content-Length", b"5"),)),
        ("GET", "/", ((b"transfer-encoding", b"chunked"),)),
    ],
)
def test_nothing_can_be_injected(method: str, target: str, headers: tuple[tuple[bytes, bytes], ...]) -> None:
    client = Http1Client()
    with pytest.raises(ValueError):
        client.request(method, target, headers)
    assert client.reusable


def test_the_error_about_a_header_does_not_show_its_value() -> None:
    with pytest.raises(ValueError, match="authorization") as caught:
        Http1Client().request("GET", "/", ((b"authorization", b"Bearer s3cret\n"),))
    assert "s3cret" not in str(caught.value)
