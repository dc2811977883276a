"""The reader of requests: cases in data/http1, good and bad by folder, one line of JSON each.

in        the bytes as text, one character for each (ISO 8859-1), or a list of such texts and of [text, times]
limits    members of Http1Limits, where they are not the usual ones
events    ["head", members to compare], ["body", text], ["end", trailers], ["malformed", status, words of the reason];
          pieces of a body are merged, and after each end the reader is told to go on with the next request
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gateway
from fuzz.invariants import merged
from gateway.errors import MisuseError
from gateway.model.http import BodyChunk, BodyEnd, Malformed, RequestHead
from gateway.wire.heads import request_head
from gateway.wire.http1 import Http1, Http1Event, Http1Limits
from gateway.wire.repeats import MOST_VARYING

DATA = Path(__file__).parent.parent / "data" / "http1"


def text_of(parts: Any) -> str:
    """A text that may be given as a list of texts and of [text, times]."""
    if isinstance(parts, str):
        return parts
    return "".join(part if isinstance(part, str) else part[0] * part[1] for part in parts)


def bytes_of(case: dict[str, Any]) -> bytes:
    return text_of(case["in"]).encode("latin-1")


def load(kind: str) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{kind} {file.stem}: {case['name']}", case)
        for file in sorted((DATA / kind).glob("*.jsonl"))
        for case in map(json.loads, file.read_text("ascii").splitlines())
    ]


GOOD, BAD = load("good"), load("bad")
CASES = [pytest.param(case, id=name) for name, case in GOOD + BAD]
SEEDS = [data for _, case in GOOD + BAD if len(data := bytes_of(case)) < 400]
SMALL = Http1Limits(head_bytes=160, line_bytes=60, header_count=6)


def reader(case: dict[str, Any]) -> Http1:
    return Http1(Http1Limits(**case.get("limits", {})))


def feed(http: Http1, data: bytes) -> list[Http1Event]:
    """What comes of `data`, going on with each next request."""
    whole = http.whole(data)  # as the connection does
    events: list[Http1Event] = []
    if whole is None:
        events += http.receive(data)
    else:
        events += (whole[0], BodyChunk(whole[1]), BodyEnd()) if whole[1] else (whole[0], BodyEnd())
    while http.complete:
        events += http.restart()
    return events


def read(http: Http1, *pieces: bytes) -> list[Http1Event]:
    return merged([event for piece in pieces for event in feed(http, piece)])


def plain(value: Any) -> Any:
    """A member of a head as JSON gives it."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    return value


def check(event: Http1Event, wanted: list[Any]) -> None:
    match event:
        case RequestHead():
            assert wanted[0] == "head"
            for name, value in wanted[1].items():
                expected = text_of(value) if name == "target" else value
                assert plain(getattr(event, name)) == expected, name
        case BodyChunk(data):
            assert ["body", data.decode("latin-1")] == [wanted[0], text_of(wanted[1])]
        case BodyEnd(trailers):
            assert wanted[0] == "end"
            assert plain(trailers) == [[name, text_of(value)] for name, value in wanted[1]]
        case Malformed(status, reason):
            assert wanted[:2] == ["malformed", status]
            assert wanted[2] in reason


@pytest.mark.parametrize("case", CASES)
def test_case(case: dict[str, Any]) -> None:
    http = reader(case)
    events = read(http, bytes_of(case))
    assert len(events) == len(case["events"]), events
    for event, wanted in zip(events, case["events"], strict=True):
        check(event, wanted)
    for number, event in enumerate(events):
        if isinstance(event, RequestHead):
            assert event.fields.keys() == {name for name, _ in event.headers}
        if isinstance(event, Malformed):
            assert number == len(events) - 1
            assert http.over
            assert http.buffered == 0
            assert http.receive(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n") == []  # silence for ever


WIRE = Path(gateway.__file__).parent / "wire"
ELSEWHERE = {"the head is not complete"}  # for heads that are read alone: see test_heads


def reasons(path: Path) -> Iterator[str]:
    """The sentences of a module that refuse a request; of those with something inserted, the longest piece."""
    for function in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)):
        if function.name == "read_response_head":
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Malformed" and len(node.args) == 2:
                found = [*ast.walk(node.args[1])]
            elif isinstance(node, ast.Return) and function.name.endswith(("_fault", "_repeated")):
                found = [*ast.walk(node)]
            else:
                continue
            texts = [part.value for part in found if isinstance(part, ast.Constant) and isinstance(part.value, str)]
            if sentences := [text for text in texts if " " in text]:
                yield max(sentences, key=len)


