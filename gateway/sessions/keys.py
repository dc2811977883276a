"""Which session a request belongs to, if it says so; `model.run.fresh_key` is for those that do not.

A key is a name, not a content: limited in length, and of characters that a log or a terminal can show.  Those of a
caller with a key of its own begin with that key's id, and nothing a client says gets it past that.
"""

from __future__ import annotations

from ..errors import RequestError

__all__ = ["bare", "chat_key", "explicit_key", "owns", "plain", "scoped", "user_key"]

# Namespaces of the product's own sessions, and of callers; a client that could name them would speak in their place.
_OWNED = "key:"
RESERVED = ("subagent:", "cron:", "acp:", _OWNED)
# Longer keys would only cost memory in every table that holds them.
KEY_CHARACTERS = 512
# A `user` or chat id up to here is legible in the key.
LEGIBLE_CHARACTERS = 128
# What chat programs say before a chat has an id, or of one that is not to be kept: all these would share a session.
# `local:...` are Open WebUI's temporary chats, `new` and `PENDING` LibreChat's new ones, `{{...}}` is a header template
# that nothing was put into.
_NO_CHATS = frozenset({"local", "new", "pending", "none", "null", "undefined"})
_NO_CHAT_PREFIXES = ("local:", "{{", "${")


def explicit_key(value: str, header: str) -> str:
    """The key that a client gave in `header`, verbatim.

    Raises RequestError (400) for reserved namespaces, whether at the beginning or behind `agent:<id>:`, in any case,
    and for keys that are too long or hold characters that nobody could see.
    """
    plain = value.lower()
    if plain.startswith("agent:"):
        plain = plain.split(":", 2)[-1]
    if plain.startswith(RESERVED) or value.lower().startswith(RESERVED):
        raise RequestError(400, f"`{header}` cannot use reserved internal session namespaces.", param=header)
    if len(value) > KEY_CHARACTERS:
        raise RequestError(400, f"`{header}` is longer than {KEY_CHARACTERS} characters.", param=header)
    if not value.isprintable():
        raise RequestError(400, f"`{header}` holds a control character, or one that cannot be seen.", param=header)
    return value


def user_key(agent_id: str, user: str, namespace: str = "openai-user") -> str:
    """The key for OpenAI's `user`: different users never share one."""
    return _named(agent_id, namespace, user)


def chat_key(agent_id: str, chat_id: str) -> str | None:
    """The key for the id that a chat program gives a conversation; None for those that are no ids.

    Never the key of a user, whatever either is called.
    """
    chat_id = chat_id.strip()
    word = chat_id.lower()
    if not word or word in _NO_CHATS or word.startswith(_NO_CHAT_PREFIXES):
        return None
    return _named(agent_id, "chat", chat_id)


def _named(agent_id: str, namespace: str, name: str) -> str:
    if len(name) <= LEGIBLE_CHARACTERS and name.isprintable():
        return f"agent:{agent_id}:{namespace}:{name}"
    from hashlib import sha256  # noqa: PLC0415 - for long names only: it costs the start 2 ms

    # A namespace of its own: otherwise something could be *named* like the hash of another.
    return f"agent:{agent_id}:{namespace}-sha256:{sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()}"


def scoped(caller_id: str, key: str) -> str:
    """The key of a session of this caller (`model.caller`): the operator's as it is, others' apart from all else."""
    return f"{_prefix(caller_id)}{key}" if caller_id else key


def owns(caller_id: str, key: str) -> bool:
    """Whether a session with this key was made by this caller."""
    return key.startswith(_prefix(caller_id)) if caller_id else not key.startswith(_OWNED)


def bare(caller_id: str, key: str) -> str:
    """The key of a session as its caller knows it: what `scoped` was given."""
    return key.removeprefix(_prefix(caller_id)) if caller_id else key


def plain(key: str) -> str:
    """The key of a session as whoever made it knows it."""
    return key.split(":", 2)[-1] if key.startswith(_OWNED) else key


def _prefix(caller_id: str) -> str:
    # So that the first colon after it ends the id, whatever ids there may be.
    return f"{_OWNED}{caller_id.replace('%', '%25').replace(':', '%3A')}:"
