"""Fixtures for all tests.  The ones that start gateway processes stand in `e2e/processes.py`, and for those that are attacked in
`attacks/siege.py`.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from hypothesis import settings

# In CI the same examples in every run, so that a failure is the change's; elsewhere new ones each time.
settings.register_profile("ci", derandomize=True, database=None, deadline=None)
settings.register_profile("dev", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

HERE = Path(__file__).parent
# A shell that runs these tests in the background has them, and all the processes they start, ignore these signals.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Modules that several test files share.
sys.path[:0] = [str(HERE / folder) for folder in ("e2e", "attacks", "rules", "server", "sessions", "wire")]
pytest_plugins = ["processes", "siege"]


def pytest_unconfigure() -> None:
    """Name the threads that tests have left behind, which would keep the interpreter from ending, and end it."""
    left = [thread for thread in threading.enumerate() if thread is not threading.main_thread() and not thread.daemon]
    for thread in left:
        thread.join(3)
    if names := [repr(thread) for thread in left if thread.is_alive()]:
        print("tests left threads behind:", *names, file=sys.stderr, flush=True)
        sys.stdout.flush()
        os._exit(1)
