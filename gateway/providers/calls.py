"""Calls of tools in a chat completion, as servers send them.

Source: https://platform.openai.com/docs/api-reference/chat-streaming.  There the first piece of a call has its `index`,
`id` and `name`, the others `index` and a piece of `arguments`.  Servers leave out `index` or `id`, repeat `id` and
`name`, give all calls the same `index`, or send a call at once; all of that is understood.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from os import urandom

from ..model.run import ToolCallDelta
from .events import member, text_of, well_formed

__all__ = ["CALLS", "HELD_CHARACTERS", "CallIds", "Calls", "new_call_id"]

CALLS = 128
"""Of one answer: as many as OpenAI lets a request have tools."""

HELD_CHARACTERS = 65_536
"""Of arguments that came before the name of their tool, which no server in use sends later than in the next event."""

LEGACY = -1
"""Stands for the `index` of the one `function_call`, from before there were `tool_calls`."""


def new_call_id() -> str:
    """For a call that came without one: clients need it to say what a result belongs to."""
    return f"call_{urandom(12).hex()}"


class CallIds:
    """The ids of the calls of one answer: the server's, and new ones for calls without, or with that of another."""

    __slots__ = ("_new_id", "_taken")

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self._taken: set[str] = set()

    def take(self, call_id: str) -> str:
        """The id for a call that came with this one."""
        if not call_id or call_id in self._taken:
            call_id = self._new_id()
        self._taken.add(call_id)
        return call_id


class _Call:
    __slots__ = ("held", "last", "name", "number", "server_id")

    def __init__(self, server_id: str) -> None:
        self.number = -1  # counted once they have a name
        self.server_id = server_id
        self.name = ""
        self.held = ""  # arguments that came before the name
        self.last = ""  # the last character of the arguments


class Calls:
    """The calls of one answer.  `new_id` makes the ids that a server leaves out."""

    __slots__ = ("_all", "_by_id", "_by_index", "_ids", "_named")

    def __init__(self, new_id: Callable[[], str] = new_call_id) -> None:
        self._ids = CallIds(new_id)
        self._all: list[_Call] = []
        self._named = 0
        self._by_index: dict[int, _Call] = {}
        self._by_id: dict[str, _Call] = {}

    def __len__(self) -> int:
        return len(self._all)

    @property
    def complete(self) -> bool:
        """Whether each of them has a name."""
        return self._named == len(self._all)

    def take(self, delta: dict[str, object], *, whole: bool = False) -> list[ToolCallDelta]:
        """The pieces in a `delta`, or in a `message` of a whole answer.  Raises ValueError for what is no call."""
        entries = delta.get("tool_calls") or []
        if not isinstance(entries, list):
            raise ValueError("`tool_calls` that are not an array")  # noqa: TRY004 - it is about what a server sent
        pieces = [piece for entry in entries for piece in self._piece(entry, member(entry, "function"), whole)]
        if legacy := member(delta, "function_call"):
            pieces += self._piece({"index": LEGACY}, legacy, whole)
        return pieces

    def _piece(self, entry: object, function: dict[str, object], whole: bool) -> list[ToolCallDelta]:
        given = entry.get("index") if isinstance(entry, dict) else None
        index = given if type(given) is int else None
        call_id, name = text_of(entry, "id"), text_of(function, "name")
        arguments = _arguments(function.get("arguments"))
        call = None if whole else self._find(index, call_id, name, arguments)
        if call is None:
            call = self._begin(index, call_id)
        call.last = arguments.rstrip()[-1:] or call.last
        if call.name:
            return [ToolCallDelta(call.number, arguments=arguments)] if arguments else []
        call.held += arguments
        if not name:
            if len(call.held) > HELD_CHARACTERS:
                raise ValueError("arguments of a call without the name of its tool")
            return []
        call.name = name
        call.number = self._named
        self._named += 1
        arguments, call.held = call.held, ""
        return [ToolCallDelta(call.number, self._ids.take(call.server_id), name, arguments)]

    def _begin(self, index: int | None, call_id: str) -> _Call:
        if len(self._all) >= CALLS:
            raise ValueError(f"more than {CALLS} calls of tools")
        call = _Call(call_id)
        self._all.append(call)
        if index is not None:
            self._by_index[index] = call
        if call_id:
            self._by_id[call_id] = call
        return call

    def _find(self, index: int | None, call_id: str, name: str, arguments: str) -> _Call | None:
        """The call that a piece belongs to; None for a new one."""
        last = self._all[-1] if self._all else None
        if index is not None:
            call = self._by_index.get(index)
        else:
            call = self._by_id.get(call_id, None if name else last) if call_id else last
        if call is None or not name or not call.name:
            return call
        if call_id and call.server_id:
            return call if call_id == call.server_id else None
        # The name again, and no ids to tell: another call begins with another name, or with arguments after the end.
        ended = call.last == "}" and arguments.lstrip()[:1] == "{"
        return None if name != call.name or ended else call


def _arguments(value: object) -> str:
    if isinstance(value, str):
        return well_formed(value)
    return "" if value is None else well_formed(json.dumps(value))  # some send the object itself
