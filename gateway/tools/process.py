"""Programs as tools: arguments in, text out, in limited time and size."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from logging import getLogger
from typing import Any

from ..errors import ConfigError, ToolError
from ..processes import ChildError, ChildLimits, start
from ..records import NamedTuple
from .function import check_name
from .schema import check_arguments

__all__ = ["Command", "ProcessTool"]

_logger = getLogger(__name__)

TOLD = 2_000
"""Characters of the end of what a failed program wrote, for the model: a stack's last frames, and the message."""

ARGUMENT_BYTES = 100_000
"""Of one argument; systems take 128 KiB."""

_PLACE = re.compile(r"\{(\w+)\}")


class Command(NamedTuple):
    """`argv` is the program and its arguments; `{name}` in them is the value of that parameter.

    Without any such place the program reads all arguments as one JSON object from its standard input.  `seconds` is the
    time it has, None for any; `output_bytes` the most it may write; `environment` all of its variables.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    seconds: float | None = 60.0
    output_bytes: int = 1 << 20
    folder: str | None = None


class ProcessTool:
    """A program as a `ports.GatewayTool`: no shell, a process group of its own, killed when its call is cancelled.

    What it writes is the result; another exit status than 0 is a failure, told with the end of its standard error.
    Raises ConfigError.
    """

    def __init__(
        self, command: Command, *, name: str, description: str | None, parameters: Mapping[str, Any] | None = None
    ) -> None:
        self.name = check_name(name)
        self.description = description
        self.parameters: Mapping[str, Any] = parameters or {"type": "object", "properties": {}}
        self._command = command
        known = self.parameters.get("properties") or {}
        self._places = {place for one in command.argv for place in _PLACE.findall(one) if place in known}
        if not command.argv or not command.argv[0]:
            raise ConfigError(f"tool {name}: its argv is empty")
        if any(place in self._places for place in _PLACE.findall(command.argv[0])):
            raise ConfigError(f"tool {name}: the program itself cannot be chosen by an argument")

    async def call(self, arguments: Mapping[str, Any]) -> str:
        """See `ports.GatewayTool.call`."""
        check_arguments(arguments, self.parameters)
        argv = self._argv(arguments) if self._places else self._command.argv
        given = b"" if self._places else json.dumps(arguments).encode()
        limits = ChildLimits(self._command.seconds or 0, self._command.output_bytes, errors=False)
        try:
            child = await start(argv, self._command.environment, self._command.folder, given, limits)
        except (OSError, ValueError) as error:
            _logger.warning("tool %s: %s cannot be started: %s", self.name, argv[0], error)
            raise ToolError(f"the program of {self.name} cannot be started") from error
        output = bytearray()
        try:
            while data := await child.read():
                output += data
            status = await child.exit_code()
        except ChildError as error:
            raise self._too_much(error.limit, output) from None
        finally:
            await asyncio.shield(asyncio.ensure_future(child.end()))
        said = output.decode("utf-8", "replace")
        if status:
            raise self._failed(status, child.complaint.decode("utf-8", "replace").strip() or said.strip())
        return said

    def _too_much(self, limit: str, output: bytearray) -> ToolError:
        if limit == "seconds":
            return ToolError(f"{self.name} took longer than {self._command.seconds:g} s and was stopped")
        begun = output[: 4 * TOLD].decode("utf-8", "replace")[:TOLD]
        most = self._command.output_bytes
        return ToolError(f"{self.name} wrote more than {most} bytes and was stopped. It began:\n{begun}")

    def _failed(self, status: int, told: str) -> ToolError:
        how = f"ended with status {status}" if status > 0 else f"was ended by signal {-status}"
        return ToolError(f"{self.name} {how}" + (f":\n{told[-TOLD:]}" if told else ""))

    def _argv(self, arguments: Mapping[str, Any]) -> list[str]:
        """The arguments in their places.  One that stands for a parameter that was not given is left out."""
        argv: list[str] = []
        for one in self._command.argv:
            names = [name for name in _PLACE.findall(one) if name in self._places]
            if any(arguments.get(name) is None for name in names):
                continue
            filled = _PLACE.sub(lambda found: _word(arguments[found[1]]) if found[1] in self._places else found[0], one)
            # An option of the program in the place of a word would let the model do what nobody has allowed.
            words = any(isinstance(arguments[name], str) for name in names)
            if words and filled.startswith("-") and not one.startswith("-") and "--" not in argv:
                raise ToolError(f"`{names[0]}` must not begin with a dash")
            if len(filled.encode("utf-8", "surrogatepass")) > ARGUMENT_BYTES:
                raise ToolError(f"`{names[0]}` is longer than {ARGUMENT_BYTES} bytes")
            argv.append(filled)
        return argv


def _word(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if "\0" in text:
        raise ToolError("an argument must not hold the character NUL")
    return text
