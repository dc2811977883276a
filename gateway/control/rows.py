"""Sessions as clients see them: rows of lists, and the entries behind them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..model.caller import Caller
from ..model.names import OWN
from ..model.session import SessionInfo
from ..sessions.keys import bare, plain
from .record import Record
from .services import Services
from .sessions import MAIN

__all__ = ["Rows"]

# Settings that are only kept, as `sessions.patch` is given them, and shown.
_SHOWN = (
    "label", "autoLabel", "icon", "color", "category", "boardFace", "boardPresentation", "statusNote", "attention",
    "archived", "archivedAt", "pinned", "pinnedAt", "unread", "markedUnreadAt", "thinkingLevel", "fastMode",
    "verboseLevel", "traceLevel", "reasoningLevel", "responseUsage", "elevatedLevel", "execHost", "execSecurity",
    "execAsk", "execNode", "permissionMode", "sandboxMode", "sendPolicy", "groupActivation", "toolOverrides",
    "parentSessionKey", "parentSessionId", "spawnDepth", "contextWindow", "visibility",
)  # fmt: skip


class Rows:
    """Makes the rows for the sessions of a gateway."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @property
    def path(self) -> str:
        """Where sessions are kept, in words."""
        return self._services.health.path

    def model(self, agent_id: str, info: SessionInfo | None = None) -> str:
        """`provider/model` that answers in a session.  An agent that is a program is told as one of the gateway's."""
        entry = self._services.registry.by_id.get(agent_id)
        own = f"{OWN}/{agent_id}" if entry is None else self._services.roster.model(entry)
        return (info and info.model) or own

    def resolved(self, agent_id: str, info: SessionInfo | None = None) -> dict[str, Any]:
        """The same, as clients read it."""
        provider, _, model = self.model(agent_id, info).partition("/")
        return {"modelProvider": provider, "model": model}

    def defaults(self, agent_id: str | None = None) -> dict[str, Any]:
        """What holds for sessions that say nothing else."""
        default = self._services.registry.default
        agent_id = agent_id or ("" if default is None else default.id)
        return {**self.resolved(agent_id), **self._context(agent_id), "modelSelectionTarget": "session"}

    def entry(self, info: SessionInfo) -> dict[str, Any]:
        """What is kept of a session."""
        agent_id = self._services.roster.agent_of(info.key, info)
        return {
            "sessionId": info.id,
            "createdAt": _ms(info.created_at),
            "updatedAt": _ms(info.updated_at),
            **info.settings,
            **self._tokens(info),
            **self.resolved(agent_id, info),
        }

    def missing(self, key: str, agent_id: str, caller: Caller) -> dict[str, Any]:
        """The row of a session that there is not, or not yet."""
        records = self._services.book.active_in(key)
        return {
            "key": bare(caller.id, key),
            "kind": "direct",
            "agentId": agent_id,
            "updatedAt": None,
            **self._activity(records),
            **self.resolved(agent_id),
        }

    def row(self, info: SessionInfo, caller: Caller, running: Iterable[Record] | None = None) -> dict[str, Any]:
        """A row.  `running` are the runs in the session, where the caller has looked for them already."""
        services = self._services
        agent_id = services.roster.agent_of(info.key, info)
        settings = info.settings
        name = settings.get("label") or settings.get("displayName") or (MAIN if self.is_main(info.key) else None)
        records = list(services.book.active_in(info.key) if running is None else running)
        return {
            "key": bare(caller.id, info.key),
            "kind": "direct",
            "chatType": "direct",
            "agentId": agent_id,
            "isMain": self.is_main(info.key),
            "classification": _class(info.key),
            **({"displayName": name} if name else {}),
            "archived": False,
            "pinned": False,
            "unread": False,
            **{member: settings[member] for member in _SHOWN if member in settings},
            "sessionId": info.id,
            "createdAt": _ms(info.created_at),
            "updatedAt": _ms(info.updated_at),
            "lastActivityAt": _ms(info.updated_at),
            **self._tokens(info),
            **self._context(agent_id, info),
            **self.resolved(agent_id, info),
            "modelOverrideSource": "user" if info.model else None,
            **self._activity(records),
        }

    def _context(self, agent_id: str, info: SessionInfo | None = None) -> Mapping[str, int]:
        """The tokens that the model takes, where somebody said."""
        tokens = self._services.roster.context(self.model(agent_id, info))
        return {} if tokens is None else {"contextTokens": tokens}

    def is_main(self, key: str) -> bool:
        """Whether a session is that which its agent has without being told of one."""
        parts = plain(key).split(":")
        return len(parts) == 3 and parts[0] == "agent" and parts[2] == MAIN

    @staticmethod
    def _tokens(info: SessionInfo) -> Mapping[str, Any]:
        """Of the last turn; `totalTokens` is what the model had before it then."""
        prompt, completion = info.last[:2]
        return {
            "inputTokens": prompt,
            "outputTokens": completion,
            "totalTokens": prompt,
            "totalTokensFresh": bool(prompt),
        }

    @staticmethod
    def _activity(records: list[Record]) -> Mapping[str, Any]:
        active: dict[str, Any] = {
            "status": "running" if records else "done",
            "hasActiveRun": bool(records),
            "activeRunIds": [record.run.run_id for record in records],
        }
        if records:
            active["startedAt"] = records[0].started_at
        return active


def _class(key: str) -> str:
    """What a session is for, by its key: `main`, `explicit`, `openai-user`, `tui` ..."""
    return plain(key).removeprefix("agent:").partition(":")[2].partition(":")[0].partition("-")[0] or "direct"


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
