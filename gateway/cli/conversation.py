"""A conversation with an agent of a running gateway: what is said here, and what is told there."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

from ..model.names import PUBLIC
from .chat_view import ChatView, text_of
from .console import FAILED
from .rpc import Event, FailedError, Rpc, part

__all__ = ["Conversation"]

TIMEOUT = 30.0
"""Seconds for an answer that the gateway has at hand; an agent's answer may take what it takes."""

LEAST_HISTORY = 20
"""Messages that are asked for, however few are shown: among them is the answer to what was said last."""

MAX_RUNS = 64
"""Runs that are remembered, of those begun here and of those that are over: as many as a view follows."""

_HELP = "/abort ends the answer under way (or Ctrl-C), /new begins a new session, /exit leaves (or Ctrl-D)"


@dataclass
class _Run:
    """What was said to the agent here, and has no answer yet."""

    id: str
    text: str
    at: float
    """When it was said, on the monotonic clock."""
    accepted: bool = False
    """Whether the gateway has said that it has it."""


# Where a row of the history holds what is not of the conversation.
_META = f"__{PUBLIC}"

_FOLLOW = "sessions.messages.subscribe"

_NEWS = object()
_INTERRUPT = object()
_END = object()


class Conversation:
    """One conversation, over one connection after the other, in one session after the other.

    `key` names the session and `agent` the agent, None for those that the gateway would take; `history` is how many of
    the messages before are shown.  `read` is called when a line that was `heard` has been dealt with.
    """

    def __init__(
        self, view: ChatView, key: str | None, agent: str | None, history: int, read: Callable[[], None]
    ) -> None:
        self.interrupted = False
        self._view = view
        self._key = key or ""
        self._agent = agent
        self._shown = history
        self._read = read
        self._inputs: asyncio.Queue[object] = asyncio.Queue()  # `Lines` says how many there may be
        self._waiting: deque[str] = deque()
        self._run: _Run | None = None
        self._finished: deque[str] = deque(maxlen=MAX_RUNS)  # gateways say more of some, as of errors
        self._begun: deque[str] = deque(maxlen=MAX_RUNS)  # here
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
                    self._read()
                    await self._abort(rpc)
                elif self._view.interactive and item.strip() in {"/exit", "/new", "/help"}:  # somebody means: now
                    self._read()
                    await self._command(rpc, item.strip())
                else:
                    self._waiting.append(item)
            case (Rpc() as whose, Exception() as error) if whose is rpc:  # and not the one before
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
            self._read()
            if text.strip() in {"/exit", "/new", "/help"}:
                await self._command(rpc, text.strip())
            elif text.strip():
                self._run = _Run(os.urandom(16).hex(), text, monotonic())
                self._begun.append(self._run.id)
                self._view.begin(self._run.id)
                await self._send(rpc, self._run)

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
        if answer.get("status") in {"started", "in_flight"} or self._run is not run:
            return
        if not self._catch_up(await self._history(rpc)):  # it was over before this connection began
            self._settle(run, "the answer is not kept; say it again")

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
                if not self._catch_up(await self._history(rpc)) and self._run is not None:
                    self._settle(self._run, "the answer is not kept; say it again")

    async def _new(self, rpc: Rpc) -> None:
        params = {"key": f"chat-{os.urandom(8).hex()}"}
        prefix, _, rest = self._key.partition(":")
        if agent := self._agent or (rest.partition(":")[0] if prefix == "agent" else None):
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
        await self._follow(rpc)

    # What the gateway tells

    async def _watch(self, rpc: Rpc) -> None:
        try:
            async for event in rpc.events():
                self._show(event)
        except Exception as error:  # the connection is over, or nobody reads our output any more
            self._inputs.put_nowait((rpc, error))

    def _show(self, event: Event) -> None:
        payload = event.payload
        if event.name == "shutdown":
            self._view.note(str(payload.get("reason") or "the gateway stops"))
            return
        if event.name == "session.message":
            self._show_message(payload)
            return
        run = str(payload.get("runId", ""))
        mine = self._run is not None and self._run.id == run
        if run in self._finished or (not mine and payload.get("sessionKey") not in self._keys):
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

    def _show_message(self, payload: Mapping[str, Any]) -> None:
        """What others say to the agent; what it answers comes as it is said."""
        row = part(payload.get("message"))
        by_us = str(row.get("idempotencyKey", "")).removesuffix(":user") in self._begun
        if payload.get("sessionKey") in self._keys and row.get("role") == "user" and not by_us:
            self._view.history([row])

    def _over(self, run: str, note: str | None = None, *, failed: bool = False) -> None:
        """An answer is over, whoever asked for it."""
        self._finished.append(run)
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
        self._key = self._key or _main_session(rpc.hello, self._agent)
        history = await self._history(rpc)
        self._keys = {self._key, str(history.get("sessionKey") or self._key)}
        messages = _rows(history)
        if not self._greeted:
            self._greeted = True
            self._view.history(messages[-self._shown :] if self._shown else ())
            self._view.note(f"session {history.get('sessionKey') or self._key}; /help tells the commands")
        await self._follow(rpc)
        if self._catch_up(history) or self._run is None:
            return
        uptime = part(rpc.hello.get("snapshot")).get("uptimeMs")
        restarted = isinstance(uptime, int | float) and uptime / 1000 < monotonic() - self._run.at
        if restarted and (self._run.accepted or _heard(self._run.id, _rows(history))):
            self._settle(self._run, "the gateway restarted before the answer was there; say it again")
        else:  # under the same key: whatever has become of the first attempt, there is one run
            await self._send(rpc, self._run)

    async def _follow(self, rpc: Rpc) -> None:
        """Ask to be told what others say in the session, of a gateway that can."""
        methods = part(rpc.hello.get("features")).get("methods")
        if isinstance(methods, list) and _FOLLOW in methods:
            try:
                await rpc.request(_FOLLOW, {"key": self._key}, timeout=TIMEOUT)
            except FailedError as error:
                self._view.note(str(error))

    async def _history(self, rpc: Rpc) -> Mapping[str, Any]:
        params = {**self._session(), "limit": max(self._shown, LEAST_HISTORY)}
        return part(await rpc.request("chat.history", params, timeout=TIMEOUT))

    def _catch_up(self, history: Mapping[str, Any]) -> bool:
        """Show the answer under way, and the one that somebody waits for here; false where that is neither there."""
        flight = part(history.get("inFlightRun"))
        self._view.keep(str(flight.get("runId")), "" if self._run is None else self._run.id)
        if flight:
            self._view.grow(str(flight.get("runId", "")), str(flight.get("text", "")))
        run = self._run
        if run is None or flight.get("runId") == run.id:
            return True
        answer = _answer_in(run.id, _rows(history))
        if answer is None:
            return False
        self._view.grow(run.id, answer)
        self._over(run.id)
        return True

    def _session(self) -> dict[str, Any]:
        """The parameters that name the session."""
        return {"sessionKey": self._key} if self._agent is None else {"sessionKey": self._key, "agentId": self._agent}


def _main_session(hello: Mapping[str, Any], agent: str | None) -> str:
    defaults = part(part(hello.get("snapshot")).get("sessionDefaults"))
    if agent is not None:
        return f"agent:{agent}:{defaults.get('mainKey') or 'main'}"
    return str(defaults.get("mainSessionKey") or "agent:main:main")


def _rows(history: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    messages = history.get("messages")
    return [part(row) for row in messages] if isinstance(messages, list) else []


def _answer_in(run: str, rows: Iterable[Mapping[str, Any]]) -> str | None:
    """What was answered in a run; None where there is nothing."""
    texts = [
        text_of(row) for row in rows if row.get("role") == "assistant" and part(row.get(_META)).get("runId") == run
    ]
    return "".join(texts) if texts else None


def _heard(run: str, rows: Iterable[Mapping[str, Any]]) -> bool:
    """Whether what was said to a run is there."""
    return any(row.get("idempotencyKey") == f"{run}:user" for row in rows)
