"""The end of the log, in memory."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

import pytest

from gateway import logring
from gateway.logring import MAX_LINE_CHARS, LogRing


def ring_with(*messages: str, lines: int = 100, size: int = 10_000) -> LogRing:
    ring = LogRing(lines=lines, size=size)
    ring.note(*messages)
    return ring


def messages(tail: dict[str, Any]) -> list[str]:
    return [json.loads(line)["0"] for line in tail["lines"]]


def test_lines_are_in_the_form_that_the_products_clients_read() -> None:
    ring = LogRing()
    logger = logging.getLogger("gateway.server")
    logger.addHandler(ring)
    try:
        raise ValueError("no")
    except ValueError:
        logger.warning("it failed: %s", "ü", exc_info=True)
    finally:
        logger.removeHandler(ring)
    line = json.loads(ring.tail()["lines"][0])
    assert line["0"].startswith("it failed: ü\nTraceback (most recent call last):")
    assert line["0"].endswith("ValueError: no")
    assert line["_meta"]["logLevelName"] == "WARN"
    assert json.loads(line["_meta"]["name"]) == {"subsystem": "gateway.server"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert line["_meta"]["date"] == line["time"]


@pytest.mark.parametrize(
    ("level", "name"),
    [(10, "DEBUG"), (20, "INFO"), (25, "INFO"), (30, "WARN"), (40, "ERROR"), (50, "FATAL"), (60, "FATAL")],
)
def test_levels(level: int, name: str) -> None:
    ring = LogRing()
    ring.handle(logging.makeLogRecord({"levelno": level, "msg": "x"}))
    assert json.loads(ring.tail()["lines"][0])["_meta"]["logLevelName"] == name


def test_who_follows_gets_each_line_once() -> None:
    ring = ring_with("one", "two")
    first = ring.tail()
    assert messages(first) == ["one", "two"]
    assert not first["truncated"]
    assert not first["reset"]
    assert ring.tail(first["cursor"])["lines"] == []
    ring.note("three")
    second = ring.tail(first["cursor"])
    assert messages(second) == ["three"]
    assert not second["reset"]
    assert second["size"] == second["cursor"] == first["cursor"] + len(second["lines"][0].encode()) + 1


def test_the_last_ones_are_given() -> None:
    ring = ring_with(*map(str, range(50)))
    tail = ring.tail(limit=3)
    assert messages(tail) == ["47", "48", "49"]
    assert tail["truncated"]
    line = len(tail["lines"][0]) + 1
    assert messages(ring.tail(max_bytes=line * 2)) == ["48", "49"]
    assert messages(ring.tail(max_bytes=line * 2 - 1)) == ["49"]


def test_only_so_many_lines_and_bytes_are_kept() -> None:
    ring = ring_with(*map(str, range(50)), lines=5)
    assert messages(ring.tail()) == ["45", "46", "47", "48", "49"]
    assert ring.tail()["truncated"]
    ring = ring_with("x" * 400, "y" * 400, "z", size=900)
    assert messages(ring.tail()) == ["y" * 400, "z"]


def test_who_has_missed_lines_is_told() -> None:
    ring = ring_with("one", lines=2)
    cursor = ring.tail()["cursor"]
    ring.note("two", "three", "four")
    tail = ring.tail(cursor)
    assert messages(tail) == ["three", "four"]
    assert tail["reset"]
    assert tail["truncated"]
    assert tail["skippedBytes"] == (tail["cursor"] - cursor) - sum(len(line) + 1 for line in tail["lines"])


def test_a_cursor_of_another_process() -> None:
    tail = ring_with("one").tail(1_000_000)
    assert messages(tail) == ["one"]
    assert tail["reset"]
    assert "skippedBytes" not in tail


def test_a_long_line_is_cut() -> None:
    [line] = messages(ring_with("x" * (MAX_LINE_CHARS + 7), size=100_000).tail())
    assert line == "x" * MAX_LINE_CHARS + " ... (7 characters more)"


def test_no_line_tells_a_secret() -> None:
    ring = LogRing()
    ring.hide(["the-token", "short", "the-token-of-two", ""])
    ring.note("the-token-of-two and the-token; short", "Authorization: Bearer abcdefgh.ijk", "GET /?key=0123456789&a=b")
    ring.note("sk-abcdefghijklmnop was refused")
    assert messages(ring.tail()) == [
        "*** and ***; short", "Authorization: Bearer ***", "GET /?key=***&a=b", "*** was refused",
    ]  # fmt: skip


def test_the_newest_secrets_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logring, "MAX_SECRETS", 2)
    ring = LogRing()
    ring.hide(["secret-1", "secret-2"])
    ring.hide(["secret-3", "secret-2"])
    ring.note("secret-1 secret-2 secret-3")
    assert messages(ring.tail()) == ["secret-1 *** ***"]


def test_a_record_that_cannot_be_shown_harms_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    ring = LogRing()
    ring.handle(logging.makeLogRecord({"msg": "%d", "args": ("x",)}))
    ring.note("after")
    assert messages(ring.tail()) == ["after"]
    assert "Logging error" in capsys.readouterr().err
