"""Fixtures for all tests.  The ones that start gateway processes stand in `e2e/processes.py`."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "e2e"), str(HERE / "rules")]  # modules that several test files share
pytest_plugins = ["processes"]
