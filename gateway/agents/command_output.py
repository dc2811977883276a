"""What a command writes, as events of its run: plain text, or JSON lines.

The lines are objects of our own small format, or those of common programs, as far as they say the same:

    {"text": "..."}                               a piece of the answer; `delta`, `content` and `response` are the same
    {"reasoning": "..."}                          a piece of what is thought before; or `thinking`
    {"usage": {"input_tokens": 1, "output_tokens": 2}}    or `prompt_tokens`, `completion_tokens`
    {"error": "..."}  {"error": {"message": "...", "code": "..."}}    the run failed
    {"done": true, "finish_reason": "length"}     the answer is complete

Lines with a `type` are those of `claude --output-format stream-json`, `codex exec --json`, `gemini --output-format
stream-json`, `opencode run --format json`; lines with `choices`, the chunks of OpenAI's API.  Others are passed over.
"""

from __future__ import annotations

import json
import re
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator, Mapping
from logging import getLogger
from typing import Any

from ..model.chat import ToolCall
from ..model.run import ReasoningDelta, RunDone, RunEvent, RunFailed, ToolUse, Usage
from ..records import Protocol

__all__ = ["JsonLines", "PlainText", "Reader", "printable"]

STRAY_CHARACTERS = 200
"""Of a line that is no JSON object, for the log."""

_Line = Mapping[str, Any]
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
_logger = getLogger(__name__)
_FINISH_REASONS = {"length", "content_filter", "tool_calls"}
_GAP = "\n\n"
"""Between the messages of one answer."""


class Reader(Protocol):
    """Of one run's output.  After RunDone or RunFailed nothing follows."""

    def receive(self, data: bytes) -> Iterator[RunEvent]: ...

    def end(self) -> Iterator[RunEvent]:
        """What is left, once the output has ended."""


class PlainText:
    """UTF-8, as it comes; the line ends at the very end are not part of the answer, as in a shell's `$(...)`."""

    def __init__(self) -> None:
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def receive(self, data: bytes) -> Iterator[RunEvent]:
        """See Reader."""
        text = self._held + self._decoder.decode(data)
        said = text.rstrip("\r\n")
        self._held = text[len(said) :]
        if said:
            yield said

    def end(self) -> Iterator[RunEvent]:
        """See Reader."""
        last = (self._held + self._decoder.decode(b"", final=True)).rstrip("\r\n")
        if last:
            yield last


