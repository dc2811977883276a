"""What clients are told unasked."""

from __future__ import annotations

__all__ = ["EVENTS"]

EVENTS = (
    "connect.challenge", "agent", "chat", "session.message", "sessions.changed", "presence", "tick", "shutdown",
    "health", "heartbeat", "config.changed", "device.pair.requested", "device.pair.resolved",
)  # fmt: skip
"""As they are listed in `features.events`."""
