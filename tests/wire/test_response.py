"""The writer of answers: the whole product of its states and calls, and its output read back by h11 and http.client."""

from __future__ import annotations

import http.client
import io
import socket
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import cast

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import MisuseError
from gateway.model.http import REASONS
from gateway.wire.response import ResponseState, ResponseWriter, encode_headers

S = ResponseState
COMMON = encode_headers(((b"date", b"Thu, 01 Jan 1970 00:00:00 GMT"),))


def into(state: ResponseState, method: str = "GET", version: str = "1.1") -> ResponseWriter:
    """A writer in `state`; in LENGTH three bytes are to come."""
    method = "HEAD" if state is S.BODILESS else method
    version = "1.0" if state is S.CLOSE else version
    writer = ResponseWriter(method, version, keep_alive=version == "1.1")
    if state is not S.NEW:
        writer.head(200, COMMON, (), {S.LENGTH: 3, S.DONE: 0}.get(state))
    if state is S.DONE:
        writer.end()
    assert writer.state is state
    return writer


BROKEN = ((b"a", b"b\r\nc: d"),)
CALLS: dict[str, Callable[[ResponseWriter], bytes]] = {
    "interim": lambda writer: writer.interim(100),
    "interim, early hints": lambda writer: writer.interim(103),
    "interim, switching protocols": lambda writer: writer.interim(101),
    "interim, a final status": lambda writer: writer.interim(200),
    "head": lambda writer: writer.head(200, b"", (), 3),
    "head, piece by piece": lambda writer: writer.head(200, b"", (), None),
    "head, no content": lambda writer: writer.head(204, b"", (), None),
    "head, not modified": lambda writer: writer.head(304, b"", (), 3),
    "head, an interim status": lambda writer: writer.head(100, b"", (), 0),
    "head, switching protocols": lambda writer: writer.head(101, b"", (), 0),
    "head, no status": lambda writer: writer.head(299, b"", (), 0),
    "head, no header": lambda writer: writer.head(200, b"", BROKEN, 0),
    "head, no length": lambda writer: writer.head(200, b"", (), -1),
    "whole": lambda writer: writer.whole(200, b"", (), b"abc"),
    "whole, no content": lambda writer: writer.whole(204, b"", (), b"abc"),
    "whole, an interim status": lambda writer: writer.whole(100, b"", (), b""),
    "whole, no status": lambda writer: writer.whole(299, b"", (), b""),
    "whole, no header": lambda writer: writer.whole(200, b"", BROKEN, b""),
    "upgrade": lambda writer: writer.upgrade(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
    "data": lambda writer: writer.data(b"abc"),
    "some data": lambda writer: writer.data(b"ab"),
    "no data": lambda writer: writer.data(b""),
    "too much data": lambda writer: writer.data(b"abcd"),
    "end": lambda writer: writer.end(),
}
HEAD = b"HTTP/1.1 200 OK\r\n"
# What is not here raises MisuseError and changes nothing.
ALLOWED: dict[tuple[ResponseState, str], tuple[bytes, ResponseState]] = {
    (S.NEW, "interim"): (b"HTTP/1.1 100 Continue\r\n\r\n", S.NEW),
    (S.NEW, "interim, early hints"): (b"HTTP/1.1 103 Early Hints\r\n\r\n", S.NEW),
    (S.NEW, "head"): (HEAD + b"content-length: 3\r\n\r\n", S.LENGTH),
    (S.NEW, "head, piece by piece"): (HEAD + b"transfer-encoding: chunked\r\n\r\n", S.CHUNKED),
    (S.NEW, "head, no content"): (b"HTTP/1.1 204 No Content\r\n\r\n", S.BODILESS),
    (S.NEW, "head, not modified"): (b"HTTP/1.1 304 Not Modified\r\n\r\n", S.BODILESS),
    (S.NEW, "whole"): (HEAD + b"content-length: 3\r\n\r\nabc", S.DONE),
    (S.NEW, "whole, no content"): (b"HTTP/1.1 204 No Content\r\n\r\n", S.DONE),
    (S.NEW, "upgrade"): (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", S.DONE),
    (S.LENGTH, "data"): (b"abc", S.LENGTH),
    (S.LENGTH, "some data"): (b"ab", S.LENGTH),
    (S.LENGTH, "no data"): (b"", S.LENGTH),
    (S.CHUNKED, "data"): (b"3\r\nabc\r\n", S.CHUNKED),
    (S.CHUNKED, "some data"): (b"2\r\nab\r\n", S.CHUNKED),
    (S.CHUNKED, "no data"): (b"", S.CHUNKED),
    (S.CHUNKED, "too much data"): (b"4\r\nabcd\r\n", S.CHUNKED),
    (S.CHUNKED, "end"): (b"0\r\n\r\n", S.DONE),
    (S.CLOSE, "data"): (b"abc", S.CLOSE),
    (S.CLOSE, "some data"): (b"ab", S.CLOSE),
    (S.CLOSE, "no data"): (b"", S.CLOSE),
    (S.CLOSE, "too much data"): (b"abcd", S.CLOSE),
    (S.CLOSE, "end"): (b"", S.DONE),
    (S.BODILESS, "data"): (b"", S.BODILESS),
    (S.BODILESS, "some data"): (b"", S.BODILESS),
    (S.BODILESS, "no data"): (b"", S.BODILESS),
    (S.BODILESS, "too much data"): (b"", S.BODILESS),
    (S.BODILESS, "end"): (b"", S.DONE),
}
# A new answer depends on the request too: (method, version, call) where it differs.
CLOSE = b"connection: close\r\n\r\n"
OTHERWISE: dict[tuple[str, str, str], tuple[bytes, ResponseState]] = {
    ("HEAD", "1.1", "head"): (HEAD + b"content-length: 3\r\n\r\n", S.BODILESS),
    ("HEAD", "1.1", "head, piece by piece"): (HEAD + b"transfer-encoding: chunked\r\n\r\n", S.BODILESS),
    ("HEAD", "1.1", "whole"): (HEAD + b"content-length: 3\r\n\r\n", S.DONE),
    ("GET", "1.0", "interim"): (b"", S.NEW),
    ("GET", "1.0", "interim, early hints"): (b"", S.NEW),
    ("GET", "1.0", "head"): (HEAD + b"content-length: 3\r\n" + CLOSE, S.LENGTH),
    ("GET", "1.0", "head, piece by piece"): (HEAD + CLOSE, S.CLOSE),
    ("GET", "1.0", "head, no content"): (b"HTTP/1.1 204 No Content\r\n" + CLOSE, S.BODILESS),
    ("GET", "1.0", "head, not modified"): (b"HTTP/1.1 304 Not Modified\r\n" + CLOSE, S.BODILESS),
    ("GET", "1.0", "whole"): (HEAD + b"content-length: 3\r\n" + CLOSE + b"abc", S.DONE),
    ("GET", "1.0", "whole, no content"): (b"HTTP/1.1 204 No Content\r\n" + CLOSE, S.DONE),
    ("HEAD", "1.0", "head, piece by piece"): (HEAD + CLOSE, S.BODILESS),
    ("HEAD", "1.0", "head"): (HEAD + b"content-length: 3\r\n" + CLOSE, S.BODILESS),
    ("HEAD", "1.0", "whole"): (HEAD + b"content-length: 3\r\n" + CLOSE, S.DONE),
}
OTHERWISE |= {("HEAD", *key[1:]): value for key, value in OTHERWISE.items() if ("HEAD", *key[1:]) not in OTHERWISE}


def frozen(writer: ResponseWriter) -> list[object]:
    return [getattr(writer, name) for name in ResponseWriter.__slots__]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("state", S)
def test_every_call_in_every_state(state: ResponseState, method: str, version: str, call: str) -> None:
    writer = into(state, method, version) if state in {S.NEW, S.DONE} else into(state)
    before = frozen(writer)
    allowed = ALLOWED.get((state, call))
    if state is S.NEW:
        allowed = OTHERWISE.get((method, version, call), allowed)
    if allowed is None:
        with pytest.raises(MisuseError):
            CALLS[call](writer)
        assert frozen(writer) == before
    else:
        assert (CALLS[call](writer), writer.state) == allowed


def test_a_body_of_a_length_ends_when_it_is_complete() -> None:
    writer = into(S.LENGTH)
    assert writer.data(b"ab") == b"ab"
    with pytest.raises(MisuseError, match="shorter"):
        writer.end()
    with pytest.raises(MisuseError, match="longer"):
        writer.data(b"cd")
    assert writer.data(b"c") + writer.end() == b"c"
    assert writer.state is S.DONE


@given(
    st.sampled_from(["GET", "HEAD"]),
    st.sampled_from(["1.0", "1.1"]),
    st.lists(st.sampled_from([call for call in CALLS if call != "upgrade"]), max_size=25),
)
def test_any_order_of_calls_makes_one_answer(method: str, version: str, calls: list[str]) -> None:
    """Calls that raise are as if they had not been made; what the others gave is one answer with the body they gave."""
    writer = ResponseWriter(method, version, keep_alive=version == "1.1")
    raw = b""
    for call in calls:
        with suppress(MisuseError):
            raw += CALLS[call](writer)
    if writer.state is S.NEW:
        raw += writer.whole(200, b"", (), b"")
    if writer.state is S.LENGTH:
        raw += writer.data(b"abc"[-writer._left :] if writer._left else b"")
    if writer.state is not S.DONE:
        raw += writer.end()
    following = b"HTTP/1.1 599 the next answer\r\n\r\n" if writer.keep_alive else b""
    status, body, rest = by_h11(raw + following, method)
    assert (status, rest) == (writer.status, following)
    assert set(body) <= set(b"abcd")


def test_no_interim_answer_in_http10() -> None:
    assert ResponseWriter("POST", "1.0", keep_alive=False).interim(100) == b""


class _Received(io.BytesIO):
    def makefile(self, *args: object, **kwargs: object) -> io.BytesIO:
        return self

    def close(self) -> None:
        """The client closes its file at the end of the answer; what is left in it is looked at."""


def by_http_client(raw: bytes, method: str) -> tuple[int, bytes, bytes]:
    received = _Received(raw)
    response = http.client.HTTPResponse(cast("socket.socket", received), method=method)
    response.begin()
    body = response.read()
    return response.status, body, received.read() if not response.will_close else b""


def by_h11(raw: bytes, method: str) -> tuple[int, bytes, bytes]:
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "h"), ("Connection", "keep-alive")]))
    client.send(h11.EndOfMessage())
    client.receive_data(raw)
    client.receive_data(b"")
    status, body = 0, b""
    while not isinstance(event := client.next_event(), h11.EndOfMessage):
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        else:
            assert isinstance(event, h11.InformationalResponse)
    return status, body, client.trailing_data[0]


