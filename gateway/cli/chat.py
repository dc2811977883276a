"""`gateway chat`: talk with an agent of a running gateway, in a terminal or through a pipe."""

from __future__ import annotations

import asyncio
import os
import signal
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from ..model.names import PUBLIC
from .chat_view import ChatView, text_of
from .console import FAILED, INTERRUPTED, UnansweredError
from .lines import Lines
from .place import Place, add_place, find_place
from .rpc import WRITE, ClosedError, Event, FailedError, Patience, Rpc, connected, part
from .signals import concluded

__all__ = ["add_arguments", "execute"]

TIMEOUT = 30.0
"""Seconds for an answer that the gateway has at hand; an agent's answer may take what it takes."""

HISTORY = 20
MAX_HISTORY = 1000
"""What `chat.history` takes for its `limit`."""

_HELP = "/abort ends the answer under way (or Ctrl-C), /new begins a new session, /exit leaves (or Ctrl-D)"


def add_arguments(parser: ArgumentParser) -> None:
    """The flags of the command."""
    parser.add_argument("--agent", metavar="ID", help="the agent; default: the gateway's default agent")
    parser.add_argument("--session-key", metavar="KEY", help="the session to go on with; default: the agent's main one")
    parser.add_argument(
        "--history",
        metavar="N",
        type=_count,
        default=HISTORY,
        help=f"how many of the messages before to show, 0 to {MAX_HISTORY}. Default: %(default)d.",
    )
    add_place(parser)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > MAX_HISTORY:
        raise ArgumentTypeError(f"{text!r} is not a number of messages, 0 to {MAX_HISTORY}")
    return int(text)


def execute(options: Namespace) -> int:
    """Talk; returns the exit code.  Raises ConfigError."""
    return concluded(_chat(find_place(options), options))


async def _chat(place: Place, options: Namespace) -> int:
    view = ChatView()
    chat = _Chat(view, options)
    lines = Lines(chat.heard)
    chat.lines = lines
    with _interrupts(chat):
        try:
            lines.start()
            return await _stay(place, chat, view)
        except asyncio.CancelledError:
            if not chat.interrupted:
                raise
            return INTERRUPTED
        finally:
            view.end()


async def _stay(place: Place, chat: _Chat, view: ChatView) -> int:
    """Talk over one connection after the other; returns the exit code."""
    patience = Patience(view.note)
    while True:
        try:
            async with connected(place, WRITE, {"chat", "shutdown"}) as rpc:
                patience.connected()
                return await chat.talk(rpc)
        except UnansweredError as error:
            view.end()
            await patience.pause(error)


