"""Models behind HTTP APIs, as agents.

settings        where providers are, and how they are reached
upstream        the HTTP client for them
origin          what a URL says to it
model           the agent: asks, tries again, gives what it reads
attempts        what each exchange has: headers, limits, pauses before another
dialect         what differs between the APIs
openai          OpenAI's chat completions, which most servers speak
openai_stream   their answers
embeddings      embeddings, of providers whose API is like OpenAI's
errors          what a provider's refusals mean to the caller
"""

from __future__ import annotations

__all__: list[str] = []
