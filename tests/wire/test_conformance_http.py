"""What we accept, llhttp accepts too, and reads as the same messages (httptools, in llhttp's strict mode)."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.model.http import BodyChunk, BodyEnd, Malformed, RequestHead
from gateway.wire.http1 import Http1, Http1Limits

DATA = Path(__file__).parent.parent / "data" / "http1"


@dataclass
class Message:
    """One request, as either reader sees it."""

    method: bytes = b""
    target: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    complete: bool = False


class Llhttp:
    """Its callbacks, as messages.  `error` is its word for why it stopped."""

    def __init__(self, data: bytes) -> None:
        self.messages: list[Message] = []
        self.error = ""
        self._in_body = False
        self._parser = httptools.HttpRequestParser(self)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.error = "upgrade"
        except httptools.HttpParserError as error:
            self.error = str(error)

    def on_message_begin(self) -> None:
        self.messages.append(Message())
        self._in_body = False

    def on_url(self, url: bytes) -> None:
        self.messages[-1].target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        message = self.messages[-1]
        (message.trailers if self._in_body else message.headers).append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.messages[-1].method = self._parser.get_method()
        self._in_body = True

    def on_body(self, body: bytes) -> None:
        self.messages[-1].body += body

    def on_message_complete(self) -> None:
        self.messages[-1].complete = True


class Ours:
    """The same of our own reader."""

    def __init__(self, data: bytes) -> None:
        self.messages: list[Message] = []
        self.malformed: Malformed | None = None
        self.http = Http1(Http1Limits())
        events = self.http.receive(data)
        while events:
            for event in events:
                match event:
                    case RequestHead():
                        self.messages.append(Message(event.method.encode(), event.target.encode(), list(event.headers)))
                    case BodyChunk(piece):
                        self.messages[-1].body += piece
                    case BodyEnd(trailers):
                        self.messages[-1].complete = True
                        self.messages[-1].trailers = list(trailers)
                    case Malformed():
                        self.malformed = event
            events = self.http.restart() if self.http.complete else []


def upgrade(ours: Ours) -> bool:
    return any(message.method == b"CONNECT" or dict(message.headers).get(b"upgrade") for message in ours.messages)


# What llhttp says, when it may, and why.
ALLOWED: tuple[tuple[str, Callable[[Ours], bool], str], ...] = (
    ("Invalid method encountered", lambda _: True, "llhttp has a list of methods; RFC 9110, 9.1 takes any token"),
    (
        "Expected",
        lambda _: True,
        "the same list: methods that begin like another one, PRI, SOURCE with another protocol",
    ),
    ("Invalid HTTP version", lambda ours: ours.malformed is not None, "a version behind what we have refused"),
    (
        "Data after `Connection: close`",
        lambda ours: ours.http.over,
        "what follows the last request is thrown away here",
    ),
    ("upgrade", upgrade, "llhttp stops where another protocol may begin; here the handler decides"),
)


def compare(data: bytes) -> None:
    """What our reader accepted, to its end, llhttp accepted too.  What is unfinished here was not accepted yet."""
    ours, theirs = Ours(data), Llhttp(data)
    mine = [message for message in ours.messages if message.complete]
    others = [message for message in theirs.messages if message.complete]
    for one, other in zip(mine, others, strict=False):
        assert one == other
    if len(others) < len(mine):
        reasons = [why for word, when, why in ALLOWED if theirs.error.startswith(word) and when(ours)]
        assert reasons, f"we accept {data!r}, and llhttp says {theirs.error or 'nothing'}"
    # We keep no connection of HTTP/1.0, and throw away what follows its request; llhttp reads on.
    if not theirs.error and not ours.malformed and not ours.http.over:
        assert len(others) == len(mine)


def text_of(parts: Any) -> str:
    if isinstance(parts, str):
        return parts
    return "".join(part if isinstance(part, str) else part[0] * part[1] for part in parts)


def load(kind: str) -> dict[str, bytes]:
    return {
        f"{kind} {file.stem}: {case['name']}": text_of(case["in"]).encode("latin-1")
        for file in sorted((DATA / kind).glob("*.jsonl"))
        for case in map(json.loads, file.read_text("ascii").splitlines())
    }


GOOD, BAD = load("good"), load("bad")
SEEDS = [data for data in (*GOOD.values(), *BAD.values()) if len(data) < 400]
PIECES = [
    b"\r\n", b"\n", b"\r", b" ", b"\t", b"\0", b":", b";", b",", b"0", b"1", b"=", b'"', b"\\", b"\xff", b"\x7f",
    b"Transfer-Encoding: chunked\r\n", b"Content-Length: 3\r\n", b"Connection: close\r\n", b"Connection: keep-alive\r\n",
    b"chunked", b"HTTP/1.0", b"0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
]  # fmt: skip


SUITES = Path(os.environ.get("GATEWAY_CONFORMANCE", DATA.parents[3] / "shared" / "conformance")) / "http"


def refused(data: bytes) -> tuple[int, str] | None:
    """Status and reason, if it is, without what a reason shows of the request."""
    ours = Ours(data)
    return (ours.malformed.status, re.sub(r"[0-9]+|`[^`]*`", "", ours.malformed.reason)) if ours.malformed else None


def sent(parts: list[dict[str, Any]]) -> bytes:
    """What a step of the probe suite sends, as `run_probe.payload` makes it for the host `h`."""
    data = b""
    for part in parts:
        if "lines" in part:
            data += b"".join(part["lines"].replace("{i}", str(i)).encode("latin-1") for i in range(*part["range"]))
        else:
            data += base64.b64decode(part["b64"]) * part.get("times", 1)
    data = re.sub(rb"\{\{LEN\+(\d+)\}\}", lambda found: b"%d" % (int(found[1]) + 1), data)
    data = re.sub(rb"\{\{HEXLEN\+(\d+)\}\}", lambda found: b"%x" % (int(found[1]) + 1), data)
    return data.replace(b"{{HOST}}", b"h")


@pytest.mark.skipif(not SUITES.exists(), reason="no conformance suites: set GATEWAY_CONFORMANCE to their folder")
def test_what_the_suites_teach_is_written_here() -> None:
    """Whatever they have refused, a case of our own has refused for the same reason."""
    ours = {refused(data) for data in BAD.values()}
    raw = [json.loads(line) for line in (SUITES / "cases.jsonl").read_text("utf-8").splitlines()]
    probe = [json.loads(line) for line in (SUITES / "probe.jsonl").read_text("utf-8").splitlines()]
    theirs = {row["id"]: refused(base64.b64decode(row["b64"])) for row in raw}
    theirs |= {row["id"]: refused(sent(step["send"])) for row in probe for step in row["steps"]}
    assert sum(verdict is not None for verdict in theirs.values()) > 200
    assert {name: verdict for name, verdict in theirs.items() if verdict is not None and verdict not in ours} == {}


@pytest.mark.parametrize("name", [*GOOD, *BAD])
def test_case_under_llhttp(name: str) -> None:
    compare((GOOD | BAD)[name])


@settings(max_examples=600, deadline=None)
@given(st.data())
def test_mutations_under_llhttp(data: st.DataObject) -> None:
    raw = bytearray(b"".join(data.draw(st.lists(st.sampled_from(SEEDS), min_size=1, max_size=3))))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(raw)))
        piece = data.draw(st.sampled_from(PIECES) | st.binary(min_size=1, max_size=2))
        raw[at : at + data.draw(st.integers(0, 3))] = piece
    compare(bytes(raw))
