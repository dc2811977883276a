"""Methods and events of an embedder's own, beside those of the protocol."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from ..errors import ConfigError, ToolError
from ..records import Protocol
from ..tools.function import plain
from ..tools.schema import problems
from ..tools.signature import hints_of, signature_of
from .events import EVENTS
from .hub import Hub
from .method import ADMIN, Call, Check, Method
from .params import PARAMS, SCOPES
from .problem import INVALID_REQUEST, RpcError

__all__ = ["Board", "Event", "Extensions"]

NAME = r"[A-Za-z0-9_-]+([./:][A-Za-z0-9_-]+)*"
NAME_CHARACTERS = 128
"""Names are told to each client that connects."""
FAULTS = 5
"""Of parameters, told at a time."""

AnyMethod = TypeVar("AnyMethod", bound=Callable[..., Awaitable[Any]])


class Board(Protocol):
    """Where methods and events are told to clients (`service.Control`)."""

    @property
    def hub(self) -> Hub: ...

    def add(self, method: Method) -> None:
        """A method, for all requests from now on."""

    def add_event(self, name: str) -> None:
        """The name of an event, for clients that connect from now on."""


class Event:
    """An event that clients with a scope are told."""

    def __init__(self, extensions: Extensions, name: str, scope: str | None, *, droppable: bool) -> None:
        self.name = name
        self.scope = scope
        self._extensions = extensions
        self._droppable = droppable

    def send(self, payload: Mapping[str, Any]) -> None:
        """Tell all clients there are, without waiting for them.  To be called in the gateway's event loop.

        Raises TypeError or ValueError for what is not JSON; dataclasses, enums and the like are told as JSON.
        """
        hub = self._extensions.hub
        if hub is not None and hub.clients:
            hub.broadcast(self.name, _json(payload), scope=self.scope, droppable=self._droppable)


class Extensions:
    """What was registered, whether or not there is somebody yet who could ask for it."""

    def __init__(self) -> None:
        self._methods: dict[str, Method] = {}
        self._events: dict[str, Event] = {}
        self._board: Board | None = None

    @property
    def hub(self) -> Hub | None:
        """The clients; None before the first."""
        return None if self._board is None else self._board.hub

    def attach(self, board: Board) -> None:
        """Tell of all that was registered, and is going to be."""
        self._board = board
        for method in self._methods.values():
            board.add(method)
        for name in self._events:
            board.add_event(name)

    def event(self, name: str, scope: str | None, *, droppable: bool) -> Event:
        """See `app.Gateway.event`."""
        _check_name(name, "event", {*EVENTS, *self._events})
        event = self._events[name] = Event(self, name, _scope(name, scope), droppable=droppable)
        if self._board is not None:
            self._board.add_event(name)
        return event

    def method(
        self, name: str, scope: str | None, params: Mapping[str, Any] | None
    ) -> Callable[[AnyMethod], AnyMethod]:
        """See `app.Gateway.rpc`."""
        what = f"method {name}"
        _check_name(name, "method", {*PARAMS, *SCOPES, *self._methods})
        scope = _scope(name, scope)

        def register(function: AnyMethod) -> AnyMethod:
            _check_name(name, "method", self._methods.keys())
            method = Method(name, scope, *_handler(function, what, params))
            self._methods[name] = method
            if self._board is not None:
                self._board.add(method)
            return function

        return register


def _handler(
    function: Callable[..., Awaitable[Any]], what: str, params: Mapping[str, Any] | None
) -> tuple[Callable[[Call], Awaitable[Any]], Check | None]:
    """What answers a call, and what its parameters have to pass first.  Raises ConfigError."""
    call = getattr(function, "__call__", function)  # noqa: B004 - for objects with a coroutine method __call__
    if not inspect.iscoroutinefunction(function) and not inspect.iscoroutinefunction(call):
        raise ConfigError(f"{what}: {function!r} is no coroutine function; write `async def`")
    found, hints = hints_of(function, what)
    takes_call = next((name for name in found.parameters if hints.get(name) is Call), None)
    others = [name for name in found.parameters if name != takes_call]
    convert: Callable[[Mapping[str, Any]], dict[str, Any]] = dict
    if params is None:
        signature = signature_of(function, what, () if takes_call is None else (takes_call,))
        params, convert = signature.parameters, signature.convert
    elif others and not any(one.kind is one.VAR_KEYWORD for one in found.parameters.values()):
        lost = sorted(params.get("properties", {}).keys() - set(others))
        if lost:
            raise ConfigError(f"{what}: {function!r} does not take {', '.join(lost)}, which its parameters have")

    async def handle(call: Call) -> Any:
        given = convert(call.params) if others else {}
        if takes_call is not None:
            given[takes_call] = call
        try:
            result = await function(**given)
        except ToolError as error:
            raise RpcError(INVALID_REQUEST, error.message) from error
        return _json(result)

    return handle, partial(_faults, params)


def _faults(schema: Mapping[str, Any], params: Any) -> str | None:
    found = []
    for fault in problems(params, schema):
        found.append(fault)
        if len(found) == FAULTS:
            break
    return "; ".join(found) or None


def _json(value: Any) -> Any:
    """A value as JSON has it; it is a copy, that nobody else can change."""
    return json.loads(json.dumps(value, default=plain, allow_nan=False))


def _check_name(name: str, what: str, taken: Any) -> None:
    if not re.fullmatch(NAME, name) or len(name) > NAME_CHARACTERS:
        message = f"{what} {name!r}: a name is words of A-Z a-z 0-9 _ - with dots in between, like `weather.get`"
        raise ConfigError(f"{message}, of {NAME_CHARACTERS} characters at most")
    if name in taken:
        raise ConfigError(f"{what} {name}: there is one of this name already; choose another, like `my.{name}`")


def _scope(name: str, scope: str | None) -> str | None:
    if scope is not None and not re.fullmatch(NAME, scope):
        raise ConfigError(f"{name}: {scope!r} is no scope; use one like {ADMIN!r}, or None for no scope at all")
    return scope
