"""The gateway: an OpenAI-compatible HTTP API and the OpenClaw WebSocket protocol, one port, for AI agents."""

from __future__ import annotations

__version__ = "0.1.0"
__all__ = ["__version__"]
