"""What is printed, and what a program ends with."""

from __future__ import annotations

import gc
import json
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import TextIO

from ..errors import ConfigError, GatewayError

__all__ = [
    "EXIT_CODES",
    "FAILED",
    "INTERRUPTED",
    "UNAVAILABLE",
    "WRONG_CONFIG",
    "WRONG_USAGE",
    "StartError",
    "UnansweredError",
    "abandon_output",
    "complain",
    "given",
    "introduction",
    "legible",
    "line",
    "moment",
    "no_collector",
    "patience",
    "say",
    "tolerate_any_text",
    "write",
]

FAILED = 1
WRONG_USAGE = 2
UNAVAILABLE = 69
WRONG_CONFIG = 78
INTERRUPTED = 130

INPUT_BYTES = 64 << 20
"""Read from standard input: more than a gateway takes by default, and not a whole disk by mistake."""

EXIT_CODES = """\
exit codes:
  0    done
  1    the run failed or was refused, or the gateway could not start
  2    wrong usage
  69   the gateway cannot be reached
  78   the configuration is wrong
  130  interrupted; 129 and 143: ended by SIGHUP, SIGTERM
"""
"""69 and 78 are those of sysexits.h; process supervisors can be told not to try again after a 78."""


class StartError(ConfigError):
    """The address cannot be listened at: unlike a wrong configuration, that may be different the next time."""


class UnansweredError(GatewayError):
    """There was no answer, or not a whole one.  `exit_code` is what the program ends with."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


# C0 and C1 without tab and line feed, and DEL: what an agent says must not move the cursor or recolour the terminal.
# And what turns the direction of writing by force: it would show another text than there is (CVE-2021-42574).
# Compiled when a terminal is written to: that takes 1 ms.
_CONTROL = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"

# These, and what turns the direction of writing, ends a line, or stands for no character.
_UNPRINTABLE = "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"


def legible(text: str) -> str:
    r"""A text of others on one line, with what does not show, or shows as something else, as in `\x1b`."""
    return re.sub(_UNPRINTABLE, lambda found: ascii(found[0])[1:-1], text)


def given(text: str, flag: str) -> str:
    """The value of a flag; `-` reads standard input.  Raises UnansweredError where that is no text, or too much."""
    if text != "-":
        return text
    data = sys.stdin.buffer.read(INPUT_BYTES + 1)
    if len(data) > INPUT_BYTES:
        raise UnansweredError(f"{flag}: standard input has more than {INPUT_BYTES >> 20} MiB", WRONG_USAGE)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UnansweredError(f"{flag}: standard input is not UTF-8: {error.reason}", WRONG_USAGE) from None


def line(value: object) -> str:
    """JSON on one line, in ASCII: nothing in it can do anything to a terminal, or break a pipe."""
    return json.dumps(value, separators=(",", ":")) + "\n"


def moment(seconds: float) -> str:
    """A time in seconds since the epoch, for people, where they are."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def write(text: str, stream: TextIO | None = None) -> None:
    """Write to standard output, at once; to a terminal without control characters."""
    stream = stream or sys.stdout
    stream.write(re.sub(_CONTROL, "", text) if stream.isatty() else text)
    stream.flush()


def say(*lines: str) -> None:
    """Tell the operator something, on standard error."""
    write("".join(f"{line}\n" for line in lines), sys.stderr)


def complain(*problems: str) -> None:
    """Tell what went wrong, each problem on a line of its own."""
    say(*(f"gateway: {problem}" for problem in problems))


def introduction(urls: Iterable[str], mode: str, *, chat: bool, path: str | None) -> list[str]:
    """What is told when a gateway has begun to serve, and what of it may surprise."""
    lines = [f"listening on {url}" for url in urls]
    if mode == "none":
        lines.append("without authentication: every program on this machine may use the agents")
    if not chat:
        where = path or "the configuration"
        lines.append(
            f"the chat endpoint is off; gateway.http.endpoints.chatCompletions.enabled: true in {where} turns it on"
        )
    return lines


def patience(runs: int, drain_ms: int) -> str:
    """What is told of runs under way when the end is near."""
    return f"runs under way: {runs}; they have up to {drain_ms / 1000:g} s to end, a second signal ends them at once"


def tolerate_any_text() -> None:
    """Let standard output show what its encoding has no character for as a question mark, rather than raise."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def abandon_output() -> None:
    """The reader of standard output has gone: keep the interpreter from flushing into it, and failing, at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def no_collector() -> Iterator[None]:
    """To load a program makes hardly any garbage: looking for it would be a twentieth of the start."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
