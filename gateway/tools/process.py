"""Programs as tools: arguments in, text out, in limited time and size."""

from __future__ import annotations

import asyncio
import json
import re
from asyncio.subprocess import Process
from collections.abc import Mapping
from contextlib import suppress
from logging import getLogger
from typing import Any, NamedTuple

from ..errors import ConfigError, ToolError
from ..processes import end_group, start
from .function import check_name
from .schema import check_arguments

__all__ = ["Command", "ProcessTool"]

_logger = getLogger(__name__)

TOLD = 2_000
"""Characters of the end of what a failed program wrote, for the model: a stack's last frames, and the message."""

ERROR_BYTES = 65_536
"""Of the standard error that are kept; more is read, so that the program can go on, and forgotten."""

PIECE = 65_536

LEFT_BEHIND = 0.5
"""Seconds for what a program that has ended left in its pipes, before what it has started and left is killed."""

LOOK = 0.05
"""Seconds between two looks whether the program has ended while something else holds its pipes."""

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
        try:
            process = await start(argv, self._command.environment, self._command.folder)
        except (OSError, ValueError) as error:
            _logger.warning("tool %s: %s cannot be started: %s", self.name, argv[0], error)
            raise ToolError(f"the program of {self.name} cannot be started") from error
        outcome = _Outcome(self._command.output_bytes)
        try:
            async with asyncio.timeout(self._command.seconds):
                await _talk(process, given, outcome)
        except TimeoutError:
            raise ToolError(f"{self.name} took longer than {self._command.seconds:g} s and was stopped") from None
        finally:
            await asyncio.shield(asyncio.ensure_future(end_group(process)))
        return self._result(process.returncode, outcome)

    def _result(self, status: int | None, outcome: _Outcome) -> str:
        said = bytes(outcome.output).decode("utf-8", "replace")
        if outcome.full:
            limit = self._command.output_bytes
            raise ToolError(f"{self.name} wrote more than {limit} bytes and was stopped. It began:\n{said[:TOLD]}")
        if status:
            how = f"ended with status {status}" if status > 0 else f"was ended by signal {-status}"
            told = bytes(outcome.errors).decode("utf-8", "replace").strip() or said.strip()
            raise ToolError(f"{self.name} {how}" + (f":\n{told[-TOLD:]}" if told else ""))
        return said

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


class _Outcome:
    """What a program has written, up to a limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.output = bytearray()
        self.errors = bytearray()
        self.full = False


async def _talk(process: Process, given: bytes, outcome: _Outcome) -> None:
    """Until the program has ended, or has written too much."""
    writing = asyncio.ensure_future(_write(process, given))
    readers = (_read_output(process, outcome), _read_errors(process, outcome))
    reading = {asyncio.ensure_future(reader) for reader in readers}
    ending = asyncio.ensure_future(process.wait())  # it ends when the pipes have, whatever has become of the program
    left = LEFT_BEHIND
    try:
        while not outcome.full and left > 0:
            _, open_ends = await asyncio.wait(reading, timeout=LOOK)
            if process.returncode is not None:
                if not open_ends:
                    break
                left -= LOOK
            elif not open_ends:
                await asyncio.wait({ending}, timeout=LOOK)
    finally:
        tasks: tuple[asyncio.Future[Any], ...] = (writing, ending, *reading)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _write(process: Process, given: bytes) -> None:
    assert process.stdin is not None, "started with a pipe"
    with suppress(ConnectionError):  # it does not read; what it says is what counts
        if given:
            process.stdin.write(given)
            await process.stdin.drain()
        process.stdin.close()


async def _read_output(process: Process, outcome: _Outcome) -> None:
    assert process.stdout is not None, "started with a pipe"
    while piece := await process.stdout.read(PIECE):
        room = outcome.limit - len(outcome.output)
        outcome.output += piece[:room]
        if len(piece) > room:
            outcome.full = True
            return


async def _read_errors(process: Process, outcome: _Outcome) -> None:
    assert process.stderr is not None, "started with a pipe"
    while piece := await process.stderr.read(PIECE):
        outcome.errors += piece
        del outcome.errors[:-ERROR_BYTES]
