"""What programs write, as events; the lines stand in tests/data/command."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from gateway.agents.command_output import JsonLines, PlainText, Reader, printable
from gateway.model.run import ReasoningDelta, RunDone, RunEvent, RunFailed, ToolUse, Usage

DATA = Path(__file__).parents[1] / "data" / "command"
CASES: dict[str, Any] = json.loads((DATA / "lines.json").read_text(encoding="utf-8"))


def read(reader: Reader, pieces: list[bytes]) -> list[RunEvent]:
    """All events up to the one that ends the run."""
    events: list[RunEvent] = []
    for piece in pieces:
        for event in reader.receive(piece):
            events.append(event)
            if isinstance(event, RunDone | RunFailed):
                return events
    return [*events, *reader.end()]


def shown(events: list[RunEvent]) -> list[Any]:
    """As the data files have them."""
    rows: list[Any] = []
    for event in events:
        match event:
            case str():
                rows.append(event)
            case ReasoningDelta():
                rows.append({"reasoning": event.text})
            case ToolUse():
                rows.append({"tool": event.call.name, "arguments": event.call.arguments, "result": event.result})
            case Usage():
                rows.append({"usage": [event.prompt_tokens, event.completion_tokens, event.cached_tokens]})
            case RunDone():
                rows.append({"done": event.finish_reason})
            case RunFailed():
                rows.append({"failed": event.message, "code": event.code, "status": event.status})
            case _:
                raise AssertionError(event)
    return rows


@pytest.mark.parametrize("name", CASES)
def test_lines(name: str) -> None:
    case = CASES[name]
    data = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in case["lines"]).encode()
    assert shown(read(JsonLines(), [data])) == case["events"]
    for size in (1, 7):
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        assert shown(read(JsonLines(), pieces)) == case["events"], "however it is cut"
    assert shown(read(JsonLines(), [data.rstrip(b"\n")])) == case["events"], "the last line needs no end"


def test_any_line_is_read_without_raising() -> None:
    """Real lines, with members taken out and put in the place of others."""
    chance = random.Random(7)
    values: list[Any] = [None, True, 1, "x", [], [{}], {}, {"message": 1}, [[]], [{"type": "text"}], {"content": [1]}]
    known = [line for case in CASES.values() for line in case["lines"] if isinstance(line, dict)]

    def damaged(value: Any) -> Any:
        if chance.random() < 0.2:
            return chance.choice(values)
        if isinstance(value, dict):
            return {name: damaged(one) for name, one in value.items() if chance.random() < 0.9}
        return [damaged(one) for one in value] if isinstance(value, list) else value

    for _ in range(3000):
        lines = [json.dumps(damaged(chance.choice(known))) for _ in range(3)]
        for event in read(JsonLines(), ["\n".join(lines).encode()]):
            assert event
            assert isinstance(event, str | ReasoningDelta | ToolUse | Usage | RunDone | RunFailed)


TEXT = "caf\u00e9 \U0001f600\r\n\n in two lines\n"


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_text_is_cut_anywhere(size: int) -> None:
    data = f"{TEXT}end\n\r\n".encode()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    events = read(PlainText(), pieces)
    assert all(isinstance(event, str) and event for event in events)
    assert "".join(map(str, events)) == f"{TEXT}end"


def test_text_does_not_wait_for_the_end_of_a_line() -> None:
    reader = PlainText()
    assert list(reader.receive(b"so")) == ["so"]
    assert list(reader.receive(b" far\n")) == [" far"]
    assert list(reader.receive(b"\n")) == []
    assert list(reader.receive(b"on")) == ["\n\non"]
    assert list(reader.receive(b"\xf0\x9f")) == []
    assert list(reader.end()) == ["\ufffd"]


def test_printable() -> None:
    assert printable(b"\x1b[31mred\x1b[0m\r\nand\x07 \x1b]0;title\x07done\xff\x00") == "red and done\ufffd"
