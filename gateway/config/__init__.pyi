from .auth import Credential, is_local, resolve_auth, resolve_keys
from .json5 import Json5Error
from .loader import Loaded, load
from .schema import (
    ChatCompletions,
    Config,
    ControlUi,
    Cors,
    Embeddings,
    Endpoints,
    Gateway,
    Http,
    Limits,
    Responses,
    Shutdown,
    Tls,
    UnixSocket,
)
from .schema_agents import AgentDefaults, AgentEntry, Agents, Runtime
from .schema_auth import Auth, Key, KeyRate, RateLimit
from .schema_models import Models, Provider, ProviderModel
from .schema_session import Session
from .show import OptionRow, effective, markdown, options, secrets
from .source import ConfigSource
from .values import BUILT_IN_PROVIDERS

__all__ = [
    "BUILT_IN_PROVIDERS",
    "AgentDefaults",
    "AgentEntry",
    "Agents",
    "Auth",
    "ChatCompletions",
    "Config",
    "ConfigSource",
    "ControlUi",
    "Cors",
    "Credential",
    "Embeddings",
    "Endpoints",
    "Gateway",
    "Http",
    "Json5Error",
    "Key",
    "KeyRate",
    "Limits",
    "Loaded",
    "Models",
    "OptionRow",
    "Provider",
    "ProviderModel",
    "RateLimit",
    "Responses",
    "Runtime",
    "Session",
    "Shutdown",
    "Tls",
    "UnixSocket",
    "effective",
    "is_local",
    "load",
    "markdown",
    "options",
    "resolve_auth",
    "resolve_keys",
    "secrets",
]
