"""The bytes that clients send: requests as OpenAI's Python SDK makes them, and answers of an upstream."""

from __future__ import annotations

import json
from random import Random

__all__ = ["TOKEN", "TOKENS", "UPSTREAM_EVENT", "body", "frame", "request", "unique_requests"]

TOKEN = "bench"
TOKENS = [f"t{number:03d} " for number in range(200)]

_HEAD = """POST /v1/chat/completions HTTP/1.1
Host: 127.0.0.1:18789
Accept-Encoding: gzip, deflate
Connection: keep-alive
authorization: Bearer {token}
accept: application/json
content-type: application/json
user-agent: OpenAI/Python 3.52.0
x-stainless-lang: python
x-stainless-package-version: 3.52.0
x-stainless-os: Linux
x-stainless-arch: x64
x-stainless-runtime: CPython
x-stainless-runtime-version: 3.11.7
x-stainless-async: false
x-stainless-retry-count: 0
x-stainless-read-timeout: 600
{more}Content-Length: {length}

"""

UPSTREAM_EVENT = (
    b'data: {"id":"chatcmpl-9f8e7d6c5b4a","object":"chat.completion.chunk","created":1700000000,"model":"m",'
    b'"choices":[{"index":0,"delta":{"content":"t%03d "},"logprobs":null,"finish_reason":null}]}\n\n'
)
"""With a place for its number."""


def body(text: str, *, stream: bool = False, model: str = "openclaw/bench") -> bytes:
    """The body of a completion: the text that the user says stands last in it."""
    messages = [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": text}]
    value = {"model": model, **({"stream": True} if stream else {}), "messages": messages}
    return json.dumps(value, separators=(",", ":")).encode()


def request(text: str, *, stream: bool = False, more: str = "") -> bytes:
    """A request of 17 headers, and `more` of them."""
    payload = body(text, stream=stream)
    head = _HEAD.format(token=TOKEN, length=len(payload), more=more)
    return head.replace("\n", "\r\n").encode() + payload


def unique_requests(count: int, text: str) -> list[bytes]:
    """Requests of which no two heads are alike: each has a trace of its own and another length.  Always the same."""
    draw = Random(1)
    return [
        request(
            text + "x" * draw.randrange(64),
            more=f"traceparent: 00-{draw.randbytes(16).hex()}-{draw.randbytes(8).hex()}-01\n",
        )
        for _ in range(count)
    ]


def frame(size: int) -> bytes:
    """A masked text message of so many bytes, in one frame (RFC 6455, 5.2)."""
    key = b"\x12\x34\x56\x78"
    payload = bytes(byte ^ key[at % 4] for at, byte in enumerate(b"abcdefgh" * (size // 8)))
    if size < 126:
        head = bytes((0x81, 0x80 | size))
    elif size < 65_536:
        head = b"\x81\xfe" + size.to_bytes(2)
    else:
        head = b"\x81\xff" + size.to_bytes(8)
    return head + key + payload
