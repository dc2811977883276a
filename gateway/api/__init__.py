"""The HTTP API: handlers `async def (Exchange)`.

router      path and method to handler; the one place where errors become answers
problem     errors as OpenAI's error objects
guard       who may come in
keys        the keys of single clients, and their rates
pages       the names under which a gateway may be asked, and the web pages that may use it
cors        their requests
idempotency what is sent again gets the answer of the first; kept, and played to many, by recording
planning    from a request to its run: which agent, which session, which model
parse       a chat completion request out of its bytes, with parse_messages, parse_tools and parse_parameters
images      images in requests, and how many may be how large
abilities   what an agent takes besides text
chat        POST /v1/chat/completions
chat_bytes  its answers as bytes
responses   POST /v1/responses; its requests in responses_parse and responses_input, its answers in responses_bytes
invoke      POST /tools/invoke
embeddings  POST /v1/embeddings; its requests in embeddings_parse
models      GET /v1/models
health      GET /healthz, /readyz
metrics     GET /metrics; its answers in metrics_bytes
root        GET /
"""

from __future__ import annotations

__all__: list[str] = []
