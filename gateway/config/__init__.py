"""The configuration: read, checked, and shown.

json5     a reader of JSON5 that keeps places; imports nothing of the rest
tree      values that know their file, line and column
env       ${VAR} in values, and .env files
fields    the parts an option table is made of
values    what single values must look like
product   keys of the product's configuration that are not used here
schema    the option table, as the dataclasses that hold the values
checks    what options must hold together
auth      which secret clients must show
load      from a file name, or none, to a configuration
show      the option table and a configuration, for people

Nothing here reads the process environment: it is handed in.
"""

from __future__ import annotations

from .auth import Credential, is_local, resolve_auth
from .json5 import Json5Error
from .load import Loaded, load
from .schema import (
    AgentDefaults,
    AgentEntry,
    Agents,
    Auth,
    ChatCompletions,
    Config,
    Endpoints,
    Gateway,
    Http,
    Limits,
    Models,
    Provider,
    ProviderModel,
    Runtime,
    Session,
    Shutdown,
    Tls,
)
from .show import OptionRow, effective, markdown, options
from .values import BUILT_IN_PROVIDERS

__all__ = [
    "BUILT_IN_PROVIDERS",
    "AgentDefaults",
    "AgentEntry",
    "Agents",
    "Auth",
    "ChatCompletions",
    "Config",
    "Credential",
    "Endpoints",
    "Gateway",
    "Http",
    "Json5Error",
    "Limits",
    "Loaded",
    "Models",
    "OptionRow",
    "Provider",
    "ProviderModel",
    "Runtime",
    "Session",
    "Shutdown",
    "Tls",
    "effective",
    "is_local",
    "load",
    "markdown",
    "options",
    "resolve_auth",
]
