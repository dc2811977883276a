"""OpenClaw's gateway protocol: requests, answers and events in JSON over a WebSocket.

problem     the errors that a client is told
frames      frames to requests, answers and events to frames
connect     who may come in, and as what
connection  one WebSocket, from its challenge to its close
client      who was let in: what is on its way to them
hub         what all of them are told
method      what they can ask for
runs        the runs that are under way, as they see them
service     all of it, for one gateway
"""

from __future__ import annotations

__all__: list[str] = []
