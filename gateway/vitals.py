"""What the operating system knows of this process.  What it does not tell here is None."""

from __future__ import annotations

import os
from contextlib import suppress
from time import process_time

__all__ = ["cpu_seconds", "most_files", "open_files", "resident_bytes", "started_at"]

_STATE = "/proc/self/stat"
_FILES = "/proc/self/fd"


def cpu_seconds() -> float:
    """The time that it was running, in user and in system mode."""
    return process_time()


def resident_bytes() -> int | None:
    """Its memory that is in RAM."""
    fields = _state()
    return None if fields is None else int(fields[21]) * os.sysconf("SC_PAGE_SIZE")


def started_at() -> float | None:
    """In seconds since the epoch."""
    fields = _state()
    with suppress(OSError, ValueError), open("/proc/stat", encoding="ascii") as file:  # noqa: PTH123 - pathlib costs the start more than this
        booted = next((line for line in file if line.startswith("btime ")), None)
        if booted is not None and fields is not None:
            return int(booted.split()[1]) + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return None


def open_files() -> int | None:
    """File descriptors, sockets among them."""
    with suppress(OSError):
        # Since Linux 6.2 the size of the folder is their number; to list ten thousand takes milliseconds.
        return os.stat(_FILES).st_size or len(os.listdir(_FILES))  # noqa: PTH116, PTH208 - pathlib costs the start more than this
    return None


def most_files() -> int | None:
    """How many it may have."""
    with suppress(AttributeError, OSError, ValueError):
        limit = os.sysconf("SC_OPEN_MAX")
        return None if limit < 0 else limit
    return None


def _state() -> list[str] | None:
    """The fields of proc(5), `/proc/pid/stat`, from the third on: the second is a name with any characters."""
    with suppress(OSError), open(_STATE, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - pathlib costs the start more than this
        return file.read().rpartition(")")[2].split()
    return None
