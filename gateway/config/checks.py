"""What options must hold together, once each of them is acceptable alone.

A section with a fault in it is left out where its values matter: what is missing there may only have been refused.
"""

from __future__ import annotations

import sys

from .auth import digest_of, missing
from .fields import Reading
from .kinds import models_of
from .schema import Config, Gateway, Tls
from .schema_agents import AgentEntry, Agents
from .schema_auth import Auth
from .schema_tools import McpServer, Tool
from .tree import Key, Node, Path, show_path
from .values import BUILT_IN_PROVIDERS

__all__ = ["finish"]


def finish(config: Config, root: Node, reading: Reading) -> Config:
    """The configuration in its final form.  Problems are told to `reading`."""
    for name, provider in config.models.providers.items():
        if provider.base_url is None and name not in BUILT_IN_PROVIDERS and _is_clean(provider, reading):
            _problem(provider, None, "'baseUrl' is missing; only built-in providers have one of their own", reading)
    _tools(config.tools.list, reading)
    for server in config.mcp.servers.values():
        _mcp_server(server, reading)
    gateway = _gateway(config.gateway, reading)
    if gateway.workers > 1:
        _shared(config, gateway.workers, reading)
    agents = _agents(config.agents, root, reading)
    return config.replace(gateway=gateway, agents=agents)


def _gateway(gateway: Gateway, reading: Reading) -> Gateway:
    bind = gateway.bind
    if bind == "custom":
        if gateway.custom_bind_host is None and reading.is_clean(("gateway", "customBindHost")):
            _problem(gateway, "bind", "'custom' needs gateway.customBindHost, the address to listen on", reading)
        bind = gateway.custom_bind_host or bind
    if gateway.workers > 1 and sys.platform == "win32":
        _problem(gateway, "workers", "several processes need a system with unix sockets. Leave it at 1", reading)
    http = gateway.http
    listed = (*http.cors.allowed_origins, *gateway.control_ui.allowed_origins)
    if "*" in listed and gateway.auth.mode == "none":
        section = http.cors if "*" in http.cors.allowed_origins else gateway.control_ui
        message = "without authentication '*' would let every web page use the agents. Name the origins one by one"
        _problem(section, "allowedOrigins", message, reading)
    images = http.endpoints.chat_completions.images
    if images.allow_url and not images.url_allowlist and _is_clean(images, reading):
        message = 'it needs urlAllowlist beside it, the hosts to fetch from: ["images.example.com"], or ["*"] for any'
        _problem(images, "allowUrl", message, reading)
    _keys_of(gateway.auth, reading)
    http = http.replace(cors=http.cors.replace(allowed_origins=tuple(dict.fromkeys(listed))))
    return gateway.replace(bind=bind, tls=_tls(gateway.tls, reading), http=http)


def _shared(config: Config, workers: int, reading: Reading) -> None:
    """What several processes cannot share."""
    if config.session.store == "memory":
        message = 'the memory of one process, and gateway.workers has several serve. Keep sessions in a file: "sqlite"'
        _problem(config.session, "store", message, reading)
    agents = config.agents
    limits: list[tuple[object, str, str]] = [
        (agents, "maxConcurrentRuns", "max_concurrent_runs"),
        (agents.defaults, "maxConcurrent", "max_concurrent"),
        *((entry, "maxConcurrent", "max_concurrent") for entry in agents.list),
        (config.tools, "maxInvocations", "max_invocations"),
    ]
    for section, key, name in limits:
        found = reading.origin(section)
        number = getattr(section, name)
        if found is not None and key in found[0].value and number is not None and 0 < number < workers:
            message = (
                f"{number} cannot be divided among {workers} processes (gateway.workers). Allow each of them at least "
                "one, or serve with fewer"
            )
            _problem(section, key, message, reading)


