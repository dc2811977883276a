"""OpenClaw's gateway protocol: requests, answers and events in JSON over a WebSocket.

problem     the errors that a client is told
frames      frames to requests, answers and events to frames
shapes      what parameters must look like; `params` those of each method
connect     who may come in, and as what
  asked, clients, origins, proof, ed25519   what they ask and say that they are, from where; how a device shows its key
  pairing, devices, devicefile              what devices were approved for, and their tokens
  scopes, refusals                          what they may do, and how those are told who may not come in
connection  one WebSocket, from its challenge to its close
client      who was let in: what is on its way to them
hub         what all of them are told
runs        the runs that are under way, as they see them; `record` is one of them
sessions    which session is meant; `rows` what is told of it, `transcript` what was said in it
feed        what happens in sessions, told to those who follow them
sending     messages of users that become runs; `attachments` their images
method      what they can ask for; `extension`: what an embedder adds to that
roster      the agents, and their models
health, presence, stability        how the gateway is, who is there, what happened lately
wakes       what agents are told that nobody said
service     all of it, for one gateway
"""

from __future__ import annotations

__all__: list[str] = []
