"""The configuration: read, checked, and shown.

json5     a reader of JSON5 that keeps places; imports nothing of the rest
style     how a JSON5 text is written
edit      changes to a JSON5 text that leave the rest as it was written
tree      values that know their file, line and column
env       ${VAR} in values, and .env files
fields    the parts an option table is made of
values    what single values must look like
product   keys of the product's configuration that are not used here
schema    the option table, as the classes that hold the values; `schema_...` are its parts
checks    what options must hold together
auth      which secret clients must show
loader    from a file name, or none, to a configuration
show      the option table and a configuration, for people
redact    a configuration without its secrets
patch     a part of a configuration laid over the whole
source    the file, for those who change it
json_schema  the option table as a JSON Schema

Nothing here reads the process environment: it is handed in.

What `__all__` names is imported when it is first asked for, as in the package itself: a gateway that is embedded reads
no file and shows no table.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "BUILT_IN_PROVIDERS": ".values",
    "AgentDefaults": ".schema_agents",
    "AgentEntry": ".schema_agents",
    "Agents": ".schema_agents",
    "Auth": ".schema_auth",
    "ChatCompletions": ".schema",
    "Config": ".schema",
    "ConfigSource": ".source",
    "ControlUi": ".schema",
    "Cors": ".schema",
    "Credential": ".auth",
    "Embeddings": ".schema",
    "Endpoints": ".schema",
    "Gateway": ".schema",
    "Http": ".schema",
    "Json5Error": ".json5",
    "Key": ".schema_auth",
    "KeyRate": ".schema_auth",
    "Limits": ".schema",
    "Loaded": ".loader",
    "Models": ".schema_models",
    "OptionRow": ".show",
    "Provider": ".schema_models",
    "ProviderModel": ".schema_models",
    "RateLimit": ".schema_auth",
    "Responses": ".schema",
    "Runtime": ".schema_agents",
    "Session": ".schema_session",
    "Shutdown": ".schema",
    "Tls": ".schema",
    "UnixSocket": ".schema",
    "effective": ".show",
    "is_local": ".auth",
    "load": ".loader",
    "markdown": ".show",
    "options": ".show",
    "resolve_auth": ".auth",
    "resolve_keys": ".auth",
    "secrets": ".show",
}
__all__ = [*_HOMES]  # noqa: PLE0604 - the keys are strings


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home, __name__), name)
    return value
