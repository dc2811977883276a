"""What we accept, llhttp accepts too, and reads as the same messages (httptools, in llhttp's strict mode)."""

from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.invariants import HttpEvent
from fuzz.llhttp import compare_requests
from gateway.model.http import Malformed
from gateway.wire.http1 import Http1, Http1Limits

DATA = Path(__file__).parent.parent / "data" / "http1"


def read(data: bytes) -> tuple[list[HttpEvent], bool]:
    """The events of all requests in `data`, and whether nothing more will be read."""
    http = Http1(Http1Limits())
    events: list[HttpEvent] = [*http.receive(data)]
    while http.complete:
        events += http.restart()
    return events, http.over


def compare(data: bytes) -> None:
    events, over = read(data)
    compare_requests(data, events, over=over)


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
    *_, last = [None, *read(data)[0]]
    return (last.status, re.sub(r"[0-9]+|`[^`]*`", "", last.reason)) if isinstance(last, Malformed) else None


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
