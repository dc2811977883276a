"""Python functions as tools."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from contextvars import copy_context
from inspect import iscoroutinefunction
from threading import Thread
from typing import Any

from ..errors import ConfigError, ToolError
from ..targets import find
from .schema import check_arguments
from .signature import described, signature_of

__all__ = ["THREADS", "FunctionTool", "check_name", "load_function", "plain"]

THREADS = 16
"""Calls of one function that is no coroutine function, each in a thread of its own, at a time.  One that was given up
counts until it returns: nothing can end a thread."""

NAME = r"[A-Za-z0-9_-]{1,64}"
"""What OpenAI's API takes as the name of a function."""


class FunctionTool:
    """A function, or a coroutine function, as a `ports.GatewayTool`.

    The schema of its arguments is made of its type hints and its docstring, unless `parameters` gives one; then it is
    called with the arguments as they come.  A `str` is the result as it stands, anything else is told as JSON.  What it
    raises is told to the model, but for AgentError, which ends the run.  Raises ConfigError.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        description: str | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = check_name(name or str(getattr(function, "__name__", type(function).__name__)))
        if isinstance(function, type):
            raise ConfigError(f"tool {self.name}: {function!r} is a class, not a function")
        self.parameters: Mapping[str, Any] = {}
        self._convert: Callable[[Mapping[str, Any]], dict[str, Any]] = dict
        if parameters is None:
            self.description, self.parameters, self._convert = signature_of(function, f"tool {self.name}")
        else:
            self.description, self.parameters = described(function), parameters
        if description is not None:
            self.description = description
        self._function = function
        call = getattr(function, "__call__", function)  # noqa: B004 - for objects with a coroutine method __call__
        self._is_coroutine = iscoroutinefunction(function) or iscoroutinefunction(call)
        self._threads = 0

    async def call(self, arguments: Mapping[str, Any]) -> str:
        """See `ports.GatewayTool.call`."""
        check_arguments(arguments, self.parameters)
        try:
            given = self._convert(arguments)
            result = await (self._function(**given) if self._is_coroutine else self._in_a_thread(given))
        except SystemExit as error:  # it would end the gateway
            raise ToolError(f"the tool tried to end the program ({error})") from error
        return _text(result)

    async def _in_a_thread(self, given: dict[str, Any]) -> Any:
        """What the function returns.  Whoever is cancelled leaves the thread to itself: its result is dropped.

        Not a thread of an executor: a program waits for those when it ends, however long that takes.
        """
        if self._threads >= THREADS:
            raise ToolError(f"{THREADS} calls of {self.name} are under way; try again later")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()
        context = copy_context()

        def done(result: Any, error: BaseException | None) -> None:
            self._threads -= 1
            if not future.done():
                future.set_result((result, error))

        def work() -> None:
            result, error = None, None
            try:
                result = context.run(self._function, **given)
            except BaseException as raised:  # it is raised where the call is waited for
                error = raised
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(done, result, error)

        self._threads += 1
        Thread(target=work, name=f"tool {self.name}", daemon=True).start()
        result, error = await future
        if error is not None:
            raise error
        return result


def check_name(name: str) -> str:
    """The name.  Raises ConfigError for one that no model could call."""
    if not re.fullmatch(NAME, name):
        raise ConfigError(f"tool {name!r}: a name is 1 to 64 of the characters A-Z a-z 0-9 _ -; give it another `name`")
    return name


def load_function(target: str, place: str) -> Callable[..., Any]:
    """The function named by `module:function`, as a configuration gives it at `place`.  Raises ConfigError."""
    found = find(target, place)
    if not callable(found):
        raise ConfigError(f"{place}: {target!r} is no function")
    return found  # type: ignore[no-any-return]  # as far as a callable can be checked


def _text(result: Any) -> str:
    if isinstance(result, str):
        return result
    try:
        return json.dumps(result, ensure_ascii=False, default=plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise ToolError(f"the tool gave a result that cannot be told: {error}") from error


def plain(value: Any) -> Any:
    """What stands in JSON for what JSON does not have: `default` of `json.dumps`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, Iterable):
        return list(value)
    return str(value)
