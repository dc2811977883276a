"""Several processes that serve one gateway: `gateway run --workers N`.

channel     how these processes talk with each other: a worker's end of it
switch      the supervisor's end, which hands on what workers tell each other
sockets     where they listen: opened by the supervisor, so that they outlive a worker
worker      a worker, from within: what it was handed, and how it tells that it serves
process     a worker, from outside: a process from its start to its end
logs        what all of them log, in one place for operators
supervisor  keeps the workers alive, and replaces them when the configuration or the code is new

The supervisor opens the sockets and serves nothing; each worker is a process with a gateway of its own, on sockets that
it was given.  Of all this nothing is loaded where one process serves.
"""

from __future__ import annotations

__all__: list[str] = []
