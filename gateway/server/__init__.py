"""The asyncio side: sockets to exchanges and links, within limits.

server      all connections of one gateway
connection  the one Protocol
phase       what a connection is doing, and may do next
exchange    one request and its answer, as a handler sees it
stream      the body of a streaming answer
link        one WebSocket connection
bell        what wakes the tasks that wait for messages
turns       how long a flood of small frames may take
outbox      what all connections send in one turn of the loop
services    what connections share: limits, timers, handler
limits      every bound, with its reason; admission
proxies     reverse proxies, and the clients behind them
hangup      what the socket knows about the peer
listeners   TCP addresses and unix sockets
tls         certificates
accesslog   one line for each answer
counted     how many answers there were, and how long they took
"""

from __future__ import annotations

__all__: list[str] = []
