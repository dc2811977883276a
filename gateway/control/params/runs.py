"""Parameters of `agent.*` and `chat.*`."""

from __future__ import annotations

from collections.abc import Mapping

from ..shapes import (
    ANY,
    COUNT,
    FLAG,
    ID,
    NUMBER,
    POSITIVE,
    TEXT,
    Shape,
    array,
    choice,
    closed,
    const,
    either,
    literals,
    nullable,
    record,
    text,
    whole,
)
from .common import ATTACHMENTS, LABEL, MENTIONS, PERMISSION_MODE, PROVENANCE, TOOL_OVERRIDES

__all__ = ["RUNS"]

_HISTORY = closed(
    {
        "sessionKey": ID,
        "agentId?": ID,
        "cursor?": TEXT,
        "limit?": whole(1, 1000),
        "maxBytes?": whole(1024),
        "offset?": COUNT,
        "pendingBefore?": POSITIVE,
        "inputRunIds?": array(text(1, 256), least=1, most=50, unique=True),
        "messageId?": ID,
        "sessionId?": ID,
        "maxChars?": whole(1, 500000),
    }
)

_WORK_CONTEXT = closed(
    {
        "page": text(1, 64),
        "title?": text(most=96),
        "sessionKey?": text(most=192),
        "sessionId?": text(most=64),
        "agentId?": text(most=64),
        "workspace?": text(most=224),
        "file?": text(most=224),
        "selection?": text(most=640),
    }
)

_EVENTS = array(
    closed(
        {
            "type": const("task_completion"),
            "source": choice("subagent", "cron", "image_generation", "video_generation", "music_generation"),
            "childSessionKey": TEXT,
            "childSessionId?": TEXT,
            "announceType": TEXT,
            "taskLabel": TEXT,
            "status": choice("ok", "timeout", "error", "unknown"),
            "statusLabel": TEXT,
            "result": TEXT,
            "noVisibleResult?": FLAG,
            "modelRouteChange?": TEXT,
            "attachments?": array(
                closed(
                    {
                        "type?": choice("image", "audio", "video", "file"),
                        "path?": TEXT,
                        "url?": TEXT,
                        "mediaUrl?": TEXT,
                        "filePath?": TEXT,
                        "mimeType?": TEXT,
                        "name?": TEXT,
                        "sizeBytes?": NUMBER,
                        "durationMs?": NUMBER,
                        "width?": NUMBER,
                        "height?": NUMBER,
                    }
                )
            ),
            "mediaUrls?": array(TEXT),
            "statsLine?": TEXT,
            "replyInstruction": TEXT,
        }
    )
)

RUNS: Mapping[str, Shape] = {
    "agent": closed(
        {
            "message": ID,
            "agentId?": ID,
            "provider?": TEXT,
            "model?": TEXT,
            "to?": TEXT,
            "replyTo?": TEXT,
            "sessionId?": TEXT,
            "sessionKey?": TEXT,
            "expectedExistingSessionId?": ID,
            "thinking?": TEXT,
            "deliver?": FLAG,
            "attachments?": array(ANY),
            "channel?": TEXT,
            "replyChannel?": TEXT,
            "accountId?": TEXT,
            "replyAccountId?": TEXT,
            "threadId?": TEXT,
            "groupId?": TEXT,
            "groupChannel?": TEXT,
            "groupSpace?": TEXT,
            "timeout?": COUNT,
            "bestEffortDeliver?": FLAG,
            "lane?": TEXT,
            "cwd?": ID,
            "cleanupBundleMcpOnRunEnd?": FLAG,
            "modelRun?": FLAG,
            "promptMode?": literals("full", "minimal", "none"),
            "extraSystemPrompt?": TEXT,
            "bootstrapContextMode?": literals("full", "lightweight"),
            "bootstrapContextRunKind?": literals("default", "heartbeat", "cron"),
            "acpTurnSource?": const("manual_spawn"),
            "internalRuntimeHandoffId?": ID,
            "internalExecutionIdentityRetry?": FLAG,
            "internalExecutionIdentityRecoveryAttempt?": POSITIVE,
            "execApprovalFollowupExpectedSessionId?": ID,
            "internalEvents?": _EVENTS,
            "inputProvenance?": PROVENANCE,
            "suppressPromptPersistence?": FLAG,
            "sessionEffects?": literals("visible", "internal"),
            "sourceReplyDeliveryMode?": literals("automatic", "message_tool_only"),
            "disableMessageTool?": FLAG,
            "swarmCollector?": FLAG,
            "swarmOutputSchema?": record(ANY),
            "forceRestartSafeTools?": FLAG,
            "forceCodeModeTools?": FLAG,
            "voiceWakeTrigger?": TEXT,
            "idempotencyKey": ID,
            "label?": LABEL,
        }
    ),
    "agent.identity.get": closed({"agentId?": ID, "sessionKey?": TEXT}),
    "agent.wait": closed({"runId": ID, "timeoutMs?": COUNT}),
    "chat.abort": closed({"sessionKey": ID, "agentId?": ID, "runId?": ID, "preserveSideRuns?": FLAG}),
    "chat.history": _HISTORY,
    "chat.inject": closed({"sessionKey": ID, "agentId?": ID, "message": ID, "label?": text(most=100)}),
    "chat.metadata": closed(
        {"agentId?": ID, "authProfileId?": text(1, 256), "sessionKey?": ID},
        never=[{"sessionKey": ANY, "authProfileId": ANY}],
    ),
    "chat.send": closed(
        {
            "sessionKey": LABEL,
            "agentId?": ID,
            "sessionId?": ID,
            "message": TEXT,
            "mentions?": MENTIONS,
            "workContext?": _WORK_CONTEXT,
            "intent?": closed({"kind": const("session-goal-start"), "version": const(1), "issuedAtMs": COUNT}),
            "thinking?": TEXT,
            "fastMode?": either(FLAG, const("auto")),
            "fastAutoOnSeconds?": POSITIVE,
            "queueMode?": choice("steer", "followup", "collect", "interrupt"),
            "deliver?": FLAG,
            "originatingChannel?": TEXT,
            "originatingTo?": TEXT,
            "originatingAccountId?": TEXT,
            "originatingThreadId?": TEXT,
            "replyToId?": ID,
            "attachments?": ATTACHMENTS,
            "toolBindings?": record(ANY, most=16),
            "timeoutMs?": COUNT,
            "systemInputProvenance?": PROVENANCE,
            "systemProvenanceReceipt?": TEXT,
            "suppressCommandInterpretation?": FLAG,
            "expectedLeafEntryId?": nullable(ID),
            "expectedSessionRoutingContract?": ID,
            "expectedPermissionMode?": nullable(PERMISSION_MODE),
            "expectedToolOverrides?": nullable(TOOL_OVERRIDES),
            "idempotencyKey": ID,
        }
    ),
    "chat.startup": either(
        _HISTORY,
        closed({"shortId": ID, "slugHint?": ID, "agentId": ID, "limit?": whole(1, 1000), "maxBytes?": whole(1024)}),
    ),
}
