"""Any program as an agent: it is given the prompt, and what it writes is the answer.

It runs without a shell, in a process group of its own that ends with the run, and with an environment that holds no
secret of the gateway.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from asyncio import Future, gather, get_running_loop, wait
from collections.abc import AsyncGenerator, Mapping
from logging import getLogger
from signal import Signals
from types import MappingProxyType
from urllib.parse import quote

from ..errors import AgentError, ConfigError
from ..messages import document_of
from ..model.chat import Image, Message
from ..model.run import INSTRUCTIONS, RunDone, RunEvent, RunFailed, RunInput
from ..processes import Child, ChildError, ChildLimits, bare_environment, start
from ..records import NamedTuple
from .command_output import JsonLines, PlainText, Reader, printable

__all__ = ["Command", "CommandAgent"]

_PLACEHOLDER = r"\{(?:prompt|session|agent)\}"

PLAIN = {"TERM": "dumb", "NO_COLOR": "1"}
"""What is written is for a client, not a terminal (https://no-color.org)."""

COMPLAINT_CHARACTERS = 500
"""Of what a failed command wrote to standard error, for the client: the end says why, the rest stands in the log."""

SETTLE_TIME = 5.0
"""Seconds that a command has, once it has said that its answer is complete, to end by itself: it may keep a session."""

SECRET_CHARACTERS = 6
"""A variable's value of at least so many is taken out of what the client is told."""

_logger = getLogger(__name__)
_NOTHING: Mapping[str, str] = MappingProxyType({})


class Command(NamedTuple):
    """How to run it.  `place` is that of the configuration, for errors; `environ` is the gateway's environment.

    `input`: `message`, `conversation` or `json`; `output`: `text` or `jsonl`.  `inherited` are variables that it gets
    besides the usual ones, `variables` those that it gets with these values.
    """

    place: str
    argv: tuple[str, ...]
    limits: ChildLimits
    input: str = "message"
    output: str = "text"
    folder: str | None = None
    variables: Mapping[str, str] = _NOTHING
    inherited: tuple[str, ...] = ()
    environ: Mapping[str, str] = _NOTHING
    system_prompt: str | None = None


class CommandAgent:
    """The agent.  Raises ConfigError where the program, its folder or a variable is not there."""

    takes: frozenset[str] = frozenset()
    """Text and nothing else; see `registry.taken_by`."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._program = _program(command)
        self._environment = _environment(command)
        named = (*command.inherited, *command.variables)
        self._secrets = [self._environment[name] for name in named if len(self._environment[name]) >= SECRET_CHARACTERS]
        self._children: set[Child] = set()
        self._starting: set[Future[None]] = set()

    async def __call__(self, run: RunInput) -> AsyncGenerator[RunEvent, None]:
        """Answer a run.  Raises AgentError."""
        started = get_running_loop().create_future()
        self._starting.add(started)
        try:
            child = await self._start(run)
            self._children.add(child)
        finally:
            self._starting.discard(started)
            started.set_result(None)
        try:
            reader: Reader = JsonLines() if self._command.output == "jsonl" else PlainText()
            while data := await child.read():
                for event in reader.receive(data):
                    if isinstance(event, RunDone | RunFailed):
                        await child.end(SETTLE_TIME)
                        yield event
                        return
                    yield event
            code = await child.exit_code()
            if code:
                raise self._failed(run, child, code)
            _logger.debug("run %s: standard error: %s", run.run_id, self._complaint(child))
            for event in reader.end():
                yield event
        except ChildError as error:
            raise self._too_much(error.limit) from None
        finally:
            try:
                await child.end()
            finally:
                self._children.discard(child)

    async def aclose(self) -> None:
        """End what still runs, and what is being started."""
        if self._starting:
            await wait(self._starting)
        await gather(*(child.end() for child in self._children))

    async def _start(self, run: RunInput) -> Child:
        command = self._command
        prompt = _prompt(run, command)
        in_arguments = any("{prompt}" in argument for argument in command.argv)
        values = {"{prompt}": prompt, "{session}": _safe(run.session_key), "{agent}": run.agent_id}
        argv = [self._program, *(_fill(argument, values) for argument in command.argv[1:])]
        said = b"" if in_arguments else prompt.encode("utf-8", "replace")
        try:
            return await start(argv, self._environment, command.folder, said, command.limits)
        except ValueError:
            raise AgentError("a command takes no NUL characters", code="invalid_prompt", status=400) from None
        except OSError as error:
            if error.errno == errno.E2BIG:
                message = "the prompt is too long for an argument of the command; without {prompt} it is read as input"
                raise AgentError(message, code="prompt_too_long", status=413) from error
            _logger.exception("run %s: the command of agent %s did not start", run.run_id, run.agent_id)
            message = f"the command could not be started: {error.strerror}"
            raise AgentError(message, code="command_not_started", status=502) from error

    def _too_much(self, limit: str) -> AgentError:
        limits = self._command.limits
        if limit == "seconds":
            message = f"the command took longer than {limits.seconds:g} s; `runtime.timeoutMs` of the agent allows more"
            return AgentError(message, code="command_timeout", status=504)
        message = (
            f"the command wrote more than {limits.output} bytes; `runtime.maxOutputBytes` of the agent allows more"
        )
        return AgentError(message, code="command_output_too_long", status=502)

    def _failed(self, run: RunInput, child: Child, code: int) -> AgentError:
        complaint = self._complaint(child)
        _logger.warning("run %s: standard error of agent %s: %s", run.run_id, run.agent_id, complaint)
        how = f"with exit code {code}" if code > 0 else f"by {_signal_name(-code)}"
        why = f": {complaint[-COMPLAINT_CHARACTERS:]}" if complaint else ""
        return AgentError(f"the command ended {how}{why}", code="command_failed", status=502)

    def _complaint(self, child: Child) -> str:
        text = printable(bytes(child.complaint))
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _program(command: Command) -> str:
    name = command.argv[0]
    if command.folder is not None and not os.path.isdir(command.folder):  # noqa: PTH112 - text, as the rest
        raise ConfigError(f"{command.place}.cwd: there is no folder {command.folder!r}")
    if os.path.dirname(name):  # noqa: PTH120 - text, as the rest
        name = os.path.join(command.folder or os.curdir, name)  # noqa: PTH118 - text, as the rest
    found = shutil.which(name, path=command.variables.get("PATH") or command.environ.get("PATH") or os.defpath)
    if found is None:
        raise ConfigError(
            f"{command.place}.argv: there is no program {command.argv[0]!r}, or it may not be run. "
            "Install it, give its whole path, or set PATH"
        )
    return os.path.abspath(found)  # noqa: PTH100 - text, as the rest


def _environment(command: Command) -> dict[str, str]:
    environ = command.environ
    missing = [name for name in command.inherited if name not in environ]
    if missing:
        raise ConfigError(f"{command.place}.inheritEnv: the environment has no {', '.join(missing)}")
    return bare_environment(
        environ, {**PLAIN, **{name: environ[name] for name in command.inherited}, **command.variables}
    )


def _fill(argument: str, values: Mapping[str, str]) -> str:
    """An argument with what stands for its placeholders.

    What a client says must not become an option of the program: where it would begin the argument with a `-`, a blank
    comes before it.
    """
    text = re.sub(_PLACEHOLDER, lambda found: values[found[0]], argument)
    return f" {text}" if text.startswith("-") and not argument.startswith("-") else text


def _safe(key: str) -> str:
    """A session's key as part of a file's name: no slash, no blank, no dot and no hyphen in front; two never alike."""
    text = quote(key, safe=":")
    return f"%{ord(text[0]):02X}{text[1:]}" if text[:1] in {".", "-"} else text


def _prompt(run: RunInput, command: Command) -> str:
    if any(isinstance(part, Image) for message in run.request.messages for part in message.parts):
        raise AgentError("this agent takes no images", code="images_not_supported", status=400)
    instructions = () if command.system_prompt is None else (Message("system", command.system_prompt),)
    messages = (*instructions, *run.conversation)
    match command.input:
        case "json":
            document = {"agent": run.agent_id, "session": run.session, "run": run.run_id, "model": run.model}
            document["messages"] = [document_of(message) for message in messages]  # type: ignore[assignment]  # a list
            return json.dumps(document) + "\n"
        case "conversation" if len(messages) > 1:
            return "\n\n".join(map(_paragraph, messages))
        case _:
            said = [message.text for message in messages if message.role not in INSTRUCTIONS]
            asked = [message.text for message in run.request.messages if message.role == "user"]
            last = (asked or said)[-1]
            return last if command.system_prompt is None else f"{command.system_prompt}\n\n{last}"


def _paragraph(message: Message) -> str:
    name = f" {message.name}" if message.name else ""
    calls = "".join(f"\n[calls {call.name} {call.arguments}]" for call in message.tool_calls)
    return f"{message.role.capitalize()}{name}: {message.text}{calls}"


def _signal_name(number: int) -> str:
    try:
        return Signals(number).name
    except ValueError:
        return f"signal {number}"
