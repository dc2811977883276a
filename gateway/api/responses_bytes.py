"""The answers of POST /v1/responses as bytes.

Source: https://platform.openai.com/docs/api-reference/responses/object and .../responses-streaming.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from io import StringIO
from json.encoder import encode_basestring
from typing import Any

from ..model.chat import ToolCall
from ..model.run import Answer, RunDone, RunFailed, ToolCallDelta, Usage
from .chat_bytes import DONE
from .responses_parse import RESPONSE_PREFIX

__all__ = ["ResponseEncoder", "response"]

# What a call counts besides its characters, as `agents.run.EVENT_CHARACTERS`.
CALL_CHARACTERS = 100
# How a run may end before it is done, as `incomplete_details` has it.
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens or 0, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def _error(failed: RunFailed) -> dict[str, Any]:
    """`code` is one of OpenAI's, which knows few; `type` carries the run's own."""
    code = {400: "invalid_prompt", 429: "rate_limit_exceeded"}.get(failed.status, "server_error")
    return {"code": code, "message": failed.message, "type": failed.code}


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _item_id(kind: str, run_id: str, number: int) -> str:
    """`kind` is `msg`, `rs` or `fc`: the prefixes of OpenAI's ids.  `number` is that of a call, or any of its own."""
    return f"{kind}_{run_id}{number:02x}"


def _message(identity: str, text: str | None, status: str) -> dict[str, Any]:
    content = [] if text is None else [_part(text)]
    return {"id": identity, "type": "message", "status": status, "role": "assistant", "content": content}


def _reasoning(identity: str, text: str | None) -> dict[str, Any]:
    summary = [] if text is None else [{"type": "summary_text", "text": text}]
    return {"id": identity, "type": "reasoning", "summary": summary}


def _call(identity: str, call: ToolCall, status: str) -> dict[str, Any]:
    name, arguments = call.name, call.arguments
    item = {"id": identity, "type": "function_call", "status": status, "call_id": call.id}
    return {**item, "name": name, "arguments": arguments}


class _Shape:
    """A `response` object.  What does not change while a response is made is encoded once."""

    __slots__ = ("_after", "_before")

    def __init__(self, run_id: str, created: int, model: str, echo: Mapping[str, Any]) -> None:
        self._before = f'{{"id":"{RESPONSE_PREFIX}{run_id}","object":"response","created_at":{created},'
        self._after = _json({"model": model, "background": False, **echo})[1:]

    def text(
        self,
        status: str,
        output: Sequence[Mapping[str, Any]] = (),
        usage: Usage | None = None,
        *,
        reason: str | None = None,
        failed: RunFailed | None = None,
    ) -> str:
        """The JSON text."""
        state = {
            "status": status,
            "error": None if failed is None else _error(failed),
            "incomplete_details": None if reason is None else {"reason": reason},
            "output": output,
            "usage": None if usage is None else _usage(usage),
        }
        return f"{self._before}{_json(state)[1:-1]},{self._after}"


def response(run_id: str, created: int, model: str, echo: Mapping[str, Any], answer: Answer) -> bytes:
    """The `response` object of a run that is done.  `created` is in seconds since the epoch."""
    ending = answer.ending
    reason = _INCOMPLETE.get(ending.finish_reason) if isinstance(ending, RunDone) else None
    status = "completed" if reason is None else "incomplete"
    output: list[Mapping[str, Any]] = []
    if answer.reasoning:
        output.append(_reasoning(_item_id("rs", run_id, 0), answer.reasoning))
    if answer.text or (not answer.tool_calls and reason is None):  # a complete answer has a message or a call
        output.append(_message(_item_id("msg", run_id, len(output)), answer.text, status))
    for number, call in enumerate(answer.tool_calls):
        output.append(_call(_item_id("fc", run_id, number), call, status))
    text = _Shape(run_id, created, model, echo).text(status, output, answer.usage, reason=reason)
    return text.encode("utf-8", "replace")


class _Item:
    """An item of a stream's output.  `index` is its `output_index`; `text` what was said, thought or given as arguments
    so far; `call` the id and the name of a call.
    """

    __slots__ = ("call", "id", "index", "kind", "open", "text")

    def __init__(self, kind: str, run_id: str, index: int, call: ToolCallDelta | None) -> None:
        self.kind = kind
        self.id = _item_id(kind, run_id, index if call is None else call.number)
        self.index = index
        self.call = ("", "") if call is None else (call.id, call.name)
        self.open = True
        self.text = StringIO()  # not a list of the pieces: each would weigh 50 bytes more than it holds

    def value(self, status: str | None) -> dict[str, Any]:
        """As it is at its end, or at its beginning for no status."""
        text = None if status is None else self.text.getvalue()
        state = status or "in_progress"
        match self.kind:
            case "msg":
                return _message(self.id, text, state)
            case "rs":
                return _reasoning(self.id, text)
            case _:
                return _call(self.id, ToolCall(*self.call, text or ""), state)


