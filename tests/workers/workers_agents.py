"""Agents for several processes: they tell where they run, and do what agents should not."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from gateway import RunInput

if Path(os.environ["E2E_MARKS"], "crash").exists():
    os._exit(3)
if Path(os.environ["E2E_MARKS"], "refuse").exists():
    raise ImportError("nothing to import today")


async def pid(_run: RunInput) -> str:
    return str(os.getpid())


async def slow(run: RunInput) -> AsyncIterator[str]:
    Path(os.environ["E2E_MARKS"], run.request.messages[-1].text).touch()
    yield f"{os.getpid()} begins, "
    await asyncio.sleep(1.5)
    yield "and ends"


async def stuck(_run: RunInput) -> str:
    time.sleep(30)
    return "never"


async def surroundings(_run: RunInput) -> str:
    """What a program that an agent starts has of the environment, and of open files."""
    code = (
        "import os, signal; print(sorted(key for key in os.environ if key.startswith(('GATEWAY', 'LISTEN', 'NOTIFY')))"
        ", sorted(map(int, os.listdir('/proc/self/fd')))[:5]"
        ", signal.getsignal(signal.SIGINT) == signal.default_int_handler, signal.getsignal(signal.SIGHUP).name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, close_fds=False)
    return done.stdout
