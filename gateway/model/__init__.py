"""What travels between the floors: named tuples without behaviour.

http     request and response heads, body events, peers
chat     a conversation, and a request to go on with it, after validation
caller   who asks, and what one client's key lets it do
run      what goes into an agent run, and the events that come out of it
metrics  what is counted
session  what a session holds
names    the family of names the gateway answers to
"""

from __future__ import annotations

__all__: list[str] = []
