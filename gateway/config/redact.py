"""A configuration without its secrets, and the secrets put back into what was made of it.

redact         a document, each secret of which is the REDACTED
redact_text    its text likewise
restore        a document made from a redacted one, its sentinels replaced by the secrets
restore_text   the same for a text

What a secret is says the option table.  In what only the product knows, names of keys tell; what nobody knows is
hidden whole.  References to variables are no secrets, and are shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..model.names import REDACTED
from .edit import align, name_of
from .fields import Kind, ListOf, MapOf, Secret, Section, Text
from .json5 import Document, Mark
from .kinds import ById, NameOr, RateOr
from .schema import Config
from .tree import Key, Path, show_path

__all__ = ["SentinelError", "redact", "redact_text", "restore", "restore_text"]

_HIDDEN_KEY = (
    r"(?i)(?:token|secret|passwo?r?d|passphrase|credentials?|authorization|cookies?|webhook_?url|service_?account"
    r"|service_?account_?ref|(?:api|private|access|signing|encrypt|encryption|secret)_?-?key)$"
)
_MAPS_OF_SECRETS = frozenset({"env", "vars", "headers", "extraHeaders", "secrets"})
_REFERENCE = r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"
_URL_WITH_MORE = r"(?i)[a-z][a-z0-9+.-]*://(?:[^/?#]*@|[^?#]*\?.)"
"""A user, or a query: both carry keys."""

_PIECE = r"""(?xs)
    "(?:[^"\\]|\\.)*+" | '(?:[^'\\]|\\.)*+' | (?P<comment> //[^\n\r\u2028\u2029]*+ | /\*(?:[^*]|\*(?!/))*+\*/ )"""
_ASSIGNMENT = r"""(?x) (?<![A-Za-z_-])
    (?P<key> [A-Za-z_-]++ ) (?P<between> ["']? \s*+ [:=] \s*+ ["']? )
    (?P<value> (?<=["']) [^"'\n]++ | (?=[^\s,"'}]{0,99}[0-9]) [^\s,"'}]{8,}+ )"""
"""In a comment: an option that is switched off.  What stands without quotes may be a word of a sentence."""

LEAST_IN_COMMENTS = 4
"""Characters of a secret that is looked for in comments: shorter ones are found in every word."""

MAX_SEARCHED = 100_000_000
"""Secrets times characters of comments: what looking for all of them takes; a tenth of a second.  Twenty secrets and
twenty thousand characters are a large configuration."""


