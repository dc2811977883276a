"""Limits that hold for all processes together, and of which each has a part of its own."""

from __future__ import annotations

from ..config.schema import Config
from ..config.schema_agents import AgentEntry

__all__ = ["portion"]


def portion(config: Config, workers: int) -> Config:
    """What one of so many processes may do: its part of the runs and tool calls at a time.

    Rounded down, so that all together never do more than the configuration allows; it names no number that could not be
    divided (`config.checks`).
    """

    def part(number: int) -> int:
        return max(1, number // workers) if number else 0

    def of(entry: AgentEntry) -> AgentEntry:
        return entry if entry.max_concurrent is None else entry.replace(max_concurrent=part(entry.max_concurrent))

    agents, tools = config.agents, config.tools
    return config.replace(
        agents=agents.replace(
            max_concurrent_runs=part(agents.max_concurrent_runs),
            defaults=agents.defaults.replace(max_concurrent=part(agents.defaults.max_concurrent)),
            list=tuple(map(of, agents.list)),
        ),
        tools=tools.replace(max_invocations=part(tools.max_invocations)),
    )
