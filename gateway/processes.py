"""Programs that the gateway starts: each leads a process group of its own, and is ended with all it has started."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress

__all__ = ["INHERITED", "bare_environment", "end_group", "start"]

INHERITED = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"),
    *("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"),
    *("SYSTEMROOT", "SYSTEMDRIVE", "PATHEXT", "COMSPEC", "APPDATA", "LOCALAPPDATA", "USERPROFILE", "TEMP", "TMP"),
)
"""Variables that a program gets without being named: where things are, and the language.  No secret is among them."""

REAP_TIME = 2.0
"""Seconds to wait for a killed program to be gone; only one that hangs in the kernel takes longer."""

_POSIX = sys.platform != "win32"


def bare_environment(environ: Mapping[str, str], added: Mapping[str, str]) -> dict[str, str]:
    """What a program gets of `environ`, and what is `added` to it."""
    inherited = {name: environ[name] for name in INHERITED if name in environ}
    return {"PATH": os.defpath, **inherited, **added}


async def start(argv: Sequence[str], environment: Mapping[str, str], folder: str | None = None) -> Process:
    """Start a program with pipes to it, without a shell.  Raises OSError, and ValueError for a NUL in an argument."""
    return await asyncio.create_subprocess_exec(
        *argv, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=dict(environment), cwd=folder, start_new_session=True
    )


async def end_group(process: Process) -> None:
    """Kill the program and all that it has started and that is still in its group, at once.

    Its pipes are closed, whoever else may hold them.  To be awaited to its end, also by who is cancelled meanwhile.
    """
    with suppress(ProcessLookupError, PermissionError):  # it is gone, or has become another user's
        if _POSIX:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + REAP_TIME
    try:
        # `wait` would wait for the ends of the pipes too, which a child in another group may hold.
        while process.returncode is None and loop.time() < deadline:  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0.005)
    finally:
        _close(process)


def _close(process: Process) -> None:
    transport = getattr(process, "_transport", None)  # there is no other way to it
    if transport is not None:
        with suppress(ProcessLookupError, PermissionError):
            transport.close()
