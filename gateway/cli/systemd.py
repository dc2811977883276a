"""What systemd hands to a service, and what it wants to hear: sd_listen_fds(3) and sd_notify(3), without its library.

Environment variables are taken out of the environment, so that the programs that agents start do not take them for
their own.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping
from contextlib import suppress

from .console import StartError

__all__ = ["FIRST_FD", "Notifier", "inherited_sockets"]

FIRST_FD = 3
"""SD_LISTEN_FDS_START."""

MAX_FDS = 64
"""More than any socket unit lists; a larger number is a mistake."""

PATIENCE = 1.0
"""Seconds that a message may wait for room in systemd's queue; the next one of the watchdog comes anyway."""


def inherited_sockets(environ: MutableMapping[str, str]) -> list[socket.socket]:
    """The sockets that were opened for this process; none where it was not started by a socket unit.

    Raises StartError where what is said of them cannot be true.
    """
    pid, count, names = (environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
    if pid != str(os.getpid()):  # they were another's, which has left the variables behind
        return []
    if not 0 < _number(count) <= MAX_FDS:
        raise StartError(f"LISTEN_FDS is {count!r}, not a number from 1 to {MAX_FDS}; start this by a socket unit")
    called = names.split(":") if names else []
    found = []
    for number in range(_number(count)):
        try:
            os.set_inheritable(FIRST_FD + number, False)
            found.append(socket.socket(fileno=FIRST_FD + number))
        except OSError as error:
            name = f" ({called[number]})" if number < len(called) else ""
            raise StartError(
                f"the file descriptor {FIRST_FD + number}{name} of LISTEN_FDS is no socket: {error.strerror}. "
                "Use ListenStream= in the socket unit"
            ) from None
    return found


def _number(text: str) -> int:
    """What the digits say; 0 for what is no number."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else 0


class Notifier:
    """Tells the service manager how it goes; does nothing where there is none."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        path = environ.pop("NOTIFY_SOCKET", "")
        microseconds, pid = (environ.pop(name, "") for name in ("WATCHDOG_USEC", "WATCHDOG_PID"))
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        self._socket: socket.socket | None = None
        if path.startswith(("/", "@")):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.settimeout(PATIENCE)
        self.watchdog = 0.0
        """Seconds within which it wants a sign of life; 0 for none.  Half of what it was told, as it advises."""
        if self._socket is not None and pid in {"", str(os.getpid())}:
            self.watchdog = _number(microseconds) / 2_000_000

    def __bool__(self) -> bool:
        return self._socket is not None

    def ready(self, status: str) -> None:
        """It serves."""
        self._send("READY=1", f"STATUS={status}")

    def alive(self) -> None:
        """A sign of life, for the watchdog."""
        self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """The configuration is being read anew; `ready` follows."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str) -> None:
        """It takes no more requests."""
        self._send("STOPPING=1", f"STATUS={status}")

    def close(self) -> None:
        """There is nothing more to tell."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *lines: str) -> None:
        if self._socket is not None:
            text = "\n".join(line.replace("\n", " ") for line in lines)
            with suppress(OSError):  # nobody listens: that must not stop the service
                self._socket.sendto(text.encode(), self._address)