@contextmanager
def _interrupts(chat: _Chat) -> Iterator[None]:
    """Let Ctrl-C end an answer rather than the program."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def interrupt() -> None:
        if not chat.interrupt():
            task.cancel()

    def handle(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(interrupt)

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@dataclass
class _Run:
    """What was said to the agent here, and has no answer yet."""

    id: str
    text: str
    accepted: bool = False
    """Whether the gateway has said that it has it."""


# Where a row of the history holds what is not of the conversation.
_META = f"__{PUBLIC}"

_NEWS = object()
_INTERRUPT = object()
_END = object()


class _Chat:
    """One conversation, in one session after the other."""

    def __init__(self, view: ChatView, options: Namespace) -> None:
        self.interrupted = False
        self.lines: Lines | None = None
        self._view = view
        self._options = options
        self._inputs: asyncio.Queue[object] = asyncio.Queue()  # `Lines` says how many there may be
        self._waiting: deque[str] = deque()
        self._run: _Run | None = None
        self._key = options.session_key or ""
        self._keys: set[str] = set()  # those that events of this session come under
        self._connected = False
        self._greeted = False
        self._aborting = False
        self._ended = False  # nothing more will be said here
        self._left = False
        self._failed = False

    def heard(self, line: str | None) -> None:
        """A line of standard input; None at its end."""
        self._inputs.put_nowait(_END if line is None else line)

    def interrupt(self) -> bool:
        """Ctrl-C.  False where there is nothing to abort, or somebody insists: then it is the program that ends."""
        if self._connected and self._view.growing and not self._aborting:
            self._aborting = True
            self._inputs.put_nowait(_INTERRUPT)
            return True
        self.interrupted = True
        return False

    async def talk(self, rpc: Rpc) -> int:
        """Over one connection, until somebody leaves; returns the exit code.  Raises UnansweredError."""
        events = asyncio.create_task(self._watch(rpc))
        try:
            await self._begin(rpc)
            self._connected = True
            while True:
                await self._say_next(rpc)
                if self._left or (self._ended and not self._waiting and self._run is None):
                    break
                if not self._view.growing:
                    self._view.prompt()
                await self._take(rpc, await self._inputs.get())
        finally:
            self._connected = self._aborting = False
            events.cancel()
        return FAILED if self._failed and not self._view.interactive else 0

    # What is said here

    async def _take(self, rpc: Rpc, item: object) -> None:
        match item:
            case str():
                self._view.typed()
                if item.strip() == "/abort":
                    self._done()
                    await self._abort(rpc)
                elif self._view.interactive and item.strip() in {"/exit", "/new", "/help"}:  # somebody means: now
                    self._done()
                    await self._command(rpc, item.strip())
                else:
                    self._waiting.append(item)
            case (Rpc() as whose, ClosedError() as error) if whose is rpc:  # and not the one before
                raise error
            case _ if item is _INTERRUPT:
                self._view.interrupted()
                await self._abort(rpc)
            case _ if item is _END:
                self._ended = True
                self._left = self._view.interactive
            case _:
                pass

    async def _say_next(self, rpc: Rpc) -> None:
        """What was said while an answer was under way, in its order."""
        while self._waiting and self._run is None and not self._left:
            text = self._waiting.popleft()
            self._done()
            if text.strip() in {"/exit", "/new", "/help"}:
                await self._command(rpc, text.strip())
            elif text.strip():
                self._run = _Run(os.urandom(16).hex(), text)
                self._view.begin(self._run.id)
                await self._send(rpc, self._run)

    def _done(self) -> None:
        if self.lines is not None:
            self.lines.done()

    async def _command(self, rpc: Rpc, command: str) -> None:
        if command == "/exit":
            self._left = True
        elif command == "/help":
            self._view.note(_HELP)
        else:
            await self._new(rpc)

    async def _send(self, rpc: Rpc, run: _Run) -> None:
        params = {**self._session(), "message": run.text, "idempotencyKey": run.id, "deliver": False}
        try:
            answer = part(await rpc.request("chat.send", params, timeout=TIMEOUT))
        except FailedError as error:
            self._settle(run, str(error))
            return
        run.accepted = True
        if answer.get("status") not in {"started", "in_flight"} and self._run is run:
            self._catch_up(await self._history(rpc))  # it was over before this connection began

    async def _abort(self, rpc: Rpc) -> None:
        if not self._view.growing:
            self._view.note("nothing is under way")
            return
        try:
            answer = part(await rpc.request("chat.abort", self._session(), timeout=TIMEOUT))
        except FailedError as error:
            self._view.note(str(error))
        else:
            if not answer.get("aborted"):
                self._view.note("nothing is under way any more")

    async def _new(self, rpc: Rpc) -> None:
        params = {"key": f"chat-{os.urandom(8).hex()}"}
        if agent := self._agent():
            params["agentId"] = agent
        try:
            answer = part(await rpc.request("sessions.create", params, timeout=TIMEOUT))
        except FailedError as error:
            self._view.note(str(error))
            self._failed = True
            return
        self._key = str(answer.get("key") or params["key"])
        self._keys = {self._key}
        self._run = None
        self._view.keep()
        self._view.note(f"new session {self._key}")

    # What the gateway tells

    async def _watch(self, rpc: Rpc) -> None:
        try:
            async for event in rpc.events():
                self._show(event)
        except ClosedError as error:
            self._inputs.put_nowait((rpc, error))

    def _show(self, event: Event) -> None:
        payload = event.payload
        if event.name == "shutdown":
            self._view.note(str(payload.get("reason") or "the gateway stops"))
            return
        run = str(payload.get("runId", ""))
        mine = self._run is not None and self._run.id == run
        if not mine and payload.get("sessionKey") not in self._keys:
            return
        text = text_of(part(payload.get("message")))
        match payload.get("state"):
            case "delta":
                self._view.grow(run, text)
            case "final":
                self._view.grow(run, text)
                self._over(run)
            case "aborted":
                self._view.grow(run, text)
                self._over(run, "aborted")
            case "error":
                self._over(run, str(payload.get("errorMessage") or "the run failed"), failed=mine)
            case _:
                pass  # how far the preparations are

    def _over(self, run: str, note: str | None = None, *, failed: bool = False) -> None:
        """An answer is over, whoever asked for it."""
        self._view.finish(run)
        if note is not None:
            self._view.note(note)
        self._failed |= failed
        self._aborting = self._aborting and self._view.growing
        if self._run is not None and self._run.id == run:
            self._run = None
        self._inputs.put_nowait(_NEWS)

    def _settle(self, run: _Run, why: str) -> None:
        """There will be no answer."""
        if self._run is run:
            self._over(run.id, why, failed=True)

    # The session

    async def _begin(self, rpc: Rpc) -> None:
        """Show what was said before; after a restart of the gateway, go on where it was."""
        self._key = self._key or _main_session(rpc.hello, self._options.agent)
        history = await self._history(rpc)
        self._keys = {self._key, str(history.get("sessionKey") or self._key)}
        messages = _rows(history)
        if not self._greeted:
            self._greeted = True
            self._view.history(messages[len(messages) - self._options.history :] if self._options.history else ())
            self._view.note(f"session {history.get('sessionKey') or self._key}; /help tells the commands")
        self._catch_up(history)
        if self._run is not None:
            self._view.begin(self._run.id)
            if not self._run.accepted:
                await self._send(rpc, self._run)

    async def _history(self, rpc: Rpc) -> Mapping[str, Any]:
        params = {**self._session(), "limit": max(self._options.history, HISTORY)}
        return part(await rpc.request("chat.history", params, timeout=TIMEOUT))

    def _catch_up(self, history: Mapping[str, Any]) -> None:
        """The answer under way, and what has become of the one that somebody waits for here."""
        flight = part(history.get("inFlightRun"))
        self._view.keep(str(flight.get("runId")), "" if self._run is None else self._run.id)
        if flight:
            self._view.grow(str(flight.get("runId", "")), str(flight.get("text", "")))
        run = self._run
        if run is None or flight.get("runId") == run.id:
            return
        answer, heard = _answer_to(run.id, _rows(history))
        if answer is not None:
            self._view.grow(run.id, answer)
            self._over(run.id)
        elif run.accepted or heard:
            self._settle(run, "the gateway restarted before the answer was there; say it again")

    def _session(self) -> dict[str, Any]:
        """The parameters that name the session."""
        agent = self._options.agent
        return {"sessionKey": self._key} if agent is None else {"sessionKey": self._key, "agentId": agent}

    def _agent(self) -> str | None:
        """Whose session it is."""
        agent: str | None = self._options.agent
        return self._key.split(":")[1] if agent is None and self._key.startswith("agent:") else agent


def _main_session(hello: Mapping[str, Any], agent: str | None) -> str:
    defaults = part(part(hello.get("snapshot")).get("sessionDefaults"))
    if agent is not None:
        return f"agent:{agent}:{defaults.get('mainKey') or 'main'}"
    return str(defaults.get("mainSessionKey") or "agent:main:main")


def _rows(history: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    messages = history.get("messages")
    return [part(row) for row in messages] if isinstance(messages, list) else []


def _answer_to(run: str, rows: Iterable[Mapping[str, Any]]) -> tuple[str | None, bool]:
    """What was answered in a run, None where there is nothing, and whether what was said to it is there."""
    answer, heard = None, False
    for row in rows:
        if row.get("role") == "user":
            heard = heard or row.get("idempotencyKey") == f"{run}:user"
        elif row.get("role") == "assistant" and part(row.get(_META)).get("runId") == run:
            answer = (answer or "") + text_of(row)
    return answer, heard
