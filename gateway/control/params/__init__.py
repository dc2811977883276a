"""What methods take, and what a client must have been granted to call them.

    connect    the parameters of `connect`
    runs       the parameters of `agent.*` and `chat.*`
    sessions   those of `sessions.*`
    system     those of all other methods
    common     shapes that several of them have
    required   the scopes

Taken from the schemas of protocol 4, as the product checks them (MIT License, Copyright (c) 2026 OpenClaw Foundation).
The order of the fields is the order in which faults are said.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..shapes import Shape
from .connect import CONNECT
from .required import SCOPES, required_scope
from .runs import RUNS
from .sessions import SESSIONS
from .system import SYSTEM

__all__ = ["PARAMS", "SCOPES", "required_scope"]

PARAMS: Mapping[str, Shape] = {"connect": CONNECT, **RUNS, **SESSIONS, **SYSTEM}
"""Method -> what its parameters must look like; a call without parameters is checked as `{}`."""