@pytest.mark.parametrize("pieces", [[], [b"one"], [b"one", b"", b"\r\n0\r\n\r\n", bytes(range(256)) * 300]])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("status", [200, 201, 204, 304, 400, 413, 431, 502])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_others_read_the_same(method: str, version: str, status: int, known: bool, pieces: list[bytes]) -> None:
    writer = ResponseWriter(method, version, keep_alive=version == "1.1")
    body = b"".join(pieces)
    raw = writer.interim(100) + writer.head(status, COMMON, ((b"x-a", b"b"),), len(body) if known else None)
    raw += b"".join(writer.data(piece) for piece in pieces) + writer.end()
    wanted = b"" if method == "HEAD" or status in {204, 304} else body
    following = b"HTTP/1.1 599 the next answer\r\n\r\n" if writer.keep_alive else b""
    assert writer.keep_alive is (version == "1.1")
    assert writer.status == status
    assert by_h11(raw + following, method) == (status, wanted, following)
    got_status, got_body, left = by_http_client(raw + following, method)
    assert (got_status, got_body) == (status, wanted)
    assert left in {b"", following}
    head = raw.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").partition(b"\r\n\r\n")[0].lower()
    assert (b"\r\nconnection: close" in head) is (version == "1.0")
    assert (b"content-length" in head) + (b"transfer-encoding" in head) <= 1
    if status in {204, 304}:  # RFC 9110, 8.6 and RFC 9112, 6.1
        assert b"content-length" not in head
        assert b"transfer-encoding" not in head


