"""What clients want kept with a session: its label, and how they show it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..errors import AgentError

__all__ = ["SETTINGS_BYTES", "merged", "packed", "unpacked"]

SETTINGS_BYTES = 16_384
"""Of all settings of one session, as JSON: labels and levels take some hundred."""

_dump = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def merged(settings: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with a change; what is None in it goes.  Raises AgentError (400) where they are too many."""
    after = {name: value for name, value in {**settings, **change}.items() if value is not None}
    if len(packed(after)) > SETTINGS_BYTES:
        message = f"The settings of a session may have {SETTINGS_BYTES} bytes; these have more."
        raise AgentError(message, code="session_settings_too_large", status=400)
    return after


def packed(settings: Mapping[str, Any]) -> str:
    """As JSON in ASCII; empty for none."""
    return _dump(dict(settings)) if settings else ""


def unpacked(text: str | None) -> dict[str, Any]:
    """What was packed; nothing where somebody else has written there."""
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
