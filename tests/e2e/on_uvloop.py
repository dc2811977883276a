"""`python on_uvloop.py MODULE ARGUMENTS...`: `python -m MODULE ARGUMENTS...` on uvloop, for commands without that option."""

from __future__ import annotations

import asyncio
import runpy
import sys
import warnings
from importlib import import_module

if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from Python 3.14 on
        asyncio.set_event_loop_policy(import_module("uvloop").EventLoopPolicy())
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
