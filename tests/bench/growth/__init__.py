"""How costs grow with the number of streams, connections and stored sessions, measured on real sockets.

`python -m tests.bench.growth` starts a server process and a client process for each figure, and prints a table.
"""