def _keys_of(auth: Auth, reading: Reading) -> None:
    if auth.keys and auth.mode == "none":
        _problem(
            auth, "mode", "without authentication nobody is asked for a key. Remove the mode, or the keys", reading
        )
    ids: dict[str, str] = {}
    secrets: dict[bytes, str] = {}
    for key in auth.keys:
        if not _is_clean(key, reading):
            continue
        place = _place(key, reading)
        if key.id in ids:
            _problem(key, "id", f"there is a key '{key.id}' already, at {ids[key.id]}", reading)
        ids.setdefault(key.id, place)
        given = [name for name in ("secret", "hash", "env") if getattr(key, name) is not None]
        digest = digest_of(key, reading.environ)
        if len(given) > 1:
            _problem(key, given[1], f"there is a '{given[0]}' already. A key has one secret", reading)
        elif digest is None:
            _problem(key, key.env and "env", missing(key), reading)
        elif digest in secrets:
            _problem(key, given[0], f"the key at {secrets[digest]} has the same secret", reading)
        else:
            secrets[digest] = place
        for name in ("agents", "scopes"):
            _not_empty(key, name, reading)


def _not_empty(section: object, name: str, reading: Reading) -> None:
    found = reading.origin(section)
    if found is not None and name in found[0].value and not getattr(section, name):
        _problem(section, name, "an empty list would allow nothing. Name some, or leave it out", reading)


def _place(section: object, reading: Reading) -> str:
    found = reading.origin(section)
    assert found is not None, "it was written"
    return f"{show_path(found[1])} ({found[0].place})"


def _tls(tls: Tls, reading: Reading) -> Tls:
    found = reading.origin(tls)
    if found is None or not _is_clean(tls, reading):
        return tls
    if (tls.cert_path is None) != (tls.key_path is None):
        here, other = ("keyPath", "certPath") if tls.cert_path is None else ("certPath", "keyPath")
        _problem(tls, here, f"{here} needs {other} beside it", reading)
    elif tls.enabled and tls.cert_path is None:
        _problem(tls, "enabled", "TLS needs certPath and keyPath; no certificate is made for you", reading)
    elif tls.ca_path is not None and tls.cert_path is None:
        _problem(tls, "caPath", "client certificates need TLS: certPath and keyPath beside it", reading)
    elif tls.ca_path is None and "clientCertificates" in found[0].value:
        _problem(tls, "clientCertificates", "it needs caPath beside it, the issuers of these certificates", reading)
    said = "enabled" in found[0].value
    return tls if said else tls.replace(enabled=tls.cert_path is not None)


def _agents(agents: Agents, root: Node, reading: Reading) -> Agents:
    entries = (*agents.list, *agents.entries)
    configured = (key for key in _keys(root, ("models", "providers")) if isinstance(key, str))
    providers = frozenset(BUILT_IN_PROVIDERS).union(configured)
    default_model = agents.defaults.model
    _model(agents.defaults, default_model, providers, reading)
    _unique(entries, reading)
    finished = []
    for entry in entries:
        _model(entry, entry.model, providers, reading)
        if _is_clean(entry, reading):
            _runtime(entry, default_model, reading)
        uses_default = entry.model is None and entry.runtime.type == "model"
        finished.append(entry.replace(model=default_model) if uses_default else entry)
    written = (*_keys(root, ("agents", "list")), *_keys(root, ("agents", "entries")))
    if default_model is not None and not written:
        finished.append(AgentEntry(id="main", default=True, model=default_model))
    return agents.replace(list=tuple(finished), entries=())


def _tools(tools: tuple[Tool, ...], reading: Reading) -> None:
    names: set[str] = set()
    for tool in tools:
        if not _is_clean(tool, reading):
            continue
        if (tool.python is None) == (tool.command is None):
            _problem(tool, None, 'it needs one of python: "module:function" and command: {argv: [...]}', reading)
        elif tool.command is not None and tool.name is None:
            _problem(tool, "command", "a command needs a name beside it", reading)
        elif tool.command is not None and not tool.command.argv:
            _problem(tool.command, "argv", "it needs a program", reading)
        elif tool.name is not None and tool.name in names:
            _problem(tool, "name", f"there is a tool '{tool.name}' already", reading)
        names.add(tool.name or "")


