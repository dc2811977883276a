"""Options: the agents.  See `schema`."""

from __future__ import annotations

from . import product, values
from .fields import REQUIRED, Boolean, Choice, ListOf, Section, SectionClass, Text, option, section

__all__ = ["AgentDefaults", "AgentEntry", "Agents", "Runtime"]


class AgentDefaults(SectionClass):
    IGNORED = product.AGENT_DEFAULTS

    model: str | None = option(None, "The model of agents that name none.", values.ModelName())


class Runtime(SectionClass):
    IGNORED = product.RUNTIME

    type: str = option("model", "What answers: a model, a Python function, or an echo.", Choice(values.RUNTIMES))
    target: str | None = option(
        None, "For `python`: the agent as `module:function`.", Text('"module:function"', values.target)
    )


class AgentEntry(SectionClass):
    IGNORED = product.AGENT_ENTRY

    id: str = option(REQUIRED, "The agent's id.", Text("id", values.agent_id), shown="required")
    default: bool = option(False, "Answer requests that name no agent.", Boolean())
    name: str | None = option(None, "A name for people.", Text())
    aliases: tuple[str, ...] = option((), "Other model names that mean this agent.", ListOf(Text("name", values.alias)))
    model: str | None = option(None, "Its model.", values.ModelName(), shown="agents.defaults.model")
    runtime: Runtime = section(Runtime)
    system_prompt: str | None = option(None, "Text put before every conversation.", Text())
    show_reasoning: bool = option(
        False, "Tell callers what the model thinks before it answers, as `reasoning_content`.", Boolean()
    )


class Agents(SectionClass):
    IGNORED = product.AGENTS

    defaults: AgentDefaults = section(AgentDefaults)
    list: tuple[AgentEntry, ...] = option((), "The agents.", ListOf(Section(AgentEntry)), shown="none")
    entries: tuple[AgentEntry, ...] = option(
        (), "The same as an object, with the ids as keys.", values.ById(Section(AgentEntry)), shown="none"
    )
