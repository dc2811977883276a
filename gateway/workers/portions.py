"""Limits that hold for all processes together, and of which each has a part of its own."""

from __future__ import annotations

from ..config.schema import Config
from ..config.schema_agents import AgentEntry
from ..errors import ConfigError

__all__ = ["portion"]


def portion(config: Config, workers: int) -> Config:
    """What one of so many processes may do: its part of the runs and tool calls at a time.

    Rounded down, so that all together never do more than the configuration allows.  Raises ConfigError for a number
    that cannot be divided.
    """
    agents, tools = config.agents, config.tools
    problems: list[str] = []

    def part(path: str, number: int) -> int:
        if 0 < number < workers:
            problems.append(
                f"{path}: {number} cannot be divided among {workers} processes (gateway.workers): "
                "allow each of them at least one, or serve with fewer"
            )
        return number // workers

    def one(entry: AgentEntry) -> AgentEntry:
        if entry.max_concurrent is None:
            return entry
        return entry.replace(max_concurrent=part(f"agents: {entry.id}: maxConcurrent", entry.max_concurrent))

    parted = config.replace(
        agents=agents.replace(
            max_concurrent_runs=part("agents.maxConcurrentRuns", agents.max_concurrent_runs),
            defaults=agents.defaults.replace(
                max_concurrent=part("agents.defaults.maxConcurrent", agents.defaults.max_concurrent)
            ),
            list=tuple(map(one, agents.list)),
        ),
        tools=tools.replace(max_invocations=part("tools.maxInvocations", tools.max_invocations)),
    )
    if problems:
        raise ConfigError(*problems)
    return parted