def _mcp_server(server: McpServer, reading: Reading) -> None:
    if not _is_clean(server, reading):
        return
    kind = server.type or server.transport
    if (server.command is None) == (server.url is None):
        _problem(server, None, "it needs one of command (a program) and url (streamable HTTP)", reading)
    elif kind is not None and (kind == "stdio") != (server.command is not None):
        key = "type" if server.type is not None else "transport"
        _problem(server, key, "'stdio' goes with a command, the others with a url", reading)


_FOR_COMMANDS = {"argv", "input", "output", "cwd", "env", "inheritEnv", "timeoutMs", "maxOutputBytes"}


def _unique(entries: tuple[AgentEntry, ...], reading: Reading) -> None:
    ids: set[str] = set()
    aliases: dict[str, str] = {}
    default: str | None = None
    for entry in entries:
        if entry.id in ids:
            _problem(entry, "id", f"there is an agent '{entry.id}' already (agents.list and agents.entries)", reading)
        ids.add(entry.id)
        for alias in entry.aliases:
            owner = aliases.setdefault(alias.lower(), entry.id)
            if owner != entry.id:
                _problem(entry, "aliases", f"'{alias}' means agent '{owner}' already", reading)
        if entry.default and default is not None:
            _problem(entry, "default", f"agent '{default}' is the default already", reading)
        elif entry.default:
            default = entry.id


def _runtime(entry: AgentEntry, default_model: str | None, reading: Reading) -> None:
    runtime = entry.runtime
    if runtime.type == "python" and runtime.target is None:
        _problem(runtime, "type", "'python' needs a target beside it, like \"module:function\"", reading)
    if runtime.type == "command" and not (runtime.argv and runtime.argv[0]):
        _problem(runtime, "type", '\'command\' needs argv beside it, like ["program", "argument"]', reading)
    if runtime.type != "python" and runtime.target is not None:
        _problem(runtime, "target", 'a target is only for type: "python"', reading)
        return
    if runtime.type != "model" and entry.tools:
        _problem(entry, "tools", "only a model can be given tools; a program uses its own", reading)
    if runtime.type != "command":
        for name, row in runtime.OPTIONS.items():
            if row.key in _FOR_COMMANDS and getattr(runtime, name) != row.default:
                _problem(runtime, row.key, 'this is only for type: "command"', reading)
    nothing = runtime.type == "model" and entry.model is None and default_model is None
    if nothing and reading.is_clean(("agents", "defaults")):
        message = (
            f"agent '{entry.id}' has nothing to answer with. "
            'Give it model: "provider/model", set agents.defaults.model, or use runtime: {type: "echo"}'
        )
        _problem(entry, "id", message, reading)


def _model(section: object, model: str | None, providers: frozenset[str], reading: Reading) -> None:
    for name in () if model is None else models_of(model):
        provider = name.partition("/")[0]
        if provider in providers:
            continue
        message = (
            f"there is no provider '{provider}'. Add models.providers.{provider} with api and baseUrl, "
            f"or use one of: {', '.join(sorted(providers))}"
        )
        _problem(section, "model", message, reading)


def _is_clean(section: object, reading: Reading) -> bool:
    found = reading.origin(section)
    return found is None or reading.is_clean(found[1])


def _problem(section: object, key: str | None, message: str, reading: Reading) -> None:
    """A problem with a member of a section, or with the section where `key` is None."""
    found = reading.origin(section)
    assert found is not None, "defaults hold together"
    node, path = found
    if key is None:
        reading.problem(node.key_place, path, message)
    else:
        reading.problem(node.value[key].place, (*path, key), message)


def _keys(root: Node, path: Path) -> tuple[Key, ...]:
    """The keys, or indexes, that are written at `path`."""
    node: Node | None = root
    for key in path:
        node = node.value.get(key) if node is not None and isinstance(node.value, dict) else None
    if node is None or not isinstance(node.value, dict | list):
        return ()
    return tuple(node.value) if isinstance(node.value, dict) else tuple(range(len(node.value)))