class JsonLines:
    """See the module."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._seen = 0  # of `_rest`, without a line end
        self._understood = False
        self._stray = 0
        self._said = False
        self._gap = False
        self._partial = False  # the text comes in pieces: the whole messages repeat it
        self._calls: dict[str, ToolCall] = {}
        self._finish = "stop"
        self._complaint = ""  # an error that the program may have got over

    def receive(self, data: bytes) -> Iterator[RunEvent]:
        """See Reader."""
        self._rest += data
        begin = 0
        while (at := self._rest.find(b"\n", max(begin, self._seen))) >= 0:
            line = bytes(self._rest[begin:at])
            begin = at + 1
            yield from self._line(line)
        del self._rest[:begin]
        self._seen = len(self._rest)

    def end(self) -> Iterator[RunEvent]:
        """See Reader."""
        for event in self._line(bytes(self._rest)):
            yield event
            if isinstance(event, RunDone | RunFailed):
                return
        if self._complaint:
            yield _failed(self._complaint)
        elif self._stray and not self._understood:
            message = "the command wrote no JSON lines, as `runtime.output` of the agent promises"
            yield RunFailed(message, "command_output_invalid", 502)
        else:
            yield RunDone(self._finish)

    def _line(self, data: bytes) -> Iterator[RunEvent]:
        if not data.strip():
            return
        try:
            line = json.loads(data)
        except (ValueError, RecursionError):
            line = None
        if not isinstance(line, dict):
            self._stray += 1
            if self._stray == 1:
                _logger.warning("not a JSON line: %s", printable(data)[:STRAY_CHARACTERS])
            return
        self._understood = True
        kind = line.get("type")
        if line.get("error") not in (None, False, ""):
            yield _failed(line["error"])
        elif kind is None:
            yield from self._plain(line)
        elif isinstance(kind, str) and kind in _KINDS:
            yield from _KINDS[kind](self, line)

    def _text(self, text: object) -> Iterator[RunEvent]:
        if isinstance(text, str) and text:
            if self._gap and self._said:
                yield _GAP
            self._gap, self._said, self._complaint = False, True, ""
            yield text

    def _message(self, text: object) -> Iterator[RunEvent]:
        """The text of a whole message."""
        self._gap = True
        yield from self._text(text)

    def _plain(self, line: _Line) -> Iterator[RunEvent]:
        if "choices" in line:
            yield from self._chunk(line)
        role = line.get("role", "assistant")
        thought = line.get("reasoning") or line.get("thinking")
        if isinstance(thought, str) and thought:
            yield ReasoningDelta(thought)
        message = line.get("message")  # Ollama's
        for holder in (line, message if isinstance(message, dict) else {}):
            for name in ("text", "delta", "content", "response"):
                if role == "assistant" and isinstance(holder.get(name), str):
                    yield from self._text(holder[name])
        yield from _usage(line.get("usage"))
        if line.get("done") is True:
            yield RunDone(_reason(line.get("finish_reason") or line.get("done_reason")))

    def _chunk(self, line: _Line) -> Iterator[RunEvent]:
        match line["choices"]:
            case [{"delta": dict(delta), **rest}, *_] | [{"message": dict(delta), **rest}, *_]:
                thought = delta.get("reasoning_content")
                if isinstance(thought, str) and thought:
                    yield ReasoningDelta(thought)
                yield from self._text(delta.get("content"))
                self._finish = _reason(rest.get("finish_reason") or self._finish)
            case _:
                pass

    def _event(self, line: _Line) -> Iterator[RunEvent]:
        """An event of Anthropic's API, alone or within a `stream_event`."""
        match line.get("event", line):
            case {"type": "content_block_start", "content_block": {"type": "text"}}:
                self._gap = True
            case {"type": "content_block_delta", "delta": {"text": str(text)}}:
                self._partial = True
                yield from self._text(text)
            case {"type": "content_block_delta", "delta": {"thinking": str(text)}} if text:
                self._partial = True
                yield ReasoningDelta(text)
            case {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}}:
                self._finish = "length"
            case _:
                pass

    def _assistant(self, line: _Line) -> Iterator[RunEvent]:
        message = line.get("message", line)
        content = message.get("content") if isinstance(message, dict) else message
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for block in blocks if isinstance(blocks, list) else ():
            match block:
                case {"type": "text", "text": str(text)} if not self._partial:
                    yield from self._message(text)
                case {"type": "thinking", "thinking": str(text)} if text and not self._partial:
                    yield ReasoningDelta(text)
                case {"type": "tool_use", "id": str(call_id), "name": str(name)}:
                    yield self._called(call_id, name, block.get("input"))
                case _:
                    pass

    def _user(self, line: _Line) -> Iterator[RunEvent]:
        """Results of the program's own tools."""
        message = line.get("message")
        blocks = message.get("content") if isinstance(message, dict) else None
        for block in blocks if isinstance(blocks, list) else ():
            match block:
                case {"type": "tool_result", "tool_use_id": str(call_id)}:
                    yield from self._result(call_id, block.get("content"), block.get("is_error") is True)
                case _:
                    pass

    def _called(self, call_id: str, name: str, arguments: object) -> ToolUse:
        call = self._calls[call_id] = ToolCall(call_id, name, json.dumps(arguments or {}))
        return ToolUse(call)

    def _result(self, call_id: str, content: object, failed: bool) -> Iterator[RunEvent]:
        call = self._calls.pop(call_id, None)
        if call is not None:
            yield ToolUse(call, content if isinstance(content, str) else json.dumps(content), failed)

    def _item(self, line: _Line) -> Iterator[RunEvent]:
        match line.get("item"):
            case {"type": "agent_message" | "assistant_message", "text": str(text)}:
                yield from self._message(text)
            case {"type": "reasoning", "text": str(text)} if text:
                yield ReasoningDelta(text)
            case {"type": "command_execution", "id": str(call_id), "command": command, **rest}:
                yield self._called(call_id, "shell", {"command": command})
                yield from self._result(call_id, rest.get("aggregated_output"), rest.get("exit_code") not in (0, None))
            case _:
                pass

    def _dialogue(self, line: _Line) -> Iterator[RunEvent]:
        if line.get("role", "assistant") in ("assistant", "model"):
            if line.get("delta") is not True:
                self._gap = True
            yield from self._text(line.get("content", line.get("text")))

    def _part(self, line: _Line) -> Iterator[RunEvent]:
        part = line.get("part")
        yield from self._text(part.get("text") if isinstance(part, dict) else line.get("text"))

    def _thought(self, line: _Line) -> Iterator[RunEvent]:
        text = line.get("text") or line.get("content")
        if isinstance(text, str) and text:
            yield ReasoningDelta(text)

    def _outcome(self, line: _Line) -> Iterator[RunEvent]:
        """The last line of a program: the whole answer again, and what it cost."""
        text = line.get("result")
        if line.get("is_error") is True or line.get("status") == "error":
            yield _failed(text if isinstance(text, str) and text else line.get("subtype"))
            return
        if not self._said:
            yield from self._text(text)
        self._complaint = ""
        yield from _usage(line.get("usage") or line.get("stats"))

    def _completed(self, line: _Line) -> Iterator[RunEvent]:
        self._complaint = ""
        yield from _usage(line.get("usage"))

    def _trouble(self, line: _Line) -> Iterator[RunEvent]:
        if line.get("severity") != "warning":
            self._complaint = str(line.get("message") or "the command tells of an error")
        yield from ()

    def _done(self, line: _Line) -> Iterator[RunEvent]:
        yield from _usage(line.get("usage"))
        yield RunDone(_reason(line.get("finish_reason")))


