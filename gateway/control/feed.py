"""What happens in sessions, as those who follow them are told: `session.message` and `sessions.changed`."""

from __future__ import annotations

from asyncio import AbstractEventLoop, Task
from collections import deque
from collections.abc import Mapping
from logging import getLogger
from typing import Any

from ..errors import AgentError
from ..model.caller import OPERATOR
from ..model.chat import Message
from ..model.run import RunFailed, RunInput
from ..model.session import SessionInfo, Turn
from .hub import Hub
from .method import READ
from .record import Record
from .rows import Rows
from .services import Services
from .transcript import MARK, asked_rows, cut, rows_of

__all__ = ["Feed"]

WAITING = 1_000
"""Changes that are not told yet, each of which has to be looked up; of more, the oldest are not told."""

_logger = getLogger(__name__)


class _Change:
    """Something to be told of a session.  `info` is what it is now, where that is known."""

    __slots__ = ("info", "key", "more")

    def __init__(self, key: str, more: Mapping[str, Any], info: SessionInfo | None) -> None:
        self.key = key
        self.more = more
        self.info = info


class Feed:
    """Tells them.  It is a `conversation.Scribe`, and listens to the book of runs."""

    def __init__(self, services: Services, rows: Rows, loop: AbstractEventLoop) -> None:
        self._services = services
        self._hub: Hub = services.hub
        self._rows = rows
        self._loop = loop
        self._open: dict[str, tuple[str, list[dict[str, Any]]]] = {}  # by run: its session, and rows not kept yet
        self._changes: deque[_Change] = deque(maxlen=WAITING)
        self._teller: Task[None] | None = None

    def pending(self, key: str) -> list[dict[str, Any]]:
        """The rows of what runs under way were asked: they are kept with their answers."""
        return [row for session, rows in self._open.values() if session == key for row in rows]

    def waiting(self, record: Record) -> bool:
        """Whether a run under way waits for its turn in its session."""
        return record.run.session is not None and record.run.run_id not in self._open

    # -- what the conversations tell

    def began(self, run: RunInput, asked: tuple[Message, ...], first: int) -> None:
        """See `conversation.Scribe.began`."""
        key = run.session_key
        rows = list(asked_rows(run.run_id, asked, first, self._services.now()))
        self._open[run.run_id] = (key, rows)
        for row in rows:
            self._tell_message(key, run.agent_id, row)

    def kept(self, info: SessionInfo, turn: Turn) -> None:
        """See `conversation.Scribe.kept`."""
        record = self._services.book.find(turn.run_id, OPERATOR.id)
        if record is not None:
            record.tell()  # deltas come before the row of their answer, as the product has it
        _, told = self._open.pop(turn.run_id, ("", []))
        agent_id = turn.agent or self._services.roster.agent_of(info.key, info)
        seen = {row[MARK]["id"] for row in told}
        for row in rows_of([turn]):
            if row[MARK]["id"] not in seen:
                self._tell_message(info.key, agent_id, row, info)

    # -- what the book of runs tells

    def listen(self, record: Record, begins: bool) -> None:
        """A run begins, or is over."""
        if not begins:
            self._open.pop(record.run.run_id, None)
        if record.run.session is None:
            return
        failed = isinstance(record.ending, RunFailed) and not record.aborted
        phase = "start" if begins else "error" if failed else "end"
        reason = "agent.run.started" if begins else "agent.run.ended"
        self.changed(record.key, reason, phase=phase, runId=record.run.run_id)

    # -- what is told

    def changed(self, key: str, reason: str, info: SessionInfo | None = None, **more: Any) -> None:
        """Something about a session is another: `reason` in a word."""
        self._services.health.touched()
        if not self._hub.followed(key):
            return
        self._changes.append(_Change(key, {"reason": reason, **more, "ts": self._services.now()}, info))
        if self._teller is None:
            self._teller = self._loop.create_task(self._tell(), name="sessions")

    def close(self) -> None:
        """Tell no more."""
        if self._teller is not None:
            self._teller.cancel()

    async def _tell(self) -> None:
        try:
            while self._changes:
                change = self._changes.popleft()
                try:
                    info = change.info or await self._services.store.describe(change.key)
                except AgentError as error:
                    _logger.warning("clients are not told of a session: %s", error.message)
                    continue
                self._tell_change(change, info)
        finally:
            self._teller = None

    def _tell_change(self, change: _Change, info: SessionInfo | None) -> None:
        agent_id = self._services.roster.agent_of(change.key, info)
        payload: dict[str, Any] = {"sessionKey": change.key, "agentId": agent_id, **change.more}
        if info is not None:
            payload |= {"sessionId": info.id, "session": self._rows.row(info, OPERATOR)}
        self._hub.broadcast("sessions.changed", payload, scope=READ, about=change.key, topic=True)

    def _tell_message(self, key: str, agent_id: str, row: dict[str, Any], info: SessionInfo | None = None) -> None:
        if not self._hub.followed(key):
            return
        row = cut(row, None)
        mark = row[MARK]
        payload = {
            "sessionKey": key, "agentId": agent_id, "message": row, "messageId": mark["id"],
            "messageSeq": mark["seq"],
        }  # fmt: skip
        if info is not None:
            payload["session"] = self._rows.row(info, OPERATOR)
        self._hub.broadcast("session.message", payload, scope=READ, about=key, topic=True)
