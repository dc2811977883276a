"""The client: `python -m tests.bench.growth.client KIND PORT NUMBER ...`, with as little work for each token as it can.

    stream PORT STREAMS TEXT      streams that begin anew when they end
    idle   PORT CONNECTIONS       a request on each connection, and then nothing
    turns  PORT SESSIONS CLIENTS  turns in sessions that are drawn anew each time

It writes `ready` once everything is under way.  Then each line on its standard input starts the count anew, and is
answered by a line with what was counted up to it: tokens, or turns.  It ends with its input.
"""

from __future__ import annotations

import os
import selectors
import socket
import sys
from collections.abc import Callable
from random import Random
from typing import TypeAlias

from ..traffic import request

__all__: list[str] = []

Ask: TypeAlias = Callable[[], bytes]
READ_BYTES = 262_144
TOKEN_MARK = b'"content":"t'
BATCH = 200
"""Connections that are opened before their answers are waited for: fewer than any server's backlog."""


class Client:
    """Sends what `ask` gives on each connection, and again when the answer is complete, which is where it holds `end`.

    Counts what is `counted`, or answers where that is None.
    """

    def __init__(self, port: int, ask: Ask, end: bytes, counted: bytes | None) -> None:
        self._port = port
        self._ask = ask
        self._end = end
        self._counted = counted
        self._selector = selectors.DefaultSelector()
        self.count = 0

    def connect(self, number: int, *, hold: bool = False) -> None:
        """Open connections, and ask on each.  With `hold` the answer is waited for, and nothing asked again."""
        opened: list[socket.socket] = []
        for at in range(number):
            one = socket.create_connection(("127.0.0.1", self._port), 30)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            one.sendall(self._ask())
            opened.append(one)
            if len(opened) == BATCH or at == number - 1:
                for other in opened:
                    data = other.recv(READ_BYTES)  # the answer, or the first piece of it
                    if not data.startswith(b"HTTP/1.1 200 "):
                        raise ConnectionError(f"the server refuses: {data[:2_000]!r}")
                    self._took(other, data, again=not hold)
                    other.setblocking(False)
                    self._selector.register(other, selectors.EVENT_READ)
                opened.clear()

    def _took(self, one: socket.socket, data: bytes, again: bool = True) -> None:
        if not data:
            raise ConnectionError("the server has closed a connection")
        over = self._end in data
        self.count += over if self._counted is None else data.count(self._counted)
        if over and again:
            one.send(self._ask())

    def serve(self) -> None:
        """Go on until the input ends."""
        print("ready", flush=True)
        self._selector.register(sys.stdin, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if isinstance(key.fileobj, socket.socket):
                    self._took(key.fileobj, key.fileobj.recv(READ_BYTES))
                elif not os.read(0, 100):
                    return
                else:
                    print(self.count, flush=True)
                    self.count = 0


def main(kind: str, port: int, number: int, *more: str) -> None:
    """See above.  Raises OSError where the server does not do as it should."""
    if kind == "stream":
        asked = request(more[0], stream=True)
        client = Client(port, lambda: asked, b"[DONE]", TOKEN_MARK)
        client.connect(number)
    elif kind == "idle":
        asked = request("hello")
        client = Client(port, lambda: asked, b"}", None)
        client.connect(number, hold=True)
    else:
        draw = Random(1)

        def ask() -> bytes:
            return request("hello", more=f"x-openclaw-session-key: agent:bench:s{draw.randrange(number)}\n")

        client = Client(port, ask, b'"usage"', None)
        client.connect(int(more[0]))
    client.serve()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
