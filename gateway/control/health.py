"""How the gateway is: the payload of `health`, of its event, and of a part of the snapshot in hello."""

from __future__ import annotations

from asyncio import AbstractEventLoop, Task, TimerHandle, shield, sleep
from collections.abc import Callable, Mapping, Sequence
from logging import getLogger
from time import perf_counter
from typing import Any

from ..errors import AgentError
from ..model.caller import Caller
from ..model.session import SessionInfo
from ..ports import SessionStore
from ..records import NamedTuple
from ..sessions.keys import bare, owns
from .hub import Hub
from .problem import RpcError, rpc_error
from .roster import Roster

__all__ = ["NO_HEARTBEAT", "Health", "Overview", "View"]

_logger = getLogger(__name__)

LOOK_SECONDS = 60.0
"""Between two looks at the sessions for those who are told of a change unasked: the product's interval."""
FRESH_SECONDS = 1.0
"""How old an answer to `health` may be: with that, a thousand who ask at once cost one look."""
LOOK_SHARE = 10
"""Between two looks, so many times as long as one takes, a second at most: looking is not all there is to do."""
VIEWS = 256
"""Callers for whom what they see is kept until the next look."""
RECENT = 5
"""Sessions that are named, of each agent and of all: as many as the product names."""

NO_HEARTBEAT: Mapping[str, Any] = {
    "enabled": False, "every": "disabled", "everyMs": None, "prompt": "", "target": "none", "ackMaxChars": 0,
}  # fmt: skip
"""Nothing is run here at intervals."""


class Overview(NamedTuple):
    """The sessions at a time (milliseconds since the epoch), the last used first, and how long the look took."""

    at: int = 0
    duration_ms: int = 0
    sessions: tuple[SessionInfo, ...] = ()


class View(NamedTuple):
    """The sessions of one caller, by the keys that it knows: all, and those of each agent."""

    sessions: tuple[SessionInfo, ...]
    by_agent: Mapping[str, Sequence[SessionInfo]]


