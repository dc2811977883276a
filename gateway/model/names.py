"""The family of names the gateway answers to.  Nothing else in the code spells one of them.

For each NAME: model `NAME`, `NAME/default`, `NAME/<agentId>`, `NAME:<agentId>`; headers `x-NAME-agent-id` and so on;
environment `NAME_GATEWAY_TOKEN` and so on; configuration in `~/.NAME/`.
"""

from __future__ import annotations

__all__ = [
    "DEFAULT_CONFIG_PATHS",
    "DEFAULT_STATE_FOLDER",
    "FALLBACK",
    "FAMILIES",
    "OWN",
    "PUBLIC",
    "REDACTED",
    "WORKER_PLACE",
    "environment",
    "headers",
]

PUBLIC = "openclaw"
"""The name that answers carry: model lists, `owned_by`."""

FALLBACK = f"x-{PUBLIC}-fallback".encode()
"""The response header that names the model which answers in place of an agent's first one."""

REDACTED = f"__{PUBLIC.upper()}_REDACTED__"
"""What stands in place of a secret in a configuration that is shown; a client that sends it back means the secret."""

OWN = "gateway"
"""What this program calls itself, and the provider of agents that are programs."""

WORKER_PLACE = f"{OWN.upper()}_WORKER"
"""The environment variable by which a process knows that it is a worker, and of which supervisor."""

FAMILIES = (PUBLIC, "clawdbot", "moltbot", OWN)
"""In order of precedence."""

DEFAULT_CONFIG_PATHS = ("~/.gateway/gateway.json5", "~/.openclaw/openclaw.json", "~/.clawdbot/clawdbot.json")

DEFAULT_STATE_FOLDER = f"~/.{OWN}"
"""What is kept from one start to the next, where no variable for STATE_DIR names another folder."""


def headers(suffix: str) -> tuple[bytes, ...]:
    """The request headers `x-NAME-<suffix>`, as field names in lower case, in order of precedence."""
    return tuple(f"x-{name}-{suffix}".encode() for name in FAMILIES)


def environment(suffix: str) -> tuple[str, ...]:
    """The environment variables for `suffix`, in order of precedence.

    `GATEWAY_TOKEN` gives `OPENCLAW_GATEWAY_TOKEN`, `CLAWDBOT_GATEWAY_TOKEN` ... and, last, our own `GATEWAY_TOKEN`.
    `CONFIG_PATH` and `STATE_DIR` give our own `GATEWAY_CONFIG_PATH` first: it says where *this* program looks, the
    others where the product looks.
    """
    relatives = tuple(f"{name.upper()}_{suffix}" for name in FAMILIES if name != OWN)
    if suffix.startswith("GATEWAY_"):
        return (*relatives, suffix)
    return (f"{OWN.upper()}_{suffix}", *relatives)