_KINDS: dict[str, Callable[[JsonLines, _Line], Iterator[RunEvent]]] = {
    "text": JsonLines._part,
    "message": JsonLines._dialogue,
    "delta": JsonLines._dialogue,
    "assistant": JsonLines._assistant,
    "user": JsonLines._user,
    "stream_event": JsonLines._event,
    "content_block_start": JsonLines._event,
    "content_block_delta": JsonLines._event,
    "message_delta": JsonLines._event,
    "item.completed": JsonLines._item,
    "turn.completed": JsonLines._completed,
    "reasoning": JsonLines._thought,
    "thinking": JsonLines._thought,
    "result": JsonLines._outcome,
    "error": JsonLines._trouble,
    "done": JsonLines._done,
}
"""What a line with a `type` says."""


def printable(data: bytes | str) -> str:
    """Text on one line, without control characters and the escape sequences of terminals."""
    text = _ESCAPE.sub("", data.decode("utf-8", "replace") if isinstance(data, bytes) else data)
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _failed(error: object) -> RunFailed:
    message, code = error, "command_error"
    if isinstance(error, dict):
        message = error.get("message") or json.dumps(error)
        code = str(error.get("code") or error.get("type") or code)[:64]
    return RunFailed(printable(str(message or "the command tells of an error"))[:1000], code, 502)


def _reason(value: object) -> str:
    return value if isinstance(value, str) and value in _FINISH_REASONS else "stop"


def _usage(given: object) -> Iterator[RunEvent]:
    if not isinstance(given, dict):
        return

    def count(*names: str) -> int:
        found = (given.get(name) for name in names)
        return next((one for one in found if isinstance(one, int) and not isinstance(one, bool) and one >= 0), 0)

    cached = count("cache_read_input_tokens", "cached_input_tokens")
    prompt = count("prompt_tokens", "input_tokens")
    if "cache_read_input_tokens" in given:  # Anthropic's do not count what was cached among the rest
        prompt += cached + count("cache_creation_input_tokens")
    yield Usage(prompt, count("completion_tokens", "output_tokens"), cached or None)