def test_every_status_line() -> None:
    for status, reason in REASONS.items():
        if status >= 200:
            raw = ResponseWriter("GET", "1.1", keep_alive=True).head(status, b"", (), 0)
            assert raw.startswith(b"HTTP/1.1 %d %b\r\n" % (status, reason.encode()))


def test_the_statuses_are_those_of_the_standard_library() -> None:
    theirs = {status.value: status.phrase for status in HTTPStatus}
    assert REASONS.keys() >= theirs.keys()
    renamed = {
        413,
        414,
        416,
        418,
        422,
    }  # RFC 9110 calls them otherwise than its predecessor, and than Python up to 3.12
    assert [status for status, reason in theirs.items() if reason != REASONS[status] and status not in renamed] == []


@pytest.mark.parametrize(
    "header",
    [
        (b"a", b"b\r\nSet-Cookie: c"),
        (b"a", b"b\n"),
        (b"a", b"b\r"),
        (b"a", b"\0"),
        (b"a", b"\x7f"),
        (b"a\r\nb", b"c"),
        (b"a b", b"c"),
        (b"a:", b"c"),
        (b"", b"c"),
        (b"\xe4", b"c"),
    ],
)
def test_a_header_that_would_break_the_framing(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(MisuseError, match="not a header"):
        encode_headers((header,))
    writer = ResponseWriter("GET", "1.1", keep_alive=True)
    with pytest.raises(MisuseError, match="not a header"):
        writer.head(200, b"", (header,), 0)
    # Nothing was sent, so that another answer can still be given.
    assert writer.state is S.NEW
    assert by_h11(writer.head(500, b"", (), 0) + writer.end(), "GET") == (500, b"", b"")


def test_a_status_that_does_not_exist() -> None:
    writer = ResponseWriter("GET", "1.1", keep_alive=True)
    with pytest.raises(MisuseError, match="not a final status of HTTP"):
        writer.head(299, b"", (), 0)
    with pytest.raises(MisuseError, match="not an interim status of HTTP"):
        writer.interim(199)
    assert writer.state is S.NEW