class ResponseEncoder:
    """The events of one stream.

    A message, or what was thought, is complete when another item begins; calls are with the end of the run, because
    pieces of several may come in turns.  `texts` is `ports.Encode`: it numbers the events, so whatever was put into
    the body has to be encoded before another event is made.  `size` is how many characters are held.
    """

    __slots__ = ("_after", "_before", "_calls", "_item", "_items", "_middle", "_number", "_run_id", "_shape", "size")

    def __init__(self, run_id: str, created: int, model: str, echo: Mapping[str, Any]) -> None:
        self._run_id = run_id
        self._shape = _Shape(run_id, created, model, echo)
        self._number = 0
        self._items: list[_Item] = []
        self._item: _Item | None = None  # what is open besides the calls
        self._calls: dict[int, _Item] = {}  # by their number
        self._before = self._middle = self._after = ""
        self.size = 0

    @property
    def in_message(self) -> bool:
        """Whether `texts` may be used."""
        return self._item is not None and self._item.kind == "msg"

    def begin(self) -> bytes:
        """The first events, before the agent has said anything."""
        made = (self._event(f"response.{name}", self._response("in_progress")) for name in ("created", "in_progress"))
        return "".join(made).encode("utf-8", "replace")

    def begin_message(self) -> bytes:
        """The events before the first piece of a message."""
        item, events = self._add("msg")
        place = f'"item_id":"{item.id}","output_index":{item.index},"content_index":0'
        events += self._event("response.content_part.added", f'{place},"part":{_json(_part(""))}')
        self._frame("response.output_text.delta", f'{place},"logprobs":[]')
        return events.encode("utf-8", "replace")

    def texts(self, texts: list[str]) -> bytes:
        """Pieces of the item that is open, each in an event of its own."""
        first = self._number
        self._number = first + len(texts)
        if self._item is not None:
            self.size += self._item.text.write("".join(texts))
        before, middle, after = self._before, self._middle, self._after
        events = [
            f"{before}{number}{middle}{encode_basestring(text)}{after}" for number, text in enumerate(texts, first)
        ]
        return "".join(events).encode("utf-8", "replace")

    def reasoning(self, text: str) -> bytes:
        """A piece of what was thought."""
        begin = b""
        if self._item is None or self._item.kind != "rs":
            item, events = self._add("rs")
            place = f'"item_id":"{item.id}","output_index":{item.index},"summary_index":0'
            events += self._event("response.reasoning_summary_part.added", f'{place},"part":{_summary("")}')
            self._frame("response.reasoning_summary_text.delta", place)
            begin = events.encode("utf-8", "replace")
        return begin + self.texts([text])

    def call(self, delta: ToolCallDelta) -> bytes:
        """A piece of a call."""
        events = ""
        item = self._calls.get(delta.number)
        if item is None:
            item, events = self._add("fc", delta)
            self._calls[delta.number] = item
            self.size += len(delta.id) + len(delta.name) + CALL_CHARACTERS
        if delta.arguments:
            self.size += item.text.write(delta.arguments)
            place = f'"item_id":"{item.id}","output_index":{item.index}'
            piece = f'{place},"delta":{encode_basestring(delta.arguments)}'
            events += self._event("response.function_call_arguments.delta", piece)
        return events.encode("utf-8", "replace")

    def done(self, ending: RunDone, usage: Usage) -> bytes:
        """The last events of a run that is done."""
        reason = _INCOMPLETE.get(ending.finish_reason)
        status = "completed" if reason is None else "incomplete"
        events = b"" if self._calls or self.in_message or reason else self.begin_message()
        last = self._close(status) + "".join(self._end(item, status) for item in self._calls.values())
        last += self._event(f"response.{status}", self._response(status, usage, reason=reason))
        return events + last.encode("utf-8", "replace") + DONE

    def failed(self, failed: RunFailed, usage: Usage) -> bytes:
        """The last events of a run that failed.  Items that were open have no end: a call must not look complete."""
        event = self._event("response.failed", self._response("failed", usage, failed=failed))
        return event.encode("utf-8", "replace") + DONE

    def _response(self, status: str, usage: Usage | None = None, **more: Any) -> str:
        begun = status == "in_progress"
        output = [item.value("incomplete" if item.open else "completed") for item in self._items]
        return f'"response":{self._shape.text(status, output, None if begun else usage, **more)}'

    def _event(self, name: str, members: str) -> str:
        number = self._number
        self._number = number + 1
        return f'event: {name}\ndata: {{"type":"{name}","sequence_number":{number},{members}}}\n\n'

    def _frame(self, name: str, members: str) -> None:
        """What stands around the pieces of an item."""
        self._before = f'event: {name}\ndata: {{"type":"{name}","sequence_number":'
        self._middle = f',{members},"delta":'
        self._after = "}\n\n"

    def _add(self, kind: str, call: ToolCallDelta | None = None) -> tuple[_Item, str]:
        """A new item, and the events for the end of the one before and for its own beginning."""
        events = self._close("completed")
        item = _Item(kind, self._run_id, len(self._items), call)
        self._items.append(item)
        self._item = None if kind == "fc" else item
        added = f'"output_index":{item.index},"item":{_json(item.value(None))}'
        return item, events + self._event("response.output_item.added", added)

    def _close(self, status: str) -> str:
        """The events for the end of the item that is open, if one is; calls stay open."""
        item, self._item = self._item, None
        return "" if item is None else self._end(item, status)

    def _end(self, item: _Item, status: str) -> str:
        item.open = status != "completed"
        text = item.text.getvalue()
        place, quoted = f'"item_id":"{item.id}","output_index":{item.index}', encode_basestring(text)
        match item.kind:
            case "msg":
                place += ',"content_index":0'
                events = self._event("response.output_text.done", f'{place},"text":{quoted},"logprobs":[]')
                events += self._event("response.content_part.done", f'{place},"part":{_json(_part(text))}')
            case "rs":
                place += ',"summary_index":0'
                events = self._event("response.reasoning_summary_text.done", f'{place},"text":{quoted}')
                events += self._event("response.reasoning_summary_part.done", f'{place},"part":{_summary(text)}')
            case _:
                events = self._event("response.function_call_arguments.done", f'{place},"arguments":{quoted}')
        done = f'"output_index":{item.index},"item":{_json(item.value(status))}'
        return events + self._event("response.output_item.done", done)


def _summary(text: str) -> str:
    return f'{{"type":"summary_text","text":{encode_basestring(text)}}}'
