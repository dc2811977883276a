"""`gateway models`: which models the providers have, as they say themselves."""

from __future__ import annotations

import asyncio
import json
from argparse import ArgumentParser, Namespace
from typing import Any

from ..config import Config
from ..config.kinds import models_of
from ..errors import AgentError, ConfigError
from ..providers.catalog import Catalog
from ..suppliers import Suppliers
from .console import FAILED, complain, write
from .setup import add_config, load_config

__all__ = ["add_arguments", "execute"]

PATIENCE = 30.0
"""Seconds for the list of a provider; it is made from what the provider has at hand."""


def add_arguments(parser: ArgumentParser) -> None:
    """The flags of the command."""
    parser.add_argument(
        "provider", nargs="?", metavar="PROVIDER", help="default: those of the configuration, and those its agents use"
    )
    add_config(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object: provider to its models")


def execute(options: Namespace) -> int:
    """Ask and print; returns the exit code.  Raises ConfigError."""
    loaded = load_config(options)
    names = [options.provider] if options.provider else _providers(loaded.config)
    if not names:
        raise ConfigError("models: no provider is configured; name one, like `gateway models ollama`")
    made: Catalog = Suppliers(loaded.config, loaded.environ).catalog()
    lists, problems = asyncio.run(_ask(made, names))
    if options.json:
        write(json.dumps(lists, ensure_ascii=False) + "\n")
    else:
        write("".join(f"{provider}/{model}\n" for provider, models in lists.items() for model in models))
    complain(*problems)
    return FAILED if problems else 0


def _providers(config: Config) -> list[str]:
    """In the order of the configuration, the agents' after those with an entry."""
    choices = [config.agents.defaults.model, *(agent.model for agent in config.agents.list)]
    used = (name.partition("/")[0] for choice in choices if choice for name in models_of(choice))
    return list(dict.fromkeys((*config.models.providers, *used)))


async def _ask(made: Catalog, names: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """All at once: (lists by provider, what went wrong)."""
    answers: list[Any] = await asyncio.gather(*(_one(made, name) for name in names))
    await made.aclose()
    lists = {name: answer for name, answer in zip(names, answers, strict=True) if isinstance(answer, list)}
    return lists, [answer for answer in answers if isinstance(answer, str)]


async def _one(made: Catalog, name: str) -> list[str] | str:
    """The models of a provider, or what went wrong."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await made.listed(name)
    except TimeoutError:
        return f"{name} sent no list within {PATIENCE:g} s"
    except AgentError as error:
        return error.message
    except ConfigError as error:
        return str(error)
