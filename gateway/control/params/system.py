"""Parameters of all methods but `agent.*`, `chat.*` and `sessions.*`."""

from __future__ import annotations

from collections.abc import Mapping

from ..shapes import (
    ANY,
    COUNT,
    FLAG,
    ID,
    IDS,
    NUMBER,
    TEXT,
    Shape,
    array,
    closed,
    const,
    either,
    literals,
    loose,
    record,
    text,
    whole,
)
from .common import LABEL

__all__ = ["SYSTEM"]

_DELIVERY = closed({"channel?": TEXT, "to?": TEXT, "accountId?": TEXT, "threadId?": either(TEXT, NUMBER)})

_UNCHECKED = loose({})
"""Methods of the product that take whatever object they are given."""

SYSTEM: Mapping[str, Shape] = {
    "agents.list": closed({}),
    "channels.status": closed({"probe?": FLAG, "timeoutMs?": COUNT, "channel?": ID}),
    "commands.list": closed(
        {
            "sessionKey?": ID,
            "agentId?": ID,
            "provider?": ID,
            "scope?": literals("text", "native", "both"),
            "includeArgs?": FLAG,
        }
    ),
    "config.apply": closed(
        {
            "raw": ID,
            "baseHash?": ID,
            "sessionKey?": TEXT,
            "deliveryContext?": _DELIVERY,
            "note?": TEXT,
            "restartDelayMs?": COUNT,
        }
    ),
    "config.get": closed({}),
    "config.patch": closed(
        {
            "raw": ID,
            "baseHash?": ID,
            "sessionKey?": TEXT,
            "deliveryContext?": _DELIVERY,
            "note?": TEXT,
            "restartDelayMs?": COUNT,
            "replacePaths?": array(ID, most=256),
        }
    ),
    "config.schema": closed({}),
    "config.schema.lookup": closed({"path": text(1, 1024, pattern=r"^[A-Za-z0-9_./\[\]\-*]+$")}),
    "config.set": closed({"raw": ID, "baseHash?": ID}),
    "cron.list": closed(
        {
            "sessionKey?": ID,
            "sessionAgentId?": ID,
            "includeDisabled?": FLAG,
            "limit?": whole(1, 200),
            "offset?": COUNT,
            "query?": TEXT,
            "enabled?": literals("all", "enabled", "disabled"),
            "scheduleKind?": literals("all", "at", "every", "cron", "on-exit", "stream"),
            "lastRunStatus?": literals("all", "ok", "error", "skipped", "unknown"),
            "trigger?": literals("all", "conditional", "unconditional"),
            "sortBy?": literals("nextRunAtMs", "updatedAtMs", "name"),
            "sortDir?": literals("asc", "desc"),
            "agentId?": ID,
            "compact?": FLAG,
            "includeDeliveryPreviews?": FLAG,
        }
    ),
    "cron.status": closed({}),
    "device.pair.approve": closed({"requestId": ID}),
    "device.pair.list": closed({}),
    "device.pair.reject": closed({"requestId": ID}),
    "device.pair.remove": closed({"deviceId": ID}),
    "device.token.revoke": closed({"deviceId": ID, "role": ID}),
    "device.token.rotate": closed({"deviceId": ID, "role": ID, "scopes?": IDS}),
    "logs.tail": closed({"cursor?": COUNT, "limit?": whole(1, 5000), "maxBytes?": whole(1, 1000000)}),
    "models.list": closed(
        {
            "agentId?": ID,
            "sessionKey?": ID,
            "authProfileId?": text(1, 256),
            "provider?": ID,
            "includeDetails?": FLAG,
            "includeProviderCapabilities?": FLAG,
            "includeDefaultModels?": FLAG,
            "preparedOnly?": FLAG,
            "refresh?": FLAG,
            "view?": literals("default", "configured", "provider-config", "all"),
        },
        never=[{"preparedOnly": const(True), "refresh": const(True)}, {"sessionKey": ANY, "authProfileId": ANY}],
    ),
    "node.list": closed({}),
    "question.list": closed({}),
    "system-event": closed(
        {
            "text": TEXT,
            "idempotencyKey?": ID,
            "sessionKey?": TEXT,
            "wake?": FLAG,
            "deviceId?": TEXT,
            "instanceId?": TEXT,
            "host?": TEXT,
            "ip?": TEXT,
            "mode?": TEXT,
            "version?": TEXT,
            "platform?": TEXT,
            "deviceFamily?": TEXT,
            "modelIdentifier?": TEXT,
            "lastInputSeconds?": NUMBER,
            "reason?": TEXT,
            "roles?": array(TEXT),
            "scopes?": array(TEXT),
            "tags?": array(TEXT),
        }
    ),
    "taskSuggestions.list": closed({"sessionKey?": LABEL, "agentId?": text(1, 128)}),
    "tools.catalog": closed({"agentId?": ID, "includePlugins?": FLAG}),
    "tools.effective": closed({"agentId?": ID, "sessionKey": ID}),
    "tools.invoke": closed(
        {
            "name": ID,
            "args?": record(ANY),
            "sessionKey?": ID,
            "agentId?": ID,
            "confirm?": FLAG,
            "idempotencyKey?": ID,
            "conversationReadOrigin?": const("direct-operator"),
        }
    ),
    "update.status": closed({"refreshCheckout?": FLAG}),
    "wake": loose({"mode": literals("now", "next-heartbeat"), "text": ID, "sessionKey?": ID, "agentId?": ID}),
    "diagnostics.stability": _UNCHECKED,
    "exec.approval.list": _UNCHECKED,
    "health": _UNCHECKED,
    "last-heartbeat": _UNCHECKED,
    "models.authStatus": _UNCHECKED,
    "plugin.approval.list": _UNCHECKED,
    "set-heartbeats": _UNCHECKED,
    "status": _UNCHECKED,
    "system-presence": _UNCHECKED,
    "usage.cost": _UNCHECKED,
    "usage.status": _UNCHECKED,
}
