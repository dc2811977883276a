"""What answers: agents, who they are, and how they are run.

registry    which agents there are, and which of them a request means
run         the one way in which an agent is run, whoever asks
counted     the same, counted
calling     runs whose caller has tools
limits      how many runs of an agent there may be, and how long they may take
fallbacks   models as agents: the first of several that can answer, or the one that a run names
slash       messages of an operator that the gateway answers itself
command     any program as an agent; command_output: what it writes
loop        models that use tools of the gateway; tool_call: one call; unanswered: what waits for the caller's own tools
function    Python callables as agents; the echo agent
"""

from __future__ import annotations

__all__: list[str] = []
