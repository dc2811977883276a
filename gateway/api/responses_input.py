"""The `input` of POST /v1/responses as messages.

Source: https://platform.openai.com/docs/api-reference/responses/create#responses-create-input.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..errors import RequestError
from ..model.chat import Message, Part, ToolCall
from ..records import NamedTuple
from .images import ImageLimits, Images
from .members import mapping, missing, text, unsupported, wrong
from .parse_messages import MESSAGES
from .parse_tools import word

__all__ = ["REFERENCES", "Input", "Reference", "input_messages"]

# Answers that a request refers to: each is looked up in the store, before the run begins.
REFERENCES = 256

# As `responses_bytes` makes them: what it is, the run, and a number.
_ITEM_ID = re.compile(r"(msg|fc|rs)_([0-9a-f]{32})([0-9a-f]{2,4})")
_ROLES = ("assistant", "developer", "system", "user")
_ITEMS = ("message", "function_call", "function_call_output", "reasoning", "item_reference")
_PARTS = ("input_text", "input_image", "output_text", "refusal")
# The content parts that are text, and the member that holds it.
_TEXT_MEMBERS = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}


def input_messages(value: Any, limits: ImageLimits) -> Input:
    """The messages that the input makes up, one of them a user's or a tool's.

    What an assistant said and what it called, item after item, are one message, as a session keeps it.  Raises
    RequestError (400) that names the item at fault.
    """
    if value is None:
        raise missing("input")
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    if not isinstance(value, list):
        raise wrong("input", "a string or an array of items", value)
    if len(value) > MESSAGES:
        raise RequestError(400, f"`input` has more than {MESSAGES} items.", param="input")
    found = Input(limits)
    for index, item in enumerate(value):
        found.add(f"input[{index}]", item)
    found.check_results()
    if not any(one.role == "tool" or (one.role == "user" and (one.text or one.parts)) for one in found.messages):
        raise RequestError(400, "Missing user message in `input`: there is nothing to answer.", param="input")
    return found


class Reference(NamedTuple):
    """Parts of what an earlier run answered: what it said, and some of its calls, by their numbers."""

    run_id: str
    text: bool = False
    calls: tuple[int, ...] = ()

    def added(self, answer: Message, message: Message) -> Message | None:
        """The message with these parts of the answer; None where it has no such call."""
        if any(number >= len(answer.tool_calls) for number in self.calls):
            return None
        said = _joined(answer.text, message.text) if self.text else message.text
        calls = (*(answer.tool_calls[number] for number in self.calls), *message.tool_calls)
        return message._replace(text=said, tool_calls=calls)


class Input:
    """The items of one request.  `places` are those of the items that the messages begin with.

    `references` are what earlier answers are to be added to messages, by the index of these.
    """

    def __init__(self, limits: ImageLimits) -> None:
        self.images = Images(limits)
        self.messages: list[Message] = []
        self.places: list[str] = []
        self.references: dict[int, Reference] = {}

    def add(self, place: str, item: Any) -> None:
        last = self.messages[-1] if self.messages and self.messages[-1].role == "assistant" else None
        kind = text(f"{place}.type", mapping(place, item).get("type", "message"))
        match kind:
            case "message":
                message = self._message(place, item)
                if last is not None and last.tool_calls and message.role == "assistant":
                    self.messages[-1] = last._replace(text=_joined(last.text, message.text))
                else:
                    self._append(place, message)
            case "function_call":
                arguments = text(f"{place}.arguments", item.get("arguments"))
                name = word(f"{place}.name", item.get("name"))  # a model may have made it up
                call = ToolCall(word(f"{place}.call_id", item.get("call_id")), name, arguments)
                if last is None:
                    self._append(place, Message("assistant", "", tool_calls=(call,)))
                else:
                    self.messages[-1] = last._replace(tool_calls=(*last.tool_calls, call))
            case "function_call_output":
                call_id = word(f"{place}.call_id", item.get("call_id"))
                said, parts = self._content(f"{place}.output", item.get("output"), "tool")
                self._append(place, Message("tool", said, tool_call_id=call_id, parts=parts))
            case "reasoning":
                pass  # what a model thought is its provider's to use
            case "item_reference":
                self._refer(place, text(f"{place}.id", item.get("id")))
            case _:
                raise unsupported(f"{place}.type", kind, _ITEMS)

    def _refer(self, place: str, item_id: str) -> None:
        found = _ITEM_ID.fullmatch(item_id)
        if found is None:
            what = f"Item with id '{item_id[:64]}' not found."
            raise RequestError(404, what, param=f"{place}.id", code="item_not_found")
        kind, run_id, number = found.groups()
        if kind == "rs":
            return
        last = self.references.get(len(self.messages) - 1)
        if last is None or last.run_id != run_id:
            self._append(place, Message("assistant", ""))
            last = Reference(run_id)
            if len(self.references) >= REFERENCES:
                what = f"`input` refers to more than {REFERENCES} earlier answers; send `previous_response_id`."
                raise RequestError(400, what, param=place)
        more = last._replace(text=True) if kind == "msg" else last._replace(calls=(*last.calls, int(number, 16)))
        self.references[len(self.messages) - 1] = more

    def check_results(self) -> None:
        """Each result has to be that of a call before it, and each call to have a result, unless it is the last word.

        But for the results at the beginning, and behind references: what was called may stand in the session.  Raises
        RequestError (400).
        """
        called: frozenset[str] | None = None  # by the assistant's message before; None where that is not in the request
        open_calls: set[str] = set()
        for index, (place, message) in enumerate(zip(self.places, self.messages, strict=True)):
            if message.role == "tool":
                call_id = message.tool_call_id or ""
                if called is not None and call_id not in called:
                    what = f"No tool call found for function call output with call_id {call_id[:64]}."
                    raise RequestError(400, what, param=place)
                open_calls.discard(call_id)
                continue
            self._require_results(open_calls)
            if message.role == "assistant":
                open_calls = {call.id for call in message.tool_calls}
                referring = index in self.references and self.references[index].calls
                called = None if referring else frozenset(open_calls)
            elif called is not None or message.role == "user":
                called = frozenset()
        self._require_results(open_calls)

    @staticmethod
    def _require_results(open_calls: set[str]) -> None:
        if open_calls:
            what = f"No tool output found for function call {min(open_calls)[:64]}."
            raise RequestError(400, what, param="input")

    def _append(self, place: str, message: Message) -> None:
        self.messages.append(message)
        self.places.append(place)

    def _message(self, place: str, item: Mapping[str, Any]) -> Message:
        role = text(f"{place}.role", item.get("role"))
        if role not in _ROLES:
            raise unsupported(f"{place}.role", role, _ROLES)
        said, parts = self._content(f"{place}.content", item.get("content"), role)
        return Message(role, said, parts=parts)

    def _content(self, place: str, content: Any, role: str) -> tuple[str, tuple[Part, ...]]:
        """The text of a content, and its parts where there is more than text."""
        if content is None:
            raise missing(place)
        if isinstance(content, str):
            return content, ()
        if not isinstance(content, list):
            raise wrong(place, "a string or an array of parts", content)
        parts = tuple(self._part(f"{place}[{index}]", part, role) for index, part in enumerate(content))
        texts = [part for part in parts if isinstance(part, str)]
        return "\n".join(texts), () if len(texts) == len(parts) else parts

    def _part(self, place: str, part: Any, role: str) -> Part:
        kind = text(f"{place}.type", mapping(place, part).get("type"))
        if kind in _TEXT_MEMBERS:
            member = _TEXT_MEMBERS[kind]
            return text(f"{place}.{member}", part.get(member))
        if kind != "input_image":
            raise unsupported(f"{place}.type", kind, _PARTS)
        if role != "user":
            what = f"`{place}` is an image, which only messages with role 'user' may hold."
            raise RequestError(400, what, param=place)
        if part.get("file_id") is not None:
            what = f"`{place}.file_id` is not served: no files are kept here; send the image itself, as `image_url`."
            raise RequestError(400, what, param=f"{place}.file_id")
        detail = part.get("detail")
        if detail is not None and not isinstance(detail, str):
            raise wrong(f"{place}.detail", "a string", detail)
        at = f"{place}.image_url"
        return self.images.read(at, text(at, part.get("image_url")), detail)


def _joined(one: str, other: str) -> str:
    return f"{one}\n{other}" if one and other else one or other
