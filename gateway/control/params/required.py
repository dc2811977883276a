"""What a client must have been granted before it may call a method."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ..scopes import ADMIN, PAIRING, READ, WRITE

__all__ = ["SCOPES", "required_scope"]

_METHODS: Mapping[str | None, tuple[str, ...]] = {
    None: ("health",),
    READ: (
        "agent.identity.get",
        "agents.list",
        "channels.status",
        "chat.history",
        "chat.metadata",
        "chat.startup",
        "commands.list",
        "config.get",
        "config.schema",
        "config.schema.lookup",
        "cron.list",
        "cron.status",
        "diagnostics.stability",
        "last-heartbeat",
        "logs.tail",
        "models.authStatus",
        "models.list",
        "node.list",
        "sessions.describe",
        "sessions.list",
        "sessions.messages.subscribe",
        "sessions.messages.unsubscribe",
        "sessions.preview",
        "sessions.resolve",
        "sessions.subscribe",
        "sessions.usage",
        "status",
        "system-presence",
        "taskSuggestions.list",
        "tools.catalog",
        "tools.effective",
        "usage.cost",
        "usage.status",
    ),
    WRITE: (
        "agent",
        "agent.wait",
        "chat.abort",
        "chat.send",
        "sessions.abort",
        "sessions.create",
        "sessions.patch",
        "sessions.send",
        "tools.invoke",
        "wake",
    ),
    ADMIN: (
        "chat.inject",
        "config.apply",
        "config.patch",
        "config.set",
        "connect",
        "sessions.compact",
        "sessions.delete",
        "sessions.reset",
        "set-heartbeats",
        "system-event",
        "update.status",
    ),
    "operator.approvals": (
        "exec.approval.list",
        "plugin.approval.list",
    ),
    PAIRING: (
        "device.pair.approve",
        "device.pair.list",
        "device.pair.reject",
        "device.pair.remove",
        "device.token.revoke",
        "device.token.rotate",
    ),
    "operator.questions": ("question.list",),
}

SCOPES: Mapping[str, str | None] = {method: scope for scope, methods in _METHODS.items() for method in methods}
"""Method -> what its call needs at least.  `health` needs nothing; some calls need more: see `required_scope`."""

# Whoever may write may change what a session looks like and which model answers; not where programs run.
_PATCHED_BY_WRITERS = frozenset(
    {
        "key",
        "agentId",
        "expectedSessionId",
        "expectedLifecycleRevision",
        "expectedPermissionMode",
        "expectedMarkedUnreadAt",
        "label",
        "autoLabel",
        "icon",
        "color",
        "category",
        "boardFace",
        "boardPresentation",
        "pinned",
        "archived",
        "unread",
        "model",
        "agentRuntime",
        "thinkingLevel",
        "fastMode",
        "permissionMode",
    }
)
_DELETED_BY_WRITERS = frozenset({"key", "agentId", "deleteTranscript", "expectedSessionId", "archivedOnly"})

_STARTS_ANEW = re.compile(r"/(new|reset)(\s.*)?", re.IGNORECASE | re.DOTALL)
_INCOGNITO = re.compile(r"agent:[^:]+:(dashboard|subagent|internal-session-effects):incognito-[^:]+")


def _for_agent(params: Mapping[str, Any]) -> str:
    message = params.get("message")
    return ADMIN if isinstance(message, str) and _STARTS_ANEW.fullmatch(message) else WRITE


def _for_create(params: Mapping[str, Any]) -> str:
    hidden = params.get("incognito") is True or any(
        isinstance(key, str) and _INCOGNITO.fullmatch(key.strip().lower())
        for key in (params.get("key"), params.get("parentSessionKey"))
    )
    free = "execNode" in params or "toolOverrides" in params or params.get("permissionMode") == "full"
    return ADMIN if hidden or free else WRITE


def _for_patch(params: Mapping[str, Any]) -> str:
    free = params.get("permissionMode") == "full" or not params.keys() <= _PATCHED_BY_WRITERS
    return ADMIN if free else WRITE


def _for_delete(params: Mapping[str, Any]) -> str:
    archived = params.get("archivedOnly") is True and params.keys() <= _DELETED_BY_WRITERS
    return WRITE if archived else ADMIN


_BY_PARAMS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "agent": _for_agent,
    "sessions.create": _for_create,
    "sessions.delete": _for_delete,
    "sessions.patch": _for_patch,
}


def required_scope(method: str, params: Any) -> str | None:
    """What this call needs; None: nothing.  `params` as they came, before they are checked.

    A method that is not in SCOPES needs `operator.admin`.
    """
    asked = _BY_PARAMS.get(method)
    if asked is not None and isinstance(params, dict):
        return asked(params)
    return SCOPES.get(method, ADMIN)
