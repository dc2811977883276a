"""Fixtures for all tests.  The ones that start gateway processes stand in `e2e/processes.py`, for those that are attacked in
`attacks/siege.py`, and for the clients of OpenClaw in `e2e/openclaw_product.py`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import settings

try:
    import fcntl
except ImportError:  # on Windows tests run one after another
    fcntl = None  # type: ignore[assignment]  # what is missing is looked for before it is used

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
FOLDERS = (
    "agents",
    "attacks",
    "cli",
    "control",
    "durability",
    "e2e",
    "providers",
    "rules",
    "server",
    "sessions",
    "wire",
    "workers",
)
sys.path[:0] = [str(HERE / folder) for folder in FOLDERS]
pytest_plugins = ["processes", "siege", "openclaw_product"]  # the first one is what the others import


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--loop", choices=("asyncio", "uvloop"), default="asyncio", help="what the tests run on")


def pytest_configure(config: pytest.Config) -> None:
    """With `--loop uvloop` tests run on it, and so do the gateways that they start (`processes.Launch`)."""
    if config.getoption("--loop") == "asyncio":
        return
    os.environ["TESTS_LOOP"] = "uvloop"
    # An error there would keep a loop of uvloop from closing what a failed test has left open: it would wait for ever.
    config.addinivalue_line("filterwarnings", "default:unclosed resource:ResourceWarning")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from Python 3.14 on
        asyncio.set_event_loop_policy(import_module("uvloop").EventLoopPolicy())
    asyncio.run(asyncio.sleep(0))  # from its first loop on, it keeps two descriptors open; tests count descriptors


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `alone` come last, so that the others need not wait for them again and again."""
    items.sort(key=lambda item: item.get_closest_marker("alone") is not None)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """With several workers (`-n`), a test marked `alone` runs while no other does: it measures, or floods."""
    worker = getattr(item.config, "workerinput", None)
    if worker is None or fcntl is None:
        return (yield)
    room = Path(tempfile.gettempdir()) / f"gateway-tests-{worker['testrunuid']}"
    with ExitStack() as stack:
        gate, floor = (stack.enter_context(room.with_suffix(f".{name}").open("w")) for name in ("gate", "floor"))
        fcntl.flock(gate, fcntl.LOCK_EX)  # who wants to be alone keeps it shut meanwhile, so that nobody new comes in
        alone = item.get_closest_marker("alone") is not None
        fcntl.flock(floor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        if not alone:
            fcntl.flock(gate, fcntl.LOCK_UN)
        return (yield)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Commands that run in this process set the level of the package's logger."""
    logger = logging.getLogger("gateway")
    level = logger.level
    yield
    logger.setLevel(level)


def pytest_unconfigure() -> None:
    """Name the threads that tests have left behind, which would keep the interpreter from ending, and end it."""
    left = [thread for thread in threading.enumerate() if thread is not threading.main_thread() and not thread.daemon]
    for thread in left:
        thread.join(3)
    if names := [repr(thread) for thread in left if thread.is_alive()]:
        print("tests left threads behind:", *names, file=sys.stderr, flush=True)
        sys.stdout.flush()
        os._exit(1)
