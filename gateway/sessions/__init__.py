"""Where conversations live.

keys    which session a request belongs to
lanes   one run at a time in each session, first come, first served
store   the turns of sessions, in memory
"""

from __future__ import annotations

__all__: list[str] = []
