"""Several processes that serve one gateway: `gateway run --workers N`.

channel     how these processes talk with each other: a worker's end of it
switch      the supervisor's end, which hands on what workers tell each other
sockets     where they listen: opened by the supervisor, so that they outlive a worker
worker      a worker, from within: what it was handed, and how it tells that it serves
process     a worker, from outside: a process from its start to its end
logs        what all of them log, in one place for operators
sharing     what a worker's gateway has in common with the others: all of the following, put together
book        who is at work in which session, in whichever process; in the supervisor
lanes       the same, as a worker sees it
handover    connections that go on in another process
parcel      one of them on its way
pump        the bytes of one that cannot move, since its TLS ends here
reports     what workers tell of their runs
reporting   ... who tells it
showing     ... who shows it, to the clients of the operators' protocol
lockouts    wrong secrets
rates       what keys have spent
portions    limits that are divided
supervisor  keeps the workers alive, and replaces them when the configuration or the code is new

The supervisor opens the sockets and serves nothing; each worker is a process with a gateway of its own, on sockets that
it was given.  Of all this nothing is loaded where one process serves.
"""

from __future__ import annotations

__all__: list[str] = []
