"""Options: the agents.  See `schema`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from . import kinds, product, values
from .fields import (
    REQUIRED,
    Boolean,
    Choice,
    Integer,
    ListOf,
    MapOf,
    Secret,
    Section,
    SectionClass,
    Text,
    option,
    section,
)
from .kinds import DAY_MS, count, milliseconds
from .schema_tools import ToolNames

__all__ = ["AgentDefaults", "AgentEntry", "AgentTimeouts", "Agents", "DefaultTimeouts", "Runtime"]


class DefaultTimeouts(SectionClass):
    # As long as the SDKs of OpenAI wait by default, and longer than what models and tools are given, whose own limits
    # tell better what is wrong.
    first_token_ms: int = milliseconds(
        600_000, "From the start of an agent to its first token: text, reasoning, or a call of a tool."
    )
    idle_ms: int = milliseconds(600_000, "Between two tokens, while somebody waits for the next.")
    total_ms: int = milliseconds(0, "For a whole run, without the time that it waits for its session.")


class AgentDefaults(SectionClass):
    IGNORED = product.AGENT_DEFAULTS

    model: str | None = option(
        None, "The model of agents that name none, and the ones to ask, in order, where it fails.", kinds.ModelName()
    )
    timeouts: DefaultTimeouts = section(DefaultTimeouts)
    max_concurrent: int = count(0, "The most runs of one agent at a time; 0 for no limit.", 0)
    tools: tuple[str, ...] | None = option(
        None, "The tools of agents that name none; models only.", ToolNames(), shown="none"
    )
    max_tool_rounds: int = count(
        20, "Rounds of tool calls in a run, after which the model has to answer with what it has.", 1, 1_000
    )


class Runtime(SectionClass):
    IGNORED = product.RUNTIME

    type: str = option(
        "model", "What answers: a model, a Python function, a command, or an echo.", Choice(values.RUNTIMES)
    )
    target: str | None = option(
        None, "For `python`: the agent as `module:function`.", Text('"module:function"', values.target)
    )
    argv: tuple[str, ...] = option(
        (),
        "For `command`: the program and its arguments, without a shell; `{prompt}`, `{session}` and `{agent}` are "
        "replaced in the arguments.",
        ListOf(Text("text", values.argument)),
        shown="none",
    )
    input: str = option(
        "message",
        "For `command`, what is written to its standard input, or stands for `{prompt}`: the last message, the whole "
        "conversation as text, or as JSON.",
        Choice(("message", "conversation", "json")),
    )
    output: str = option("text", "For `command`: plain text, or JSON lines.", Choice(("text", "jsonl")))
    cwd: str | None = option(None, "For `command`: its folder.", kinds.FileName(), shown="the gateway's")
    env: Mapping[str, str] = option(
        MappingProxyType({}), "For `command`: variables of its own.", MapOf(Secret(), values.variable), shown="none"
    )
    inherit_env: tuple[str, ...] = option(
        (),
        "For `command`: variables of the gateway that it gets besides PATH, HOME, the language and the like.",
        ListOf(Text("name", values.variable)),
        shown="none",
    )
    timeout_ms: int = milliseconds(3_600_000, "For `command`: how long one run of it may take.")
    max_output_bytes: int = option(
        16 << 20, "For `command`: how much one run of it may write, to both streams.", Integer(1_000, 1 << 30)
    )


class AgentTimeouts(SectionClass):
    first_token_ms: int | None = option(
        None, "From its start to its first token.", Integer(0, DAY_MS), shown="agents.defaults.timeouts.firstTokenMs"
    )
    idle_ms: int | None = option(
        None, "Between two tokens.", Integer(0, DAY_MS), shown="agents.defaults.timeouts.idleMs"
    )
    total_ms: int | None = option(
        None, "For a whole run.", Integer(0, DAY_MS), shown="agents.defaults.timeouts.totalMs"
    )


class AgentEntry(SectionClass):
    IGNORED = product.AGENT_ENTRY

    id: str = option(REQUIRED, "The agent's id.", Text("id", values.agent_id), shown="required")
    default: bool = option(False, "Answer requests that name no agent.", Boolean())
    name: str | None = option(None, "A name for people.", Text())
    aliases: tuple[str, ...] = option((), "Other model names that mean this agent.", ListOf(Text("name", values.alias)))
    model: str | None = option(None, "Its model; see there.", kinds.ModelName(), shown="agents.defaults.model")
    runtime: Runtime = section(Runtime)
    system_prompt: str | None = option(None, "Text put before every conversation.", Text())
    show_reasoning: bool = option(
        False, "Tell callers what the model thinks before it answers, as `reasoning_content`.", Boolean()
    )
    timeouts: AgentTimeouts = section(AgentTimeouts)
    max_concurrent: int | None = option(
        None,
        "The most runs of it at a time; 0 for no limit.",
        Integer(0, 1_000_000),
        shown="agents.defaults.maxConcurrent",
    )
    tools: tuple[str, ...] | None = option(
        None, "The tools it may use; models only.", ToolNames(), shown="agents.defaults.tools"
    )
    max_tool_rounds: int | None = option(
        None, "Rounds of tool calls in a run.", Integer(1, 1_000), shown="agents.defaults.maxToolRounds"
    )


class Agents(SectionClass):
    IGNORED = product.AGENTS

    defaults: AgentDefaults = section(AgentDefaults)
    max_concurrent_runs: int = count(
        10_000, "The most runs of all agents at a time: one for each connection, unless there are more of these."
    )
    list: tuple[AgentEntry, ...] = option((), "The agents.", ListOf(Section(AgentEntry)), shown="none")
    entries: tuple[AgentEntry, ...] = option(
        (), "The same as an object, with the ids as keys.", kinds.ById(Section(AgentEntry)), shown="none"
    )
