"""Packages of npm, for tests with clients in JavaScript.  Needs node and npm, and npm its registry."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["node_modules"]

OLDEST_NODE = 18


def node_modules(*packages: str) -> Path:
    """The folder that holds these packages (`name@version`); it is kept from one run of the tests to the next."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    if int(version.removeprefix("v").split(".", maxsplit=1)[0]) < OLDEST_NODE:
        pytest.skip(f"the packages need node {OLDEST_NODE}, and this is {version.strip()}")
    folder = "+".join(re.sub(r"[@/]+", "-", package).strip("-") for package in packages)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "gateway-tests", folder)
    names = [package.rpartition("@")[0] for package in packages]
    if not all((cache / "node_modules" / name / "package.json").exists() for name in names):
        cache.mkdir(parents=True, exist_ok=True)
        try:
            installed = subprocess.run(
                [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(cache), *packages],
                capture_output=True,
                text=True,
                timeout=45,
                check=False,
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"npm did not install {', '.join(names)} in time")
        if installed.returncode:
            pytest.skip(f"npm could not install {', '.join(names)}: {installed.stderr.strip()[-300:]}")
    return cache / "node_modules"
