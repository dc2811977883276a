"""Messages to requests: what is one, what is said of what is none, and what numbers become."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.frames import LONGEST_ID, NotARequestError, NotJsonError, Request, encoded, read

DATA = Path(__file__).parents[1] / "data" / "control"


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


FRAMES = [row for row in rows("params.jsonl") if row["method"] == "(request)"]
RECORDED = [row["frame"] for row in rows("requests.jsonl")]


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("frame", RECORDED, ids=lambda frame: frame["method"])
def test_recorded(frame: dict[str, Any], binary: bool) -> None:
    text = json.dumps(frame)
    wanted = Request(frame["id"], frame["method"], frame.get("params"))
    assert read(text.encode() if binary else text) == wanted


@pytest.mark.parametrize("row", FRAMES, ids=[str(number) for number in range(len(FRAMES))])
def test_what_the_product_says(row: dict[str, Any]) -> None:
    frame, wrong = row["params"], row["error"]
    if wrong is None:
        request = read(json.dumps(frame))
        assert request == (frame["id"], frame["method"], frame.get("params"), frame.get("expectedProfileId"))
        return
    with pytest.raises(NotARequestError) as caught:
        read(json.dumps(frame))
    assert caught.value.message == wrong


@pytest.mark.parametrize(
    ("frame", "request_id"),
    [
        ({"type": "req", "id": "7", "method": ""}, "7"),
        ({"type": "res", "id": "7", "ok": True}, "7"),
        ({"type": "req", "id": "", "method": "health"}, "invalid"),
        ({"type": "req", "id": 7, "method": "health"}, "invalid"),
        ({"type": "req", "method": "health"}, "invalid"),
        ({"type": "req", "id": "x" * (LONGEST_ID + 1), "method": "health"}, "invalid"),
        ([], "invalid"),
        (None, "invalid"),
        ("req", "invalid"),
    ],
)
def test_what_it_may_have_meant_to_be_called(frame: Any, request_id: str) -> None:
    with pytest.raises(NotARequestError) as caught:
        read(json.dumps(frame))
    assert caught.value.id == request_id


@pytest.mark.parametrize(
    "message",
    [
        "",
        "{",
        "no",
        "{} {}",
        "NaN",
        '{"id":Infinity}',
        b"\xff\xfe",
        b"\x00",
        b'"\xff"',
    ],
    ids=range(9),
)
def test_no_json(message: str | bytes) -> None:
    with pytest.raises(NotJsonError):
        read(message)


@pytest.mark.parametrize(
    ("params", "wrong"),
    [
        ("[" + "1," * 100_000 + "1]", "more than 100000 values and keys"),
        ("[" + "[]," * 100_000 + "1]", "more than 100000 values and keys"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 40_000, "nested too deeply"),
        ("1" * 401, "a number of more than 400 digits"),
        ("1" * 1_000_000, "a number of more than 400 digits"),
    ],
    ids=range(6),
)
@pytest.mark.parametrize("binary", [False, True])
def test_what_would_take_long_to_read(params: str, wrong: str, binary: bool) -> None:
    text = '{"type":"req","id":"7","method":"health","params":' + params + "}"
    with pytest.raises(NotARequestError) as caught:
        read(text.encode() if binary else text)
    assert (caught.value.message, caught.value.id) == (wrong, "7")
    with pytest.raises(NotARequestError) as caught:
        read('{"method":"health","type":"req","params":' + params + ',"id":"7"}')
    assert (caught.value.message, caught.value.id) == (wrong, "invalid")


def test_a_long_text_is_not_many_values() -> None:
    text = json.dumps({"type": "req", "id": "7", "method": "chat.send", "params": {"message": '[{:,"\\' * 1_000_000}})
    assert len(read(text).params["message"]) == 6_000_000


@pytest.mark.parametrize(
    ("digits", "value"),
    [
        ("5", 5),
        ("5.0", 5),
        ("-0.0", 0),
        ("1e3", 1000),
        ("2.5", 2.5),
        ("9007199254740991.0", 9007199254740991),
        ("1e17", 1e17),
        ("1e400", None),
        ("-1e400", None),
    ],
)
def test_numbers_are_those_of_javascript(digits: str, value: Any) -> None:
    found = read('{"type":"req","id":"1","method":"m","params":{"a":' + digits + "}}").params["a"]
    assert found == value
    assert type(found) is type(value)


@given(st.text(st.characters(), max_size=30) | st.binary(max_size=30))
def test_any_message(message: str | bytes) -> None:
    try:
        read(message)
    except (NotJsonError, NotARequestError) as error:
        encoded(str(error))
