"""Fixtures for all tests.  The ones that start gateway processes stand in `e2e/processes.py`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "e2e"))
pytest_plugins = ["processes"]
