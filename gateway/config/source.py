"""The file that a configuration came from, for programs that look at it and change it.

ConfigSource  reads and replaces the file
Snapshot      what it held
differences   which options differ between two configurations

All of it blocks: it is for threads.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

from ..errors import ConfigError
from ..records import NamedTuple
from .edit import MAX_DEPTH
from .fields import SectionClass
from .json5 import Document, Json5Error, parse
from .loader import MAX_FILE_BYTES, Loaded
from .tree import Place, Problem

__all__ = ["ConfigSource", "Snapshot", "SourceChangedError", "SourceUnwritableError", "differences"]

_KEY_BYTES = 32


class SourceChangedError(Exception):
    """The file is no longer what it was when the change to it was begun."""


class SourceUnwritableError(Exception):
    """The file could not be written; it is as it was.  The text says why."""


class Snapshot(NamedTuple):
    """What the file held.  `document` is None where it is not JSON5, `loaded` where it cannot be used.

    `problems` tell why.  `hash` tells this content from every other.
    """

    path: str
    exists: bool
    text: str
    hash: str
    document: Document | None
    loaded: Loaded | None
    problems: tuple[str, ...] = ()


class ConfigSource:
    """A configuration file.

    `load` gives the configuration that a text in its place would be, flags and all; `check` raises ConfigError for one
    that a gateway could not start with.

    Hashes are keyed, with a key that ends with the process: whoever sees a text without its secrets, and a plain digest
    of all of it, could try out secrets until it fits.
    """

    def __init__(
        self, path: str, load: Callable[[str], Loaded], check: Callable[[Loaded], object] | None = None
    ) -> None:
        self.path = os.path.abspath(path)  # noqa: PTH100 - paths are text here
        self._load = load
        self._check = check
        self._key = os.urandom(_KEY_BYTES)

    def read(self) -> Snapshot:
        """What the file holds now.  Raises ConfigError where it cannot be read."""
        data = self._bytes()
        digest = self._hash(data)
        text, fault = "", None
        try:
            text = (data or b"").decode()
            document: Document | None = parse(text, MAX_DEPTH) if data is not None else parse("{}")
        except UnicodeDecodeError:
            document, fault = None, Problem(Place(self.path, 1, 1), (), "this is not UTF-8. Save it as UTF-8")
        except Json5Error as error:
            document, fault = None, Problem(Place(self.path, error.line, error.column), error.path, error.msg)
        snapshot = Snapshot(self.path, data is not None, text, digest, document, None)
        if fault is not None:
            return snapshot._replace(problems=(fault,))
        try:
            return snapshot._replace(loaded=self._load(text or "{}"))
        except ConfigError as error:
            return snapshot._replace(problems=error.problems)

    def replace(self, before: Snapshot, text: str) -> Snapshot:
        """Put `text`, if it is a configuration, in the place of what was there `before`; gives what is there then.

        The file is either the old one or the new one, whatever happens; its mode and its owner stay.
        Raises ConfigError, with all problems of the text; SourceChangedError; SourceUnwritableError.
        """
        data = text.encode()
        if len(data) > MAX_FILE_BYTES:
            raise ConfigError(f"{self.path}: this would be larger than {MAX_FILE_BYTES} bytes")
        loaded = self._load(text)
        if self._check is not None:
            self._check(loaded)
        if self._hash(self._bytes()) != before.hash:
            raise SourceChangedError(self.path)
        try:
            _replace_file(os.path.realpath(self.path), data)
        except OSError as error:
            message = f"{self.path}: this file cannot be written: {error.strerror}. It is as it was"
            raise SourceUnwritableError(message) from None
        return Snapshot(self.path, True, text, self._hash(data), parse(text, MAX_DEPTH), loaded)

    def _bytes(self) -> bytes | None:
        try:
            with open(self.path, "rb") as file:  # noqa: PTH123 - paths are text here
                data = file.read(MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(f"{self.path}: this file cannot be read: {error.strerror}") from None
        if len(data) > MAX_FILE_BYTES:
            raise ConfigError(f"{self.path}: this file is larger than {MAX_FILE_BYTES} bytes")
        return data

    def _hash(self, data: bytes | None) -> str:
        told = b"missing" if data is None else b"file" + data
        return hmac.new(self._key, told, hashlib.sha256).hexdigest()


def differences(old: SectionClass, new: SectionClass, prefix: str = "") -> Iterator[str]:
    """The paths of the options that differ; of a map those of its members."""
    for name, option in old.OPTIONS.items():
        yield from _differences(getattr(old, name), getattr(new, name), prefix + option.key)


def _differences(old: object, new: object, path: str) -> Iterator[str]:
    if isinstance(old, SectionClass) and isinstance(new, SectionClass):
        yield from differences(old, new, f"{path}.")
    elif isinstance(old, Mapping) and isinstance(new, Mapping) and old and new:
        for key in dict.fromkeys((*old, *new)):
            yield from _differences(old.get(key), new.get(key), f"{path}.{key}")
    elif old != new:
        yield path


def _replace_file(path: str, data: bytes) -> None:
    """Write a file anew beside the old one, and put it in its place.  Raises OSError; the old one is there then."""
    try:
        status = os.stat(path)  # noqa: PTH116 - paths are text here
    except FileNotFoundError:
        status = None
    folder, name = os.path.split(path)
    beside = os.path.join(folder, f".{name}.{os.urandom(8).hex()}.tmp")  # noqa: PTH118 - paths are text here
    file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(data)
            stream.flush()
            if status is not None and sys.platform != "win32":
                fresh = os.fstat(file)
                if (status.st_uid, status.st_gid) != (fresh.st_uid, fresh.st_gid):
                    os.fchown(file, status.st_uid, status.st_gid)
                os.fchmod(file, status.st_mode & 0o7777)
            os.fsync(file)
        os.replace(beside, path)  # noqa: PTH105 - paths are text here
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)  # noqa: PTH108 - paths are text here
        raise
    with suppress(OSError):  # the new file is in its place; not every system can do this with folders
        folder_file = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(folder_file)
        finally:
            os.close(folder_file)
