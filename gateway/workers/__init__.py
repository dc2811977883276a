"""Several processes that serve one gateway: `gateway run --workers N`.

channel     how these processes talk with each other: a worker's end of it
switch      the supervisor's end, which hands on what workers tell each other

The supervisor opens the sockets and serves nothing; each worker is a process with a gateway of its own, on sockets that
it was given.  Of all this nothing is loaded where one process serves.
"""

from __future__ import annotations

__all__: list[str] = []