class SentinelError(ValueError):
    """A sentinel that stands for nothing, because there is no secret at `path`."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f'Reserved redaction sentinel "{REDACTED}" is not valid config data ({show_path(path)}): no secret is '
            "stored there. Give the value itself, or leave it out"
        )
        self.path = path


def redact(value: Any) -> Any:
    """A document with the sentinel in place of each secret."""
    hidden = set(_hidden(value, (), Section(Config)))

    def copy(part: Any, path: Path) -> Any:
        if isinstance(part, dict):
            return {key: copy(member, (*path, key)) for key, member in part.items()}
        if isinstance(part, list):
            return [copy(item, (*path, index)) for index, item in enumerate(part)]
        return REDACTED if path in hidden else part

    return copy(value, ())


def redact_text(src: str, document: Document) -> str | None:
    """The text of a document with the sentinel in place of each secret, in comments as well.

    None where there are two members of one key, of which the one that is not read may be a secret too; and where there
    is too much to search.
    """
    comments = _redacted_comments(src, document)
    if comments is None or _has_twins(document.root):
        return None
    pieces = comments
    for path in _hidden(document.value, (), Section(Config)):
        mark = _mark(document, path)
        quote = src[mark.value] if src[mark.value] in "\"'" else '"'
        pieces.append((mark.value, mark.end, f"{quote}{REDACTED}{quote}"))
    return _replaced(src, pieces)


def restore(wanted: Any, source: Any) -> Any:
    """`wanted`, which was made from the redacted `source`, with its secrets.  Raises SentinelError."""
    found = dict(_sentinels(wanted, source, redact(source), ()))

    def copy(part: Any, path: Path) -> Any:
        if isinstance(part, dict):
            return {key: copy(member, (*path, key)) for key, member in part.items()}
        if isinstance(part, list):
            return [copy(item, (*path, index)) for index, item in enumerate(part)]
        return _at(source, found[path]) if path in found else part

    return copy(wanted, ())


def restore_text(text: str, document: Document, src: str, source: Document) -> str:
    """`text`, the text of `document`, which was made from the redacted `src`, with its secrets.

    Raises SentinelError.
    """
    pieces = []
    for path, origin in _sentinels(document.value, source.value, redact(source.value), ()):
        mark, stored = _mark(document, path), _mark(source, origin)
        pieces.append((mark.value, mark.end, src[stored.value : stored.end]))
    shown = _redacted_comments(src, source) or []
    comments = _comments(text)
    found = align([comment for _, _, comment in shown], [text[start:end] for start, end in comments])
    for (start, end), index in zip(comments, found, strict=True):
        if index is not None and shown[index][2] == text[start:end]:
            pieces.append((start, end, src[slice(*shown[index][:2])]))
    if REDACTED in text and _has_twins(document.root):
        raise SentinelError(())
    return _replaced(text, pieces)


def _hidden(value: Any, path: Path, kind: Kind) -> Iterator[Path]:
    """The paths of the scalars that are secrets."""
    if isinstance(kind, Secret):
        if not (isinstance(value, dict) and value.get("source") == "env"):
            yield from _all(value, path)
    elif isinstance(kind, NameOr) and isinstance(value, dict):
        yield from _hidden(value, path, kind.section)
    elif isinstance(kind, Section) and isinstance(value, dict):
        yield from _hidden_members(value, path, kind)
    elif isinstance(kind, ById | MapOf) and isinstance(value, dict):
        item = kind.section if isinstance(kind, ById) else kind.item
        yield from _each(value.items(), path, lambda member, inner: _hidden(member, inner, item))
    elif isinstance(kind, ListOf) and isinstance(value, list):
        yield from _each(enumerate(value), path, lambda member, inner: _hidden(member, inner, kind.item))
    elif isinstance(kind, Section | ById | MapOf | ListOf | Text) and not isinstance(kind, RateOr):
        yield from _urls(value, path) if isinstance(kind, Text) and isinstance(value, str) else _all(value, path)
    else:
        yield from _urls(value, path)


def _hidden_members(value: dict[str, Any], path: Path, kind: Section) -> Iterator[Path]:
    kinds = {option.key: option.kind for option in kind.cls.OPTIONS.values()}
    for key, member in value.items():
        inner = (*path, key)
        if key in kinds:
            yield from _hidden(member, inner, kinds[key])
        elif key in kind.cls.IGNORED or kind.cls.OPEN or key in {"$schema", "$include"}:
            yield from _foreign(member, inner)
        else:
            yield from _all(member, inner)


def _foreign(value: Any, path: Path) -> Iterator[Path]:
    """Of what only the product knows: secrets by the name of their key, and URLs that carry some."""
    name = next((key for key in reversed(path) if isinstance(key, str)), "")
    if name in _MAPS_OF_SECRETS or re.search(_HIDDEN_KEY, name):
        yield from _all(value, path)
    elif isinstance(value, dict):
        yield from _each(value.items(), path, _foreign)
    elif isinstance(value, list):
        yield from _each(enumerate(value), path, _foreign)
    else:
        yield from _urls(value, path)


def _urls(value: Any, path: Path) -> Iterator[Path]:
    if isinstance(value, dict):
        yield from _each(value.items(), path, _urls)
    elif isinstance(value, list):
        yield from _each(enumerate(value), path, _urls)
    elif isinstance(value, str) and re.match(_URL_WITH_MORE, value):
        yield path


def _all(value: Any, path: Path) -> Iterator[Path]:
    if isinstance(value, dict):
        yield from _each(value.items(), path, _all)
    elif isinstance(value, list):
        yield from _each(enumerate(value), path, _all)
    elif isinstance(value, str):
        if value and not re.fullmatch(_REFERENCE, value):
            yield path
    elif value is not None and not isinstance(value, bool):
        yield path


def _each(
    members: Iterable[tuple[Key, Any]], path: Path, walk: Callable[[Any, Path], Iterator[Path]]
) -> Iterator[Path]:
    for key, member in members:
        yield from walk(member, (*path, key))


def _sentinels(
    wanted: Any, source: Any, shown: Any, path: Path, origin: Path | None = ()
) -> Iterator[tuple[Path, Path]]:
    """For each sentinel in `wanted` its path, and that of its secret in `source`; `shown` is that one redacted.

    `origin` is where in it `wanted` comes from, if it comes from there.
    """
    if isinstance(wanted, dict):
        known = shown if origin is not None and isinstance(shown, dict) else {}
        for key, member in wanted.items():
            inner = (*origin, key) if origin is not None and key in known else None
            yield from _sentinels(member, source, known.get(key), (*path, key), inner)
    elif isinstance(wanted, list):
        before = shown if origin is not None and isinstance(shown, list) else []
        for index, (item, old) in enumerate(zip(wanted, _continued(before, wanted), strict=True)):
            inner = (*origin, old) if origin is not None and old is not None else None
            yield from _sentinels(item, source, None if old is None else before[old], (*path, index), inner)
    elif isinstance(wanted, str) and REDACTED in wanted:
        if origin is None or shown != wanted:
            raise SentinelError(path)
        yield path, origin


def _continued(old: list[Any], new: list[Any]) -> list[int | None]:
    """As `align`, and those of one id or name also where they have moved."""
    found = align(old, new)
    places = {name: index for index, name in enumerate(map(name_of, old)) if name is not None}
    taken = {index for index in found if index is not None}
    for index, item in enumerate(new):
        place = places.get(name_of(item) or "")
        if found[index] is None and place is not None and place not in taken:
            found[index] = place
            taken.add(place)
    return found


def _comments(src: str) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer(_PIECE, src) if match["comment"] is not None]


def _redacted_comments(src: str, document: Document) -> list[tuple[int, int, str]] | None:
    """Where the comments are, and what is shown of them; None where that takes too long."""
    comments = _comments(src)
    found = {str(_at(document.value, path)) for path in _hidden(document.value, (), Section(Config))}
    secrets = sorted((secret for secret in found if len(secret) >= LEAST_IN_COMMENTS), key=len, reverse=True)
    if len(secrets) * sum(end - start for start, end in comments) > MAX_SEARCHED:
        return None
    return [(start, end, _redact_comment(src[start:end], secrets)) for start, end in comments]


def _redact_comment(text: str, secrets: list[str]) -> str:
    end = len(text) - 2 if text.startswith("/*") else len(text)  # what ends it is no part of a secret
    body = text[2:end]
    for secret in secrets:
        body = body.replace(secret, REDACTED)

    def hide(match: re.Match[str]) -> str:
        is_secret = re.search(_HIDDEN_KEY, match["key"]) and not re.fullmatch(_REFERENCE, match["value"])
        return f"{match['key']}{match['between']}{REDACTED}" if is_secret else match[0]

    return f"{text[:2]}{re.sub(_ASSIGNMENT, hide, body)}{text[end:]}"


def _has_twins(mark: Mark) -> bool:
    """Whether there are two members of one key in one of the objects."""
    return mark.hidden is not None or any(map(_has_twins, (mark.inner or {}).values()))


def _mark(document: Document, path: Path) -> Mark:
    mark = document.root
    for key in path:
        assert mark.inner is not None, "a path of this document"
        mark = mark.inner[key]
    return mark


def _at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


def _replaced(src: str, pieces: list[tuple[int, int, str]]) -> str:
    parts, pos = [], 0
    for start, end, text in sorted(pieces):
        parts += [src[pos:start], text]
        pos = end
    return "".join([*parts, src[pos:]])
