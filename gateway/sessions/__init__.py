"""Where conversations live.

keys    which session a request belongs to
lanes   one run at a time in each session, first come, first served
history, overlap   what is kept of a session; what a request adds to it
store   the turns of sessions, in memory
timed   any store, with how long it takes
settings   what clients want kept with a session

And on disk:

sqlite      the store: a thread that writes and one that reads
worker      such a thread, and what coroutines ask of it
database    the file: one connection, and what is asked of it
row         a session as it stands there
migrations  its tables, step by step
codec       turns as bytes
cache       sessions that were read lately
place       where the file is, and what it means when it cannot be used
deferred    a store that is made when it is first used: SQLite costs the start
"""

from __future__ import annotations

__all__: list[str] = []
