"""Which session a request belongs to, if it says so; `model.run.fresh_key` is for those that do not."""

from __future__ import annotations

from hashlib import sha256

from ..errors import RequestError

__all__ = ["explicit_key", "user_key"]

# Namespaces of the product's own sessions; a client that could name them would speak in their place.
RESERVED = ("subagent:", "cron:", "acp:")
# Keys are names, not contents; longer ones would only cost memory in every table that holds them.
KEY_CHARACTERS = 512
# A `user` up to here is legible in the key.
USER_CHARACTERS = 128


def explicit_key(value: str, header: str) -> str:
    """The key that a client gave in `header`, verbatim.

    Raises RequestError for reserved namespaces, whether at the beginning or behind `agent:<id>:`, in any case.
    """
    plain = value.lower()
    if plain.startswith("agent:"):
        plain = plain.split(":", 2)[-1]
    if plain.startswith(RESERVED) or value.lower().startswith(RESERVED):
        raise RequestError(400, f"`{header}` cannot use reserved internal session namespaces.", param=header)
    if len(value) > KEY_CHARACTERS:
        raise RequestError(400, f"`{header}` is longer than {KEY_CHARACTERS} characters.", param=header)
    return value


def user_key(agent_id: str, user: str, namespace: str = "openai-user") -> str:
    """The key for OpenAI's `user`: different users never share one."""
    if len(user) <= USER_CHARACTERS:
        return f"agent:{agent_id}:{namespace}:{user}"
    # A namespace of its own: otherwise a user could be *named* like the hash of another.
    return f"agent:{agent_id}:{namespace}-sha256:{sha256(user.encode()).hexdigest()}"
