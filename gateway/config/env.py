r"""Environment variables in configuration values, and `.env` files.

`${NAME}` is replaced by the variable, `${NAME:-text}` by `text` where the variable is not set or empty, and `$${any}`
stands for `${any}` itself.  The environment is always handed in; nothing here looks at the process.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["DotEnvError", "ExpansionError", "expand", "expand_home", "parse_dotenv"]

# `re` compiles these at their first use: most programs have none for most of them.
# $${literal} or ${name} or ${name:-fallback}, or what is none of them.
_REFERENCE = r"\$\$\{([^}]*)\}|\$\{([A-Za-z_][A-Za-z0-9_]*)(:-[^}]*)?\}|\$\{"
_DOTENV_LINE = r"""(?xs)
    [ \t]* (?:export[ \t]+)? (?P<name>[A-Za-z_][A-Za-z0-9_]*) [ \t]* = [ \t]*
    (?: '(?P<raw>[^']*)' | "(?P<quoted>(?:[^"\\]|\\.)*+)" | (?P<plain>[^\r\n'"][^\r\n]*)? )
    [ \t]* (?:\#[^\r\n]*)? (?:\r?\n|\Z)"""
_DOTENV_BLANK = r"[ \t]*(?:#[^\r\n]*)?(?:\r?\n|\Z)"
_DOTENV_COMMENT = r"(?:^|[ \t])#.*\Z"
_DOTENV_ESCAPE = r"(?s)\\(.)"
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


class ExpansionError(ValueError):
    """A reference that cannot be replaced; the text says which and what to do.  It never holds a value."""


class DotEnvError(ValueError):
    """A line that is no assignment.  `line` counts from 1."""

    def __init__(self, line: int) -> None:
        super().__init__("expected NAME=value. Put quotes around values of more than one line")
        self.line = line


def expand(text: str, environ: Mapping[str, str]) -> str:
    """Replace the references in `text`.  Raises ExpansionError that names every variable missing."""
    if "${" not in text:
        return text
    missing: list[str] = []

    def replace(match: re.Match[str]) -> str:
        literal, name, fallback = match.groups()
        if literal is not None:
            return f"${{{literal}}}"
        if name is None:
            raise ExpansionError(
                "'${' is not followed by a variable's name and '}'. Write ${NAME} or ${NAME:-default}, "
                "or $${...} for the characters ${...} themselves"
            )
        value = environ.get(name, "")
        if not value and fallback is not None:
            return str(fallback[2:])
        if not value:
            missing.append(name)
        return value

    expanded = re.sub(_REFERENCE, replace, text)
    if missing:
        names = " and ".join(dict.fromkeys(missing))
        raise ExpansionError(
            f"the environment has no value for {names}. Set it, put it into a .env file beside the configuration, "
            f"or give a default: ${{{missing[0]}:-default}}"
        )
    return expanded


def expand_home(path: str, environ: Mapping[str, str]) -> str:
    """Replace a leading `~/` by the home directory that the environment names, if it names one."""
    home = environ.get("HOME") or environ.get("USERPROFILE")
    return f"{home}/{path[2:]}" if home and path.startswith("~/") else path


def parse_dotenv(text: str) -> dict[str, str]:
    r"""Read `NAME=value` lines, with comments, `export`, and quotes (`"` with \n, \r, \t, \" and \\; `'` without).

    Raises DotEnvError.
    """
    blanks, lines = re.compile(_DOTENV_BLANK), re.compile(_DOTENV_LINE)
    values = {}
    pos = 0
    while pos < len(text):
        blank = blanks.match(text, pos)
        if blank:
            pos = blank.end()
            continue
        line = lines.match(text, pos)
        if line is None:
            raise DotEnvError(text.count("\n", 0, pos) + 1)
        raw, quoted, plain = line["raw"], line["quoted"], line["plain"]
        if raw is not None:
            value = raw
        elif quoted is not None:
            value = re.sub(_DOTENV_ESCAPE, lambda match: _ESCAPES.get(match[1], match[1]), quoted)
        else:
            value = re.sub(_DOTENV_COMMENT, "", plain or "").rstrip(" \t")
        values[line["name"]] = value
        pos = line.end()
    return values
