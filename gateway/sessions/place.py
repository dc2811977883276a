"""Where the file of sessions is, whether it can be used, and what it means when it cannot.

A file that SQLite has open must not be opened and closed by anybody else of the same process: that would drop the
locks which keep processes apart.  So nothing here opens one that exists.
"""
# ruff: noqa: PTH100, PTH101, PTH103, PTH112, PTH113, PTH116, PTH118, PTH120 - pathlib would cost the start of the program 3 ms

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from contextlib import suppress
from os.path import abspath, dirname, isdir, isfile, join, lexists

from ..errors import ConfigError, StoreError
from ..model.names import DEFAULT_STATE_FOLDER, environment

__all__ = ["FILE_NAME", "check", "create", "explained", "file_of", "identity", "state_folder"]

FILE_NAME = "sessions.sqlite3"

_ALLOW = "Let the gateway's user write the file and its folder"
_BEGIN_ANEW = "Put a backup in its place, or move it away: then sessions begin anew"
_NO_ROOM = {getattr(errno, name, None) for name in ("ENOSPC", "EDQUOT", "EFBIG")}
_REMEDIES = {
    "SQLITE_FULL": "Make room on the disk",
    "SQLITE_IOERR": "Look after the disk: it may be full, or broken",
    "SQLITE_READONLY": _ALLOW,
    "SQLITE_PERM": _ALLOW,
    "SQLITE_CANTOPEN": _ALLOW,
    "SQLITE_BUSY": "Another process holds the file; end it, or give each gateway a file of its own",
    "SQLITE_CORRUPT": _BEGIN_ANEW,
    "SQLITE_NOTADB": _BEGIN_ANEW,
}


def file_of(store: str, environ: Mapping[str, str]) -> str:
    """The file that `session.store` means: for `sqlite` one in the state folder that the environment tells.

    Raises ConfigError where that tells no folder.
    """
    if store != "sqlite":
        return abspath(store)
    folder = state_folder(environ)
    if folder is None:
        raise ConfigError(
            f"session.store: there is no home directory to keep sessions in. Set {environment('STATE_DIR')[0]} to a "
            'folder, or session.store to a file, or to "memory"'
        )
    return join(folder, FILE_NAME)


def state_folder(environ: Mapping[str, str]) -> str | None:
    """The folder for what is kept from one start to the next; None where the environment tells none."""
    folder = next((environ[name] for name in environment("STATE_DIR") if environ.get(name)), DEFAULT_STATE_FOLDER)
    if folder.startswith("~/"):
        home = environ.get("HOME") or environ.get("USERPROFILE")
        if not home:
            return None
        folder = f"{home}/{folder[2:]}"
    return abspath(folder)


def check(path: str) -> bool:
    """Whether there is a file.  Raises ConfigError where it, or the first file in its place, could not be written."""
    remedy = 'Give the gateway\'s user the right to write there, name another file, or set session.store to "memory"'
    there = _existing(path)
    found = there == abspath(path)
    folder = dirname(there) if found else there
    if found and not isfile(there):
        raise ConfigError(f"session.store: {path} is not a file. Name another one")
    if not isdir(folder):
        raise ConfigError(f"session.store: {path} cannot be made: {folder} is not a folder. Name another file")
    if found and not os.access(there, os.R_OK | os.W_OK):
        raise ConfigError(f"session.store: {path} cannot be read and written. {remedy}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"session.store: {path} cannot be used: {folder} cannot be written. {remedy}")
    return found


def create(path: str) -> None:
    """Make the file, and the folders it stands in, where they are missing; nobody but the owner may read it.

    SQLite gives the files that it makes beside it the same mode.  Raises OSError.
    """
    file, there = abspath(path), _existing(path)
    if there not in {file, dirname(file)}:
        os.makedirs(dirname(file), 0o700, exist_ok=True)
        _sync(there)
    try:
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        with suppress(OSError):  # somebody else's, who lets us write
            if os.stat(file).st_mode & 0o077:
                os.chmod(file, 0o600)


def identity(path: str) -> tuple[int, int] | None:
    """Tells one file from another in its place; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def explained(error: Exception, path: str) -> StoreError:
    """What an error means to people: the file, the cause, and what would help."""
    place = f"sessions cannot be kept in {path}"
    if isinstance(error, StoreError):
        return error if error.message.startswith(place) else StoreError(f"{place}: {error.message}")
    if isinstance(error, OSError):
        remedy = _REMEDIES["SQLITE_FULL"] if error.errno in _NO_ROOM else _ALLOW
        return StoreError(f"{place}: {error.strerror or error}. {remedy}")
    name = str(getattr(error, "sqlite_errorname", ""))
    remedy = next((text for prefix, text in _REMEDIES.items() if name.startswith(prefix)), "The log may tell more")
    return StoreError(f"{place}: {error} ({name or type(error).__name__}). {remedy}")


def _existing(path: str) -> str:
    """The path, or the nearest above it that exists."""
    there = abspath(path)
    while not lexists(there) and there != dirname(there):
        there = dirname(there)
    return there


def _sync(folder: str) -> None:
    """Let the disk know of new entries; not all systems can."""
    with suppress(OSError):
        file = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