@pytest.mark.parametrize("module", ["grammar", "heads", "chunked", "http1"])
def test_every_sentence_has_a_case(module: str) -> None:
    given = {event.reason for _, case in BAD for event in read(reader(case), bytes_of(case)) if is_malformed(event)}
    wanted = set(reasons(WIRE / f"{module}.py")) - ELSEWHERE
    assert wanted
    assert [text for text in wanted if not any(text in reason for reason in given)] == []


def is_malformed(event: Http1Event) -> TypeGuard[Malformed]:
    return isinstance(event, Malformed)


@pytest.mark.parametrize("case", CASES)
def test_every_cut_gives_the_same(case: dict[str, Any]) -> None:
    data = bytes_of(case)
    whole = read(reader(case), data)
    # Of long inputs, the cuts near either end and near the limits that they are made for.
    cuts = set(range(1, len(data)))
    if len(data) > 600:
        cuts = {*range(1, 60), *range(len(data) - 60, len(data)), *range(1020, len(data), 4093)}
    for cut in sorted(cuts & set(range(len(data)))):
        assert read(reader(case), data[:cut], data[cut:]) == whole, f"cut at {cut}"
    size = 1 if len(data) < 20_000 else 7
    assert read(reader(case), *(data[i : i + size] for i in range(0, len(data), size))) == whole
    assert read(reader(case), b"", data, b"") == whole


@pytest.mark.parametrize("case", CASES)
def test_what_is_buffered_stays_bounded(case: dict[str, Any]) -> None:
    limits = Http1Limits(**case.get("limits", {}))
    http, data = Http1(limits), bytes_of(case)
    for start in range(0, len(data), 97):
        feed(http, data[start : start + 97])
        assert http.buffered <= limits.head_bytes


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_cuts_of_mutated_input(data: st.DataObject) -> None:
    raw = mutated(data.draw)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    limits = data.draw(st.sampled_from([Http1Limits(), SMALL]))
    whole = read(Http1(limits), raw)
    assert read(Http1(limits), *pieces) == whole
    assert read(Http1(limits), *(raw[i : i + 1] for i in range(len(raw)))) == whole


