"""One request cannot hold the loop for long: the time to read the worst ones, and that it grows as their size does."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from gateway.api.parse import chat_request
from gateway.config.json5 import Json5Error, loads
from gateway.errors import RequestError
from gateway.wire.http1 import Http1, Http1Limits

pytestmark = pytest.mark.alone

BODY = 20 * 1024 * 1024
"""The default limit of a request body."""
HOLD = 1.0
"""Seconds of processor time for one body, on a slow machine; 0.25 on one of the year 2024."""

Make = Callable[[int], bytes]


def many(unit: bytes, opening: bytes = b"[", closing: bytes = b"]") -> Make:
    return lambda size: opening + unit + (b"," + unit) * (size // (len(unit) + 1) - 8) + closing


def parts(size: int) -> bytes:
    unit = b'{"type":"text","text":"a"}'
    return many(unit, b'{"messages":[{"role":"user","content":[', b"]}]}")(size)


BODIES: dict[str, Make] = {
    "arrays": many(b"[]"),
    "objects": many(b"{}"),
    "integers": many(b"1"),
    "long integers": many(b"9" * 4300),
    "one integer": lambda size: b"9" * size,
    "exponents": many(b"1e-" + b"9" * 300),
    "strings": many(b'""'),
    "keys": lambda size: b"{" + b",".join([b'"%x":1' % number for number in range(size // 10)]) + b"}",
    "arrays and a surrogate": lambda size: many(b"[]")(size)[:-1] + b',"\\ud83d\\ude00"]',
    "surrogates": lambda size: b'"' + b"\\ud83d\\ude00" * (size // 12 - 1) + b'"',
    "escapes": lambda size: b'"' + b"\\n" * (size // 2 - 1) + b'"',
    "a string": lambda size: b'"' + b"x" * (size - 2) + b'"',
    "an open string": lambda size: b'"' + b'\\"' * (size // 2 - 1),
    "strings and NaN": lambda size: many(b'"a,b"')(size)[:-1] + b",NaN]",
    "a long string and NaN": lambda size: b'["' + b"x" * (size - 9) + b'",NaN]',
    "nested": lambda size: b"[" * size,
    "blanks": lambda size: b" " * size,
    "lines": lambda size: b"\n" * (size - 1) + b"x",
    "messages": many(b'{"role":"user","content":"a"}', b'{"messages":[', b"]}"),
    "content parts": parts,
    "marks in a string": lambda size: b'{"messages":[{"role":"user","content":"' + b"[,{:" * (size // 4 - 20) + b'"}]}',
}


def taken(read: Callable[[bytes], object], data: bytes) -> float:
    began = time.process_time()
    with suppress(RequestError, Json5Error):
        read(data)
    return time.process_time() - began


@pytest.mark.parametrize("name", BODIES)
def test_bodies(name: str) -> None:
    body = BODIES[name](BODY)
    assert taken(chat_request, body) < HOLD or taken(chat_request, body) < HOLD, "twice"


# JSON5 is for configurations, which no peer sends; it grows with its size and no faster.
TEXTS: dict[str, Make] = {
    **{name: BODIES[name] for name in ("arrays", "long integers", "one integer", "keys", "escapes", "blanks", "lines")},
    "comments": lambda size: b"/**/" * (size // 4) + b"1",
    "an open comment": lambda size: b"/*" + b"* " * (size // 2),
    "open comments": lambda size: b"/*" * (size // 2),
    "line comments": lambda size: b"//\n" * (size // 3) + b"1",
    "a name": lambda size: b"{" + "\u00e9".encode() * (size // 2) + b":1}",
    "hexadecimal": lambda size: b"0x" + b"f" * size,
    "continued lines": lambda size: b'"' + b"\\\n" * (size // 2) + b'"',
    "nested": lambda size: b"{a:" * (size // 3),
}


@pytest.mark.parametrize("name", TEXTS)
def test_json5(name: str) -> None:
    size = 1 << 14
    text, long_text = TEXTS[name](size), TEXTS[name](4 * size)
    small = min(taken(loads, text) for _ in range(3))
    large = min(taken(loads, long_text) for _ in range(3))
    assert large < 8 * small + 0.02, "four times the text took more than eight times the time"


START = b"GET / HTTP/1.1\r\nHost: x\r\n"
HEADS = {
    "100 headers of 300 bytes": START + b"".join(b"h%d: " % n + b"a" * 300 + b"\r\n" for n in range(99)) + b"\r\n",
    "99 times the same header": START + (b"h: " + b"a" * 300 + b"\r\n") * 99 + b"\r\n",
    "commas": START + b"Connection: " + b"," * 32_000 + b"\r\n\r\n",
    "codings": START + b"Transfer-Encoding: " + b"chunked," * 4000 + b"\r\n\r\n",
    "a host": b"GET / HTTP/1.1\r\nHost: " + b"a." * 16_000 + b",\r\n\r\n",
    "colons": b"GET / HTTP/1.1\r\nHost: " + b":" * 32_000 + b"\r\n\r\n",
    "blanks": START + b"a:" + b" \t" * 16_000 + b"\r\n\r\n",
    "a name": START + b"a" * 32_000 + b"\r\n\r\n",
    "a target": b"GET http://" + b"a" * 16_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "digits": START + b"Content-Length: " + b"0" * 32_000 + b"\r\n\r\n",
    "chunk extensions": START.replace(b"GET", b"POST")
    + b"Transfer-Encoding: chunked\r\n\r\n1;"
    + b"a=b;" * 250
    + b"\r\n",
    "a quoted extension": START.replace(b"GET", b"POST")
    + b'Transfer-Encoding: chunked\r\n\r\n1;a="'
    + b"\\a" * 500
    + b"\r\n",
}


def receive(data: bytes, piece: int) -> None:
    reader = Http1(Http1Limits())
    for at in range(0, len(data), piece):
        reader.receive(data[at : at + piece])


@pytest.mark.parametrize("name", HEADS)
def test_heads(name: str) -> None:
    head = HEADS[name]
    assert min(taken(lambda data: receive(data, len(data)), head) for _ in range(3)) < 0.05
    # Each of up to 32,768 pieces costs a call; what is looked at again each time must not count for more than that.
    assert taken(lambda data: receive(data, 1), head) < 1.0
