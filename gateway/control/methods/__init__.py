"""What clients can ask for, by family: each file gives its methods for a gateway's services."""

from __future__ import annotations

__all__: list[str] = []