def mutated(draw: Any) -> bytes:
    """One or two cases, one after another, changed in some places."""
    raw = bytearray(b"".join(draw(st.lists(st.sampled_from(SEEDS), min_size=1, max_size=2))))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(raw)))
        match draw(st.integers(0, 3)):
            case 0:
                raw[at:at] = draw(
                    st.sampled_from([b"\r\n", b"\n", b"\r", b" ", b"\0", b":", b";", b"0", b"a", b"\xff"])
                )
            case 1:
                del raw[at : at + draw(st.integers(1, 5))]
            case 2:
                raw[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case _:
                raw[at:at] = raw[at : at + draw(st.integers(1, 90))]
    return bytes(raw)


def test_restart_only_after_the_end() -> None:
    http = Http1(Http1Limits())
    for piece in (b"", b"GET / HT", b"TP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n", b"h"):
        http.receive(piece)
        with pytest.raises(MisuseError):
            http.restart()
    assert http.receive(b"i") == [BodyChunk(b"i"), BodyEnd()]
    assert http.restart() == []
    with pytest.raises(MisuseError):
        http.restart()


def test_the_next_request_waits_for_restart() -> None:
    http = Http1(Http1Limits())
    request = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    assert len(http.receive(request * 2)) == 2
    assert http.complete
    assert http.buffered == len(request)
    assert http.receive(request) == []
    assert http.buffered == 2 * len(request)
    assert len(http.restart()) == 2
    assert len(http.restart()) == 2
    assert http.buffered == 0
    assert http.restart() == []


def test_remaining() -> None:
    http = Http1(Http1Limits())
    http.receive(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n123")
    assert http.remaining == 7
    http.receive(b"4567890")
    assert http.remaining == 0
    http.restart()
    http.receive(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n123")
    assert http.remaining is None


def test_detach_gives_what_followed() -> None:
    http = Http1(Http1Limits())
    http.receive(b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n\x81\x00")
    assert http.detach() == b"\x81\x00"
    assert http.over
    assert http.buffered == 0
    assert http.receive(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n") == []
    with pytest.raises(MisuseError):
        http.restart()


# -- what is remembered of earlier heads


FIRST = b"POST /v1 HTTP/1.1\r\nHost: h\r\nX-A: content-length: 9\r\nContent-Length:  4 \r\nX-B: 1\r\n\r\nbody"


def warm(*requests: bytes) -> Http1:
    """A reader that has seen `requests` often enough to remember the last one."""
    http = Http1(Http1Limits())
    for request in (b"GET /warm HTTP/1.1\r\nHost: h\r\n\r\n", *requests):
        events = feed(http, request)
        assert isinstance(events[-1], BodyEnd), events
    return http


def same_as_fresh(http: Http1, *pieces: bytes) -> list[Http1Event]:
    events = read(http, *pieces)
    assert events == read(Http1(Http1Limits()), *pieces)
    return events


def test_a_repeated_head_is_remembered() -> None:
    http = warm(FIRST)
    first, *_ = feed(http, FIRST)
    second, *_ = feed(http, FIRST)
    assert second is first  # and not only equal: it was not read anew
    http.forget()
    third, *_ = feed(http, FIRST)
    assert third == first
    assert third is not first


def test_a_whole_request_is_given_as_one() -> None:
    assert Http1(Http1Limits()).whole(FIRST) is None
    http = warm(FIRST)
    for part in (FIRST[:-1], FIRST + b"G", FIRST[:-4], FIRST[:9]):
        assert http.whole(part) is None
    found = http.whole(FIRST)
    assert found is not None
    assert found[1] == FIRST[-4:]
    assert http.complete
    assert http.whole(FIRST) is None  # before `restart`
    assert http.restart() == []
    feed(http, FIRST[:9])
    assert http.whole(FIRST[9:]) is None
    assert isinstance(feed(http, FIRST[9:])[-1], BodyEnd)
    for _ in range(10):  # those before a request that is over do not count
        feed(http, b"\r\n")
        assert isinstance(feed(http, FIRST)[-1], BodyEnd)
    http.detach()
    assert http.whole(FIRST) is None


def test_another_length_in_a_repeated_head() -> None:
    http = warm(FIRST)
    for digits, body in ((b"0", b""), (b"11", b"eleven body"), (b"0004", b"body"), (b"4", b"body"), (b"1", b"x")):
        head, *_ = same_as_fresh(http, FIRST[:-4].replace(b" 4 ", b" %b " % digits) + body)
        assert isinstance(head, RequestHead)
        assert head.content_length == len(body)
    same_as_fresh(http, FIRST[:-4].replace(b" 4 ", b" 1000 ") + b"not all of it")


@pytest.mark.parametrize(
    "digits", [b"", b"x", b"-1", b"4,4", b"4 4", b"1234567890123456789", b"4\r\nContent-Length: 4"]
)
def test_a_bad_length_in_a_repeated_head(digits: bytes) -> None:
    *_, last = same_as_fresh(warm(FIRST), FIRST.replace(b" 4 ", b" %b " % digits))
    assert isinstance(last, Malformed)


def test_every_byte_of_a_repeated_head_counts() -> None:
    http = warm(FIRST)
    for at in range(len(FIRST) - 4):
        for byte in {b"\0", b" ", b"\r", b"\n", b":", b"5", b"Z"} - {FIRST[at : at + 1]}:
            changed = FIRST[:at] + byte + FIRST[at + 1 :]
            if isinstance(same_as_fresh(http, changed)[-1], Malformed) or not http.complete:
                http = warm(FIRST)


def test_a_body_that_looks_like_the_remembered_head() -> None:
    body = FIRST
    long = FIRST[:-4].replace(b" 4 ", b" %d " % len(body)) + body
    http = warm(FIRST)
    for request in (long, FIRST, long * 2, long + FIRST):
        same_as_fresh(http, request)
    for cut in range(1, len(long)):
        same_as_fresh(http, long[:cut], long[cut:])


def test_the_remembered_head_and_the_limit() -> None:
    request = b"POST / HTTP/1.1\r\nHost: h\r\nX: %b\r\nContent-Length: 9\r\n\r\n123456789"
    limits = Http1Limits(head_bytes=len(request) - 9, line_bytes=32, header_count=5)
    http = Http1(limits)
    for _ in range(2):
        assert isinstance(feed(http, request.replace(b"%b", b"aa"))[-1], BodyEnd)
    longer = request.replace(b"%b", b"aa").replace(b": 9", b": 10") + b"0"
    assert isinstance(feed(http, longer)[-1], Malformed)
    assert isinstance(feed(Http1(limits), longer)[-1], Malformed)


TRACED = (
    b"POST /v1 HTTP/1.1\r\nHost: h\r\nTraceParent:%b\r\nContent-Length: %d\r\nX-B: 1\r\nX-C: %b\r\n"
    b"X-C: 2\r\nConnection: keep-alive\r\n\r\n%b"
)


def traced(trace: bytes = b" 0", body: bytes = b"body", c: bytes = b"1") -> bytes:
    return TRACED % (trace, len(body), c, body)


def learnt() -> Http1:
    """A reader that has seen trace and length change."""
    return warm(traced(b" 1"), traced(b" 2", b"longer body"), traced(b" 3"))


def reads(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The heads that are read by h11 from now on."""
    seen: list[bytes] = []

    def noted(start: tuple[bytes, bytes, bytes], fields: list[tuple[bytes, bytes]], raw: bytes) -> object:
        seen.append(raw)
        return request_head(start, fields, raw)

    monkeypatch.setattr("gateway.wire.http1.request_head", noted)
    return seen


def test_values_that_change_are_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    http = learnt()
    seen = reads(monkeypatch)
    heads = []
    for number in range(20):
        head, chunk, _ = feed(http, traced(b"  t%d  " % number, b"x" * (number + 1)))
        assert isinstance(head, RequestHead)
        assert isinstance(chunk, BodyChunk)
        assert (head.fields[b"traceparent"], head.content_length) == (b"t%d" % number, number + 1)
        heads.append(head)
    assert not seen
    assert len({id(head.known) for head in heads}) == 1
    for number, head in enumerate(heads):  # none was changed by those after it
        assert head == feed(Http1(Http1Limits()), traced(b"  t%d  " % number, b"x" * (number + 1)))[0]


@pytest.mark.parametrize(
    "request_",
    [
        traced(b"\xe9"),
        traced(b"a\tb"),
        traced(c=b"2"),
        traced().replace(b"TraceParent", b"traceparent"),
        traced().replace(b"TraceParent:", b"Trace:"),
        traced().replace(b"X-B: 1\r\n", b""),
        traced().replace(b"X-B: 1\r\n", b"X-B: 1\r\nX-D: 1\r\n"),
        traced().replace(b"X-B: 1", b"X-B: 2"),
        traced().replace(b"keep-alive", b"close"),
        traced().replace(b"Host: h", b"Host: i"),
        traced().replace(b"/v1", b"/v2"),
        traced().replace(b"Length: 4", b"Length: 04"),
        traced().replace(b"Length: 4", b"Length:\t4 "),
    ],
)
def test_what_has_not_changed_before_is_read_anew(request_: bytes) -> None:
    http = learnt()
    same_as_fresh(http, request_)
    if not http.over:
        same_as_fresh(http, traced(b" 9"))
        same_as_fresh(http, traced(b" 10", b"12345"))


@pytest.mark.parametrize(
    "request_",
    [
        traced(b"\0"),
        traced(b"a\rb"),
        traced(b"a\nb"),
        traced(b"a\r\nContent-Length: 4"),
        traced(b"a\r\nTransfer-Encoding: chunked"),
        traced(b"\x7f"),
        traced().replace(b"Length: 4", b"Length: +4"),
        traced().replace(b"Length: 4", b"Length: 4,4"),
        traced().replace(b"Length: 4", b"Length: "),
        traced().replace(b"Length: 4", b"Length: 0000000000000000004"),
        traced().replace(b"TraceParent:", b"TraceParent :"),
        traced().replace(b"X-B: 1", b"Expect: 1"),
    ],
)
def test_what_is_refused_of_a_fresh_head_is_refused_of_a_known_one(request_: bytes) -> None:
    http = learnt()
    assert isinstance(same_as_fresh(http, request_)[-1], Malformed)


def test_fields_that_frame_the_message_are_always_read(monkeypatch: pytest.MonkeyPatch) -> None:
    http = learnt()
    seen = reads(monkeypatch)
    for value in (b"close, x", b"keep-alive, x", b"keep-alive, y", b"keep-alive, z"):
        request = traced().replace(b"keep-alive", value)
        same_as_fresh(http, request)
        assert request[:-4] in seen or http.over
        if http.over:
            http = learnt()


def test_more_values_than_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    names = range(MOST_VARYING + 1)
    http = Http1(Http1Limits())
    seen = reads(monkeypatch)
    for turn in range(5):
        lines = b"".join(b"X-%d: %d\r\n" % (name, turn) for name in names)
        feed(http, b"GET / HTTP/1.1\r\nHost: h\r\n%b\r\n" % lines)
    assert len(seen) == 5


def repeatable(data: bytes) -> bool:
    """Whether another request can follow."""
    http = Http1(Http1Limits())
    return len(data) < 400 and isinstance(feed(http, data)[-1], BodyEnd) and not http.over


REPEATABLE = [data for _, case in GOOD if repeatable(data := bytes_of(case))]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_warm_reader_answers_as_a_fresh_one(data: st.DataObject) -> None:
    request = data.draw(st.sampled_from([FIRST, *REPEATABLE]))
    http = warm(request)
    changed = bytearray(request)
    for _ in range(data.draw(st.integers(0, 2))):
        at = data.draw(st.integers(0, len(changed)))
        changed[at : at + data.draw(st.integers(0, 2))] = data.draw(
            st.binary(max_size=2) | st.sampled_from([b"\r\n", b"1"])
        )
    cut = data.draw(st.integers(0, len(changed)))
    same_as_fresh(http, bytes(changed[:cut]), bytes(changed[cut:]), request)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_reader_that_has_learnt_answers_as_a_fresh_one(data: st.DataObject) -> None:
    http = learnt()
    values = st.text("az09 ;=,\t\x7f\0\xe9\r\n", max_size=6).map(str.encode) | st.sampled_from([b"close", b"chunked"])
    for _ in range(4):
        body = data.draw(st.binary(max_size=12))
        request = traced(data.draw(values), body, data.draw(st.sampled_from([b"1", b"1", b"2"])))
        same_as_fresh(http, request)
        if http.over or http.buffered or http.remaining != 0:
            return