class Health:
    """`path` is where sessions are kept, in words.  `clock` gives seconds since the epoch."""

    def __init__(
        self,
        store: SessionStore,
        roster: Roster,
        hub: Hub,
        loop: AbstractEventLoop,
        clock: Callable[[], float],
        *,
        path: str,
        state_version: Callable[[], Mapping[str, int]],
    ) -> None:
        self.version = 1
        """Grows with each change that is told."""
        self.path = path
        self._store = store
        self._roster = roster
        self._hub = hub
        self._loop = loop
        self._clock = clock
        self._state_version = state_version
        self._overview = Overview()
        self._told: tuple[SessionInfo, ...] = ()
        self._looked = self._touched = -LOOK_SECONDS  # by the loop's clock: when the last look, and change, began
        self._look: Task[Overview] | None = None
        self._looking = False  # or it pauses before
        self._began = -LOOK_SECONDS
        self._views: dict[Caller, View] = {}
        self._timer: TimerHandle | None = None
        self._telling: Task[None] | None = None

    async def overview(self, age: float = FRESH_SECONDS) -> Overview:
        """The sessions, as they were at most `age` seconds ago, and after all that was `touched`.

        Raises RpcError (UNAVAILABLE).
        """
        if self._loop.time() - self._looked > age or self._touched >= self._looked:
            if self._look is None or (self._looking and self._touched >= self._began):
                self._looking = False
                self._look = self._loop.create_task(self._load(), name="health")
            try:
                return await shield(self._look)
            except AgentError as error:
                raise rpc_error(error) from error
        return self._overview

    def touched(self) -> None:
        """A session has changed: what was known of them is old."""
        self._touched = self._loop.time()

    async def payload(self, caller: Caller) -> dict[str, Any]:
        """As one caller sees it.  Raises RpcError (UNAVAILABLE) where the store cannot be read."""
        return self._shown(await self.overview(), caller)

    async def snapshot(self, caller: Caller) -> dict[str, Any]:
        """What is known without much ado, if it is a minute old; nothing where the store cannot be read."""
        if self._loop.time() - self._looked <= LOOK_SECONDS:
            return self._shown(self._overview, caller)
        try:
            return await self.payload(caller)
        except RpcError:
            return {}

    async def view(self, caller: Caller) -> View:
        """The sessions of a caller.  Raises RpcError (UNAVAILABLE)."""
        return self._view(await self.overview(), caller)

    def watch(self) -> None:
        """Tell the clients of changes, as long as there are some."""
        if self._timer is None:
            self._timer = self._loop.call_later(LOOK_SECONDS, self._due)

    def close(self) -> None:
        """Tell nobody any more."""
        for one in (self._timer, self._telling, self._look):
            if one is not None:
                one.cancel()

    async def _load(self) -> Overview:
        pause = min(LOOK_SHARE * self._overview.duration_ms / 1000, FRESH_SECONDS) + self._looked - self._loop.time()
        if pause > 0:
            await sleep(pause)
        look, began, started = self._look, self._loop.time(), perf_counter()
        self._looking, self._began = True, began
        try:
            sessions = await self._store.sessions()
        finally:
            if self._look is look:  # nobody has begun another, because of what happened since
                self._look, self._looking = None, False
        took = round((perf_counter() - started) * 1000)
        self._looked = began
        self._views.clear()
        self._overview = Overview(int(self._clock() * 1000), took, sessions)
        return self._overview

    def _due(self) -> None:
        self._timer = None
        if self._hub.clients:
            self._telling = self._loop.create_task(self._tell(), name="health")
            self.watch()

    async def _tell(self) -> None:
        try:
            overview = await self.overview(0.0)
        except RpcError as error:
            _logger.warning("the sessions cannot be looked at: %s", error.message)
            return
        if overview.sessions == self._told:
            return
        self._told = overview.sessions
        self.version += 1
        callers = {client.welcome.caller.id: client.welcome.caller for client in self._hub.clients}
        version = self._state_version()
        self._hub.broadcast(
            "health", lambda caller_id: self._shown(overview, callers[caller_id]), state_version=version
        )

    def _view(self, overview: Overview, caller: Caller) -> View:
        view = self._views.get(caller)
        if view is None:
            by_agent: dict[str, list[SessionInfo]] = {}
            mine = []
            agent_of = self._roster.agent_of
            for info in overview.sessions:
                if not owns(caller.id, info.key):
                    continue
                agent_id = agent_of(info.key, info)
                if agent_id and not caller.uses(agent_id):
                    continue
                known = info._replace(key=bare(caller.id, info.key)) if caller.id else info
                mine.append(known)
                by_agent.setdefault(agent_id, []).append(known)
            view = View(tuple(mine), by_agent)
            if overview is self._overview:
                if len(self._views) >= VIEWS:
                    self._views.clear()
                self._views[caller] = view
        return view

    def _shown(self, overview: Overview, caller: Caller) -> dict[str, Any]:
        roster = self._roster
        view = self._view(overview, caller)
        default = roster.default(caller)
        now = int(self._clock() * 1000)
        agents = []
        for entry in roster.agents(caller):
            sessions = view.by_agent.get(entry.id, ())
            shown = {"agentId": entry.id, "isDefault": entry is default, "heartbeat": NO_HEARTBEAT}
            if name := roster.name(entry.id):
                shown["name"] = name
            agents.append(shown | {"sessions": self._sessions(sessions, now)})
        return {
            "ok": True, "ts": overview.at, "durationMs": overview.duration_ms, "channels": {}, "channelOrder": [],
            "channelLabels": {}, "heartbeatSeconds": 0, "defaultAgentId": default.id if default else "",
            "agents": agents, "sessions": self._sessions(view.sessions, now),
        }  # fmt: skip

    def _sessions(self, sessions: Sequence[SessionInfo], now: int) -> dict[str, Any]:
        recent = []
        for info in sessions[:RECENT]:
            at = round(info.updated_at * 1000)
            recent.append({"key": info.key, "updatedAt": at, "age": max(0, now - at)})
        return {"path": self.path, "count": len(sessions), "recent": recent}
