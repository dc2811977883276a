"""The end of the log, kept in memory for clients that ask for it.

A handler of `logging`, which somebody has to add: the commands do, a program that embeds a gateway may.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from .records import NamedTuple

__all__ = ["MAX_BYTES", "MAX_LINES", "MAX_LINE_CHARS", "LogRing"]

MAX_LINES = 5_000
"""As many as a client can ask for at once (`logs.tail`)."""
MAX_BYTES = 2 << 20
"""Of all lines: twice what a client can ask for at once."""
MAX_LINE_CHARS = 16 << 10
"""Of one message: a traceback fits; what is longer is cut."""
MAX_SECRETS = 1_000
"""That are looked for in each line; of more the newest."""
LEAST_SECRET = 6
"""Characters of a secret that is looked for: shorter ones are found in every other word."""

DEFAULT_LINES = 500
DEFAULT_BYTES = 250_000

_HIDDEN = "***"
_SECRETS = r"""(?ix)
    (?P<before> \bbearer\s+ | \bbasic\s+ | [?&](?:token|key|api_?key|access_token|secret|password|auth)= )
    [A-Za-z0-9._~+/=%-]{6,}
  | \bsk-[A-Za-z0-9_-]{12,}"""
_LEVELS = ((logging.CRITICAL, "FATAL"), (logging.ERROR, "ERROR"), (logging.WARNING, "WARN"), (logging.INFO, "INFO"))


class _Line(NamedTuple):
    start: int
    """Bytes of all lines before it, from the first one on."""
    text: str
    size: int


def _size(line: str) -> int:
    return len(line.encode("utf-8", "replace")) + 1


class LogRing(logging.Handler):
    """Keeps the last lines, as JSON in the product's form, without secrets.

    A cursor counts bytes since the start, as if the lines stood in a file with a line end behind each.
    """

    def __init__(self, *, lines: int = MAX_LINES, size: int = MAX_BYTES) -> None:
        super().__init__()
        self._most = lines
        self._most_bytes = size
        self._lines: deque[_Line] = deque()
        self._kept = 0
        self._end = 0
        self._newest: list[str] = []
        self._secrets: list[str] = []

    def hide(self, secrets: Iterable[str]) -> None:
        """Let these not be told, wherever they stand in a line."""
        known = [secret for secret in secrets if len(secret) >= LEAST_SECRET]
        self._newest = [*dict.fromkeys((*known, *self._newest))][:MAX_SECRETS]
        self._secrets = sorted(self._newest, key=len, reverse=True)  # one may be the beginning of another

    def note(self, *messages: str) -> None:
        """Add lines that were told to people by other ways than the log."""
        for message in messages:
            self.handle(logging.makeLogRecord({"name": __package__, "levelno": logging.INFO, "msg": message}))

    def lines(self) -> tuple[list[str], int]:
        """All that is kept, and where it ends: for a ring that takes the place of this one."""
        return [line.text for line in self._lines], self._end

    def resume(self, lines: list[str], end: int) -> None:
        """Put what `lines` of another ring gave before what is here: cursors go on."""
        self.acquire()
        try:
            own = [line.text for line in self._lines]
            self._lines.clear()
            self._kept, self._end = 0, end - sum(map(_size, lines))
            for text in (*lines, *own):
                self._append(text)
        finally:
            self.release()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self._line(record)
        except Exception:
            self.handleError(record)
            return
        self._append(line)

    def _append(self, line: str) -> None:
        size = _size(line)
        self._lines.append(_Line(self._end, line, size))
        self._end += size
        self._kept += size
        while len(self._lines) > self._most or self._kept > self._most_bytes:
            self._kept -= self._lines.popleft().size

    def tail(
        self, cursor: int | None = None, limit: int = DEFAULT_LINES, max_bytes: int = DEFAULT_BYTES
    ) -> dict[str, Any]:
        """The lines since `cursor`, or the last ones: at most `limit`, in at most `max_bytes`.

        The result is that of `logs.tail`.  `reset`: there is a gap before the first line; `skippedBytes` is how wide.
        """
        self.acquire()
        try:
            lines, end = list(self._lines), self._end
        finally:
            self.release()
        known = cursor is not None and cursor <= end
        wanted = [line for line in lines if not known or line.start >= (cursor or 0)]
        kept: list[_Line] = []
        size = 0
        for line in reversed(wanted):
            size += line.size
            if len(kept) == limit or size > max_bytes:
                break
            kept.append(line)
        kept.reverse()
        first = kept[0].start if kept else end
        begin = (cursor or 0) if known else 0
        result = {
            "file": f"memory of process {os.getpid()}",
            "cursor": end, "size": end, "lines": [line.text for line in kept],
            "truncated": first > begin, "reset": cursor is not None and (not known or first > begin),
        }  # fmt: skip
        if known and first > begin:
            result["skippedBytes"] = first - begin
        return result

    def _line(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if record.exc_info:
            formatter = self.formatter or logging.Formatter()
            message = f"{message}\n{formatter.formatException(record.exc_info)}"
        if len(message) > MAX_LINE_CHARS:
            message = f"{message[:MAX_LINE_CHARS]} ... ({len(message) - MAX_LINE_CHARS} characters more)"
        at = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03}Z"
        level = next((name for number, name in _LEVELS if record.levelno >= number), "DEBUG")
        # The product's clients look for the level and the subsystem in `_meta`, and for the message under numbers.
        meta = {"date": at, "logLevelName": level, "name": json.dumps({"subsystem": record.name})}
        return json.dumps({"0": self._without_secrets(message), "_meta": meta, "time": at}, ensure_ascii=False)

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        return re.sub(_SECRETS, lambda match: f"{match['before'] or ''}{_HIDDEN}", text)
