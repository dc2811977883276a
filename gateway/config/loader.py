"""From a file name, or none, to a configuration: find, read, include, expand, validate."""
# ruff: noqa: PTH113, PTH118, PTH120, PTH123 - pathlib would cost the start of the program 3 ms

from __future__ import annotations

from collections.abc import Mapping
from os.path import dirname, isfile, join, realpath
from typing import Any

from ..errors import ConfigError
from ..model.names import DEFAULT_CONFIG_PATHS, environment
from ..records import NamedTuple
from . import json5
from .checks import finish
from .env import DotEnvError, expand_home, parse_dotenv
from .fields import MISSING, Reading, Section
from .schema import Config
from .tree import Node, Place, Problem, merge

__all__ = ["MAX_FILES", "MAX_FILE_BYTES", "MAX_INCLUDE_DEPTH", "MAX_NESTING", "Loaded", "load"]

MAX_FILE_BYTES = 2 << 20
"""Of each configuration file and of `.env`, as in the product.  A larger one is not a configuration."""

MAX_INCLUDE_DEPTH = 10
"""Files that include one another, as in the product."""

MAX_FILES = 200
"""Files in all: a few that include each other several times would otherwise be read without end."""

MAX_NESTING = 100
"""Arrays and objects inside one another, after includes: the tree is walked by recursion."""

_INCLUDE = "$include"
_FLAG = Place("the command line")


class Loaded(NamedTuple):
    """`path` is the file it came from, None where there is none.  `environ` is the environment with `.env` under it.

    `warnings` are complete lines for people.
    """

    config: Config
    environ: Mapping[str, str]
    warnings: tuple[str, ...] = ()
    path: str | None = None

    def __repr__(self) -> str:  # without the environment: it holds secrets
        return f"Loaded(config={self.config!r}, warnings={self.warnings!r}, path={self.path!r})"


def load(
    path: str | None = None,
    *,
    environ: Mapping[str, str],
    overrides: Mapping[str, Any] | None = None,
    text: str | None = None,
) -> Loaded:
    """Read the configuration, or take the defaults where there is no file.

    The file is `path`, else what the first set variable for CONFIG_PATH names, else that of the first default place
    which has one.  `overrides` are values of flags by dotted path (`gateway.port`); they win over the file, and None
    is a flag that was not given.  `text` is taken in place of what the file holds, but for what it includes.
    Raises ConfigError with all problems, each `FILE:LINE:COLUMN: path: message. remedy`.
    """
    source = path or _find(environ)
    root = Node({}, Place(source or "the defaults"), _FLAG)
    if source is not None:
        files = _Files(text)
        file = expand_home(source, environ)
        root = files.read(file, (), None, 0) or root
        environ = {**files.dotenv(join(dirname(file), ".env")), **environ}
        if files.problems:
            raise ConfigError(*files.problems)
    for dotted, value in (overrides or {}).items():
        root = merge(root, _nested(dotted, value)) if value is not None else root
    reading = Reading(environ)
    config = reading.read(Section(Config), root, ())
    if config is not MISSING:
        config = finish(config, root, reading)
    if reading.problems:
        raise ConfigError(*reading.problems)
    return Loaded(config, environ, _warnings(source, reading), source)


def _find(environ: Mapping[str, str]) -> str | None:
    for name in environment("CONFIG_PATH"):
        if environ.get(name):
            return environ[name]
    candidates = (expand_home(path, environ) for path in DEFAULT_CONFIG_PATHS)
    return next((path for path in candidates if not path.startswith("~") and isfile(path)), None)


def _nested(dotted: str, value: Any) -> Node:
    node = Node(value, _FLAG, _FLAG)
    for key in reversed(dotted.split(".")):
        node = Node({key: node}, _FLAG, _FLAG)
    return node


def _warnings(source: str | None, reading: Reading) -> tuple[str, ...]:
    if not reading.ignored:
        return ()
    names = ", ".join(reading.ignored)
    return (f"{source}: these are not implemented here and have no effect: {names}",)


class _Unreadable(Exception):
    """A file that cannot be used; the text is the line for people."""


