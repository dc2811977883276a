"""Whole heads, of requests and of responses, and the scanner that finds where they end."""

from __future__ import annotations

import pytest

from gateway.model.http import Malformed, RequestHead, ResponseHead
from gateway.wire.heads import HeadScanner, read_request_head, read_response_head

HEAD = b"POST /a?b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nConnection: close\r\nX: 1\r\nX: 2\r\n\r\n"


def test_a_request_head() -> None:
    assert read_request_head(HEAD) == RequestHead(
        method="POST",
        target="/a?b",
        path="/a",
        query="b",
        version="1.1",
        headers=((b"host", b"h"), (b"content-length", b"5"), (b"connection", b"close"), (b"x", b"1"), (b"x", b"2")),
        fields={b"host": b"h", b"content-length": b"5", b"connection": b"close", b"x": b"1, 2"},
        content_length=5,
        chunked=False,
        keep_alive=False,
        expects_continue=False,
    )


def test_a_request_head_is_read_whole_or_not_at_all() -> None:
    for end in range(len(HEAD)):
        assert isinstance(read_request_head(HEAD[:end]), Malformed)
    assert isinstance(read_request_head(HEAD + b"x"), Malformed)


def test_the_same_head_with_other_values() -> None:
    head = read_request_head(HEAD)
    assert isinstance(head, RequestHead)
    other = head.alike({b"content-length": b"0012"}, 12)
    assert other == read_request_head(HEAD.replace(b": 5", b": 0012"))
    assert other.content_length == 12
    assert other.known is head.known
    assert head == read_request_head(HEAD)


def test_a_head_is_folded_until_it_is_asked() -> None:
    raw = HEAD.replace(b"X: 2", b"Y:").replace(b"X: 1", b"X: a:b")
    head, other = read_request_head(raw), read_request_head(raw)
    assert isinstance(head, RequestHead)
    assert isinstance(other, RequestHead)
    head.fold()
    assert type(head) is not RequestHead
    assert head.path == "/a"
    assert head.fields == other.fields == dict(head.headers)
    assert head.fields[b"x"] == b"a:b"
    assert type(head) is RequestHead
    assert head == other


def test_a_head_that_others_share_is_not_folded() -> None:
    head = read_request_head(HEAD.replace(b"X: 2", b"Y:"))
    assert isinstance(head, RequestHead)
    head.known = {}
    head.fold()
    assert type(head) is RequestHead


def test_a_head_with_a_name_that_comes_twice_is_not_folded() -> None:
    head = read_request_head(HEAD)
    assert isinstance(head, RequestHead)
    head.fold()
    assert type(head) is RequestHead
    assert head.headers[-2:] == ((b"x", b"1"), (b"x", b"2"))


def test_the_scanner_says_where_a_head_ends() -> None:
    scanner = HeadScanner(1000, 1000, 100)
    for end in range(len(HEAD)):
        assert scanner.scan(bytearray(HEAD[:end])) == 0
    assert scanner.scan(bytearray(HEAD + b"body\r\n\r\n")) == len(HEAD)
    assert scanner.start == (b"POST", b"/a?b", b"1.1")
    pieces = (scanner.start, scanner.fields)
    at_once = HeadScanner(1000, 1000, 100)
    assert at_once.scan(HEAD + b"body\r\n\r\n") == len(HEAD)
    assert (at_once.start, at_once.fields) == pieces


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("raw", "method", "length", "chunked", "keep_alive"),
    [
        (OK + b"Content-Length: 5\r\n\r\n", "GET", 5, False, True),
        (OK + b"Content-Length: 5\r\n\r\n", "HEAD", 0, False, True),
        (OK + b"\r\n", "GET", None, False, True),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", "GET", None, True, True),
        (OK + b"Transfer-Encoding: Chunked\r\n\r\n", "HEAD", 0, False, True),
        (OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", "GET", None, True, False),
        (OK + b"Content-Length: 5\r\nConnection: x, Close\r\n\r\n", "GET", 5, False, False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", "GET", 5, False, False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "GET", 0, False, True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "GET", 0, False, True),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "POST", 0, False, True),
        (b"HTTP/1.1 103 \r\nLink: x\r\n\r\n", "POST", 0, False, True),
        (b"HTTP/1.1 599\r\nContent-Length: 0\r\n\r\n", "POST", 0, False, True),
    ],
)
def test_a_response_head(raw: bytes, method: str, length: int | None, chunked: bool, keep_alive: bool) -> None:
    head = read_response_head(raw, method)
    assert isinstance(head, ResponseHead)
    assert head.status == int(raw[9:12])
    assert (head.content_length, head.chunked, head.keep_alive) == (length, chunked, keep_alive)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\r\n",
        OK,
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        OK + b"No colon\r\n\r\n",
        OK + b"A : b\r\n\r\n",
        OK + b"A: \0\r\n\r\n",
        OK + b"Content-Length: x\r\n\r\n",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        OK + b"Content-Length: 1234567890123456789\r\n\r\n",
        OK + b"Transfer-Encoding: gzip\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        b"\xff\xfe\r\n\r\n",
    ],
)
def test_a_bad_response_head(raw: bytes) -> None:
    head = read_response_head(raw, "GET")
    assert isinstance(head, Malformed)
    assert head.status == 502
    assert head.reason
