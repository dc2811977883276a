"""Protocols without I/O: bytes in, events out, and back.  Nothing here knows a socket, a loop, a clock or a log.

sniff           what the first bytes say about the protocol
grammar         one expression for each element of HTTP/1.1
heads           request and response heads; the only importer of h11
chunked         the chunked coding
http1           the requests of a connection
response        their answers
http1_client    a request and its response, as a client
sse             server-sent events
upgrade         the handshake of a WebSocket, as a server
upgrade_client  the same, as a client
extensions      what is agreed upon there about compression
websocket       its frames; the only importer of wsproto
masking         what hides the payloads of clients
message         a message while its frames arrive
deflate         compressed messages
"""

from __future__ import annotations

__all__: list[str] = []