class _Files:
    """Reads configuration files and what they include.  Notes problems and goes on with the next file."""

    def __init__(self, text: str | None) -> None:
        self.problems: list[str] = []
        self._text = text
        self._count = 0

    def read(self, path: str, chain: tuple[str, ...], place: Place | None, depth: int) -> Node | None:
        """The tree of a file, `depth` levels down in another; None after a problem.  `chain` led here, from `place`."""
        try:
            real = self._enter(path, chain)
            source = _bytes(path) if chain or self._text is None else self._text
            document = json5.parse(source, MAX_NESTING)
        except _Unreadable as error:
            self.problems.append(f"{place}: {_INCLUDE}: {error}" if place else str(error))
            return None
        except json5.Json5Error as error:
            where = Place(path, error.line, error.column)
            self.problems.append(Problem(where, error.path, error.msg))
            return None
        return self._resolve(_build(document, path), dirname(path), (*chain, real), depth)

    def dotenv(self, path: str) -> dict[str, str]:
        """The assignments of a `.env` file; none where there is no file."""
        if not isfile(path):
            return {}
        try:
            return parse_dotenv(_bytes(path).decode("utf-8-sig"))
        except _Unreadable as error:
            self.problems.append(str(error))
        except UnicodeDecodeError:
            self.problems.append(f"{path}: this is not UTF-8. Save it as UTF-8")
        except DotEnvError as error:
            self.problems.append(f"{path}:{error.line}:1: {error}")
        return {}

    def _enter(self, path: str, chain: tuple[str, ...]) -> str:
        """The file's real path, once it is clear that it may be read."""
        self._count += 1
        real = realpath(path)
        if real in chain:
            loop = " includes ".join((*chain[chain.index(real) :], real))
            raise _Unreadable(f"the files include one another without end: {loop}. Remove one of these {_INCLUDE}")
        if len(chain) > MAX_INCLUDE_DEPTH or self._count > MAX_FILES:
            limits = f"{MAX_INCLUDE_DEPTH} files inside one another and {MAX_FILES} in all"
            raise _Unreadable(f"too many files are included; the limits are {limits}")
        return real

    def _resolve(self, node: Node, folder: str, chain: tuple[str, ...], depth: int) -> Node:
        """The tree with what it includes put in; its own members win."""
        if depth > MAX_NESTING:
            self.problems.append(f"{node.place}: more than {MAX_NESTING} arrays and objects inside one another")
            return node
        if isinstance(node.value, list):
            items = [self._resolve(item, folder, chain, depth + 1) for item in node.value]
            return Node(items, node.place, node.key_place)
        if not isinstance(node.value, dict):
            return node
        own = {
            key: self._resolve(member, folder, chain, depth + 1)
            for key, member in node.value.items()
            if key != _INCLUDE
        }
        result = Node(own, node.place, node.key_place)
        if _INCLUDE not in node.value:
            return result
        included = self._included(node.value[_INCLUDE], folder, chain, depth)
        if included is None:
            return result
        if own and not isinstance(included.value, dict):
            self.problems.append(
                f"{node.value[_INCLUDE].place}: {_INCLUDE}: beside other keys only an object can be included"
            )
        return merge(included, result) if own else Node(included.value, included.place, node.key_place)

    def _included(self, node: Node, folder: str, chain: tuple[str, ...], depth: int) -> Node | None:
        names = node.value if isinstance(node.value, list) else [node]
        merged: Node | None = None
        for name in names:
            if not isinstance(name.value, str) or not name.value or "\0" in name.value:
                self.problems.append(f"{name.place}: {_INCLUDE}: expected a file name or an array of file names")
                continue
            part = self.read(join(folder, name.value.removeprefix("./")), chain, name.place, depth)
            if part is not None:
                merged = merge(merged, part) if merged is not None else part
        return merged


def _build(document: json5.Document, file: str) -> Node:
    """The nodes of a document.  Recursion: the reader's nesting limit must be well below Python's."""

    def node(value: Any, mark: json5.Mark) -> Node:
        inner = mark.inner or {}
        if isinstance(value, dict):
            value = {key: node(member, inner[key]) for key, member in value.items()}
        elif isinstance(value, list):
            value = [node(item, inner[index]) for index, item in enumerate(value)]
        return Node(value, Place(file, *document.place(mark.value)), Place(file, *document.place(mark.key)))

    return node(document.value, document.root)


def _bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _Unreadable(f"{path}: this file cannot be read: {error.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise _Unreadable(f"{path}: this file is larger than {MAX_FILE_BYTES} bytes")
    return data
