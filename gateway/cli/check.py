"""`gateway check`: whether `gateway run` would start, and with what."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace

from ..config import Credential, effective
from .build import build
from .console import say, write
from .setup import add_config, load_config

__all__ = ["add_arguments", "execute"]


def add_arguments(parser: ArgumentParser) -> None:
    """The flags of the command."""
    add_config(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object: path, warnings, agents, config")


def execute(options: Namespace) -> int:
    """Check all that can be checked without listening; returns the exit code.  Raises ConfigError."""
    loaded = load_config(options)
    gateway, credential = build(loaded)
    config = effective(loaded.config)
    agents = [agent.id for agent in loaded.config.agents.list]
    default = gateway.registry.default.id if gateway.registry.default else None
    if options.json:
        report = {
            "path": loaded.path,
            "warnings": loaded.warnings,
            "auth": credential.mode,
            "agents": agents,
            "default": default,
            "config": config,
        }
        write(json.dumps(report, ensure_ascii=False) + "\n")
        return 0
    say(*(f"warning: {warning}" for warning in loaded.warnings))
    lines = [
        f"configuration: {loaded.path or 'no file, the defaults'}",
        f"clients show: {_shown(credential, len(loaded.config.gateway.auth.keys))}",
        f"agents: {', '.join(agents)}",
        f"default agent: {default or 'none; requests have to name theirs'}",
        json.dumps(config, ensure_ascii=False, indent=2),
    ]
    write("".join(f"{line}\n" for line in lines))
    return 0


def _shown(credential: Credential, keys: int) -> str:
    """What clients have to show."""
    if credential.mode == "none":
        return "nothing"
    own = [] if credential.secret is None else [f"a {credential.mode}"]
    return " or ".join(own + ([f"a key ({keys} configured)"] if keys else []))
