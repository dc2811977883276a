"""Slash commands: messages of an operator that the gateway answers itself, without the model, and keeps nowhere.

    /status                          the agent, its model, the session, and what runs in it
    /new  /reset                     end the run under way, and forget what was said in the session
    /stop                            end the run under way
    /model  /model PROVIDER/MODEL    show, or choose, the model of the session; `default` is the agent's own

A message is one of them when it is nothing else.  Clients that resend a conversation resend commands and their answers
too: those are taken out, and with `/new` what was said before it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

from .. import __version__
from ..errors import AgentError, RequestError
from ..model.chat import Message
from ..model.names import PUBLIC
from ..model.run import INSTRUCTIONS, RunDone, RunEvent, RunInput
from ..records import NamedTuple, Protocol
from ..sessions.history import characters
from .conversation import Conversations, failed
from .registry import Registry

__all__ = ["COMMANDS", "SCOPE", "CommandInfo", "Commands", "UnderWay"]

SCOPE = "operator"
"""What a key needs to give commands."""

COMMAND_CHARACTERS = 400
"""Of the longest, with the name of a model: what is longer need not be looked through."""


class CommandInfo(NamedTuple):
    """A command, as people are told of it.  `argument` is what may stand behind it, and what that is."""

    name: str
    description: str
    argument: tuple[str, str] | None = None


COMMANDS = (
    CommandInfo("status", "The agent, its model, the session, and what runs in it."),
    CommandInfo("new", "End the run under way, and forget what was said in the session."),
    CommandInfo("reset", "End the run under way, and forget what was said in the session."),
    CommandInfo("stop", "End the run under way."),
    CommandInfo(
        "model",
        "Show, or choose, the model of the session.",
        ("model", "`provider/model`; `default` is the agent's own."),
    ),
)

_ALONE = frozenset(f"/{command.name}" for command in COMMANDS)
_ANEW = frozenset({"/new", "/reset"})
_NO_SESSION = (
    f"This request has no session. Name one with the header `x-{PUBLIC}-session-key`, or with `user` in the request."
)


class UnderWay(Protocol):
    """The runs, as far as commands have to do with them."""

    def active_in(self, session: str) -> tuple[str, ...]: ...

    def abort(self, run_id: str) -> bool: ...


class Commands:
    """`clock` gives seconds; it tells how long the gateway has been up."""

    def __init__(self, registry: Registry, conversations: Conversations, clock: Callable[[], float]) -> None:
        self._agents = registry.by_id
        self._conversations = conversations
        self._clock = clock
        self._since = clock()

    def take(self, runs: UnderWay, run: RunInput) -> RunInput | AsyncGenerator[RunEvent, None]:
        """The answer to a command, as events; for any other message the run, without commands of earlier turns."""
        if not run.caller.may(SCOPE):
            return run
        messages = run.request.messages
        command = _command(messages[-1])
        if command is not None:
            return self._answer(runs, run, command)
        if any(map(_command, messages)):
            kept = _without_commands(messages)
            if any(message.role not in INSTRUCTIONS for message in kept):
                return run._replace(request=run.request._replace(messages=kept))
        return run

    async def _answer(self, runs: UnderWay, run: RunInput, command: tuple[str, str]) -> AsyncGenerator[RunEvent, None]:
        name, argument = command
        key = run.session
        try:
            if name == "/status":
                yield await self._status(runs, run)
            elif key is None:
                yield _NO_SESSION
            elif name == "/model":
                yield await self._model(run, key, argument)
            else:
                stopped = bool([run_id for run_id in runs.active_in(key) if runs.abort(run_id)])
                # One that has its turn and has not begun, or is under way in another process.
                stopped = stopped or await self._conversations.interrupt(key)
                if name in _ANEW:
                    had = await self._conversations.reset(key)
                    yield "The session begins anew." if had else "The session is new: nothing was said in it."
                else:
                    yield "The run was stopped." if stopped else "Nothing is running in this session."
        except AgentError as error:  # the store failed, or the session is busy
            yield failed(error)
            return
        yield RunDone()

    async def _status(self, runs: UnderWay, run: RunInput) -> str:
        lines = [f"Agent: {run.agent_id}"]
        own = self._agents[run.agent_id].own_model or "none: it is a program"
        if run.session is None:
            lines += [f"Model: {own}", f"Session: none. {_NO_SESSION}"]
        else:
            session = await self._conversations.session(run.session)
            under_way = runs.active_in(run.session)
            size = sum(map(characters, session.turns))
            lines += [
                f"Model: {f'{session.model}, chosen for this session' if session.model else own}",
                f"Session: {run.session}",
                f"Turns: {len(session.turns)}{' and older ones' if session.trimmed else ''}, {size:,} characters",
                f"Runs under way: {', '.join(under_way) or 'none'}",
            ]
        return "\n".join((*lines, f"Gateway: {__version__}, up {_duration(self._clock() - self._since)}"))

    async def _model(self, run: RunInput, key: str, wanted: str) -> str:
        entry = self._agents[run.agent_id]
        if not wanted:
            chosen = (await self._conversations.session(key)).model
            own = f"The agent's own is {entry.own_model}." if entry.own_model else "The agent has none of its own."
            return f"{f'The session uses {chosen}.' if chosen else 'None was chosen for the session.'} {own}"
        if wanted == "default":
            await self._conversations.choose_model(key, None)
            return f"The session uses the agent's own model{f', {entry.own_model}' if entry.own_model else ''}."
        try:
            model = entry.model(wanted, run.caller, "/model")
        except RequestError as error:
            return error.message
        await self._conversations.choose_model(key, model)
        return f"The session uses {model}. `/model default` goes back to the agent's own."


def _command(message: Message) -> tuple[str, str] | None:
    """The command that a message is, and what stands behind it."""
    text = message.text
    if len(text) > COMMAND_CHARACTERS or "/" not in text[:COMMAND_CHARACTERS] or message.role != "user":
        return None
    words = text.split()
    if message.parts or not words or words[0] not in _ALONE or len(words) > (2 if words[0] == "/model" else 1):
        return None
    return words[0], words[1] if len(words) == 2 else ""


def _without_commands(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Without commands, their answers, and what was said before a new beginning."""
    kept: list[Message] = []
    answered = True
    for message in messages:
        command = _command(message)
        if command is not None:
            answered = False
            if command[0] in _ANEW:
                kept = [one for one in kept if one.role in INSTRUCTIONS]
        elif answered or message.role != "assistant":
            kept.append(message)
            answered = True
        else:
            answered = True
    return tuple(kept)


def _duration(seconds: float) -> str:
    minutes, second = divmod(max(0, int(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    parts = [(days, "d"), (hour, "h"), (minute, "min"), (second, "s")]
    while len(parts) > 1 and not parts[0][0]:
        del parts[0]
    return " ".join(f"{number} {unit}" for number, unit in parts[:2])
