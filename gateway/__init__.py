"""The gateway: an OpenAI-compatible HTTP API and the OpenClaw WebSocket protocol, one port, for AI agents.

    import asyncio, gateway

    async def shout(run):                          # an agent is an async generator
        for word in run.request.messages[-1].text.split():
            yield word.upper() + " "

    async def main():
        async with gateway.Gateway(agents={"shout": shout}, listen="127.0.0.1:0", token="s3cret") as gw:
            print(gw.urls)
            await gw.serve_forever()

    asyncio.run(main())

Layout, from the lowest floor to the highest; each imports only from lower ones:

    errors             every error that is raised on purpose
    model              what travels between the floors: requests, runs, events
    addresses          what an IP address means to a limit
    json_limits        how much a JSON text may hold
    ports, deadlines   contracts where floors meet; many time limits on one timer
    tallies, vitals    what counts; what the system knows of the process
    ids                names that nobody can guess
    throttle           failed authentications, counted
    messages           messages as OpenAI's API has them
    targets            what a configuration names as `module:function`
    logring            the end of the log, in memory
    processes          programs that are started, and ended with all they have started
    wire               protocols without I/O: HTTP/1.1, WebSocket, server-sent events
    config             the JSON5 reader, the option table
    sessions           keys, lanes, stores, histories
    server             asyncio: connections, listeners, limits
    providers          models behind HTTP APIs
    tools              what agents can do besides talking
    agents             the registry of agents, the run, its session
    api, control       HTTP handlers; OpenClaw's protocol over WebSockets
    listening          where a gateway listens, by its configuration
    bounds             what peers are held to, by its configuration
    suppliers          models behind providers, by its configuration
    assembly, extras   agents, models and sessions, by its configuration; what is loaded where it asks for it
    metering           what is counted of a gateway, put together
    switchboard        the WebSocket protocol of a gateway, put together
    app                the Gateway, which joins them all
    cli, testing       the command `gateway`; doubles for tests

What `__all__` names is imported when it is first asked for: whoever wants only `gateway.wire` gets no event loop with
it.  `__init__.pyi` tells type checkers the same.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Agent": ".ports",
    "AgentError": ".errors",
    "Call": ".control.method",
    "Caller": ".model.caller",
    "ChatRequest": ".model.chat",
    "ConfigError": ".errors",
    "Gateway": ".app",
    "GatewayError": ".errors",
    "Image": ".model.chat",
    "Key": ".model.caller",
    "Limits": ".server.limits",
    "Message": ".model.chat",
    "PeerGone": ".errors",
    "Rate": ".model.caller",
    "ReasoningDelta": ".model.run",
    "RequestError": ".errors",
    "RpcError": ".control.problem",
    "RunDone": ".model.run",
    "RunFailed": ".model.run",
    "RunInput": ".model.run",
    "ToolCallDelta": ".model.run",
    "ToolError": ".errors",
    "Usage": ".model.run",
}
__all__ = ["__version__", *_HOMES]  # noqa: PLE0604 - the keys are strings


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home, __name__), name)
    return value
