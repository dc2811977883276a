"""The OpenClaw gateway protocol over WebSocket.

ed25519   the signatures that devices prove themselves with
"""

from __future__ import annotations

__all__: list[str] = []
