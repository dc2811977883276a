"""Models behind HTTP APIs, as agents.

settings        where providers are, and how they are reached
upstream        the HTTP client for them
origin          what a URL says to it
model           the agent: asks, tries again, gives what it reads
flow            its text, straight to where it is written
attempts        what each exchange has: headers, limits, pauses before another
dialect         what differs between the APIs
openai          OpenAI's chat completions, which most servers speak
responses       OpenAI's Responses API
anthropic       Anthropic's Messages API
*_stream        their answers
events          what the readers of all APIs share
template        what the events of a stream have in common
calls           calls of tools, in the forms that servers give them
thoughts        what a model thought before it called tools, to be handed back
catalog         the models that there are, and which of them a caller means
listing         which models a provider has, as it says itself
embeddings      embeddings, of providers whose API is like OpenAI's
errors          what a provider's refusals mean to the caller
"""

from __future__ import annotations

__all__: list[str] = []
