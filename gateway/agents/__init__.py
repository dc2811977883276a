"""What answers: agents, who they are, and how they are run.

registry    which agents there are, and which of them a request means
run         the one way in which an agent is run, whoever asks
function    Python callables as agents; the echo agent
openai      a model behind an OpenAI-compatible server
providers   where such servers are
upstream    the HTTP client for them
origin      what a URL says to it
"""

from __future__ import annotations

__all__: list[str] = []
