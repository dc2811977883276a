"""What travels between the floors: named tuples without behaviour.

http    request and response heads, body events, peers
chat    a chat completion request after validation
run     what goes into an agent run, and the events that come out of it
names   the family of names the gateway answers to
"""

from __future__ import annotations

__all__: list[str] = []
