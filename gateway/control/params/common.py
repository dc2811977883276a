"""Shapes that parameters of several methods have."""

from __future__ import annotations

from ..shapes import (
    ANY,
    COUNT,
    FLAG,
    IDS,
    NUMBER,
    POSITIVE,
    TEXT,
    Shape,
    array,
    choice,
    closed,
    const,
    literals,
    loose,
    record,
    text,
)

__all__ = ["ATTACHMENTS", "LABEL", "MENTIONS", "PERMISSION_MODE", "PROVENANCE", "TOOL_OVERRIDES"]

LABEL: Shape = text(1, 512)
"""The key or the label of a session."""

PERMISSION_MODE: Shape = literals("read-only", "guarded", "workspace", "full")
TOOL_OVERRIDES: Shape = closed(
    {"mcpServers?": record(FLAG), "mcpToolsDeny?": record(IDS), "skills?": record(FLAG), "webSearch?": FLAG}
)
ATTACHMENTS: Shape = array(
    loose(
        {
            "type?": TEXT,
            "mimeType?": TEXT,
            "fileName?": TEXT,
            "origin?": literals("paste", "file"),
            "content?": ANY,
            "sizeBytes?": NUMBER,
            "durationMs?": NUMBER,
            "width?": NUMBER,
            "height?": NUMBER,
        }
    )
)
MENTIONS: Shape = array(closed({"profileId": text(1, 256), "start": COUNT, "end": POSITIVE}), most=10)
PROVENANCE: Shape = closed(
    {
        "kind": choice("external_user", "inter_session", "internal_system"),
        "originSessionId?": TEXT,
        "sourceSessionKey?": TEXT,
        "sourceChannel?": TEXT,
        "sourceTool?": TEXT,
        "sourceRole?": const("subagent"),
        "sourcePromptPrefix?": TEXT,
        "jobId?": TEXT,
        "runId?": TEXT,
    }
)
