"""The option table: every option, with its kind, default and help, as the classes that hold the values.

Validation, defaults, flags' help, `gateway check` and the documentation are all made from this table.  What several
options must hold together stands in `checks`; what a single value must look like, in `values`.

Names are those of the product whose configurations this program reads.  After reading, `gateway.bind` is an address,
`agents.list` holds all agents in one form, and `tls.enabled` tells whether to use TLS.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from . import product, values
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

__all__ = [
    "AgentDefaults",
    "AgentEntry",
    "Agents",
    "Auth",
    "ChatCompletions",
    "Config",
    "ControlUi",
    "Cors",
    "Endpoints",
    "Gateway",
    "Http",
    "Limits",
    "Models",
    "Provider",
    "ProviderModel",
    "RateLimit",
    "Runtime",
    "Session",
    "Shutdown",
    "Tls",
    "Ws",
]

_DAY_MS = 86_400_000
_GIB = 1 << 30


def _count(default: int, help: str, least: int = 1, most: int = 1_000_000) -> Any:  # noqa: A002 - as in `option`
    return option(default, help, Integer(least, most))


def _ms(default: int, help: str, least: int = 0) -> Any:  # noqa: A002 - as in `option`
    return option(default, f"{help} In milliseconds; 0 for no limit." if least == 0 else help, Integer(least, _DAY_MS))


class ChatCompletions(SectionClass):
    IGNORED = product.CHAT_COMPLETIONS

    enabled: bool = option(False, "Serve POST /v1/chat/completions.", Boolean())
    max_body_bytes: int = option(20 << 20, "The largest request body, in bytes.", Integer(1, _GIB))


class Endpoints(SectionClass):
    IGNORED = product.ENDPOINTS

    chat_completions: ChatCompletions = section(ChatCompletions)


class Limits(SectionClass):
    head_bytes: int = option(32 << 10, "The largest request head, in bytes.", Integer(1 << 10, 1 << 20))
    header_count: int = _count(100, "The most header lines in a request.", 8, 10_000)
    head_timeout_ms: int = _ms(10_000, "From the first byte of a request head to its last.")
    body_idle_timeout_ms: int = _ms(30_000, "For each 16 KiB of a request body, or what is left of it.")
    keep_alive_timeout_ms: int = _ms(75_000, "Between two requests on a connection.")
    write_timeout_ms: int = _ms(60_000, "For each 16 KiB of an answer; a client slower than that is cut off.")
    connections: int = _count(10_000, "The most connections at a time.")
    connections_per_peer: int = _count(1_000, "The most connections at a time from one address.")
    unauthenticated_per_peer: int = _count(100, "Of these, the most that have not shown the secret yet.")
    exempt_loopback: bool = option(True, "Do not count connections from this machine for each address.", Boolean())


class Cors(SectionClass):
    allowed_origins: tuple[str, ...] = option(
        (),
        "Web pages that may use the gateway, and open WebSockets, by their origins; `*` for all but `null`.",
        ListOf(Text("origin", values.origin)),
        shown="none, and no CORS headers",
    )


class Http(SectionClass):
    IGNORED = product.HTTP

    endpoints: Endpoints = section(Endpoints)
    limits: Limits = section(Limits)
    cors: Cors = section(Cors)
    allowed_hosts: tuple[str, ...] = option(
        (),
        "Names by which the gateway may be asked, besides addresses and this machine's own; `.example.com` for all "
        "below it, `*` for any. Once there are some, requests for other names are refused.",
        ListOf(Text("host name", values.allowed_host)),
        shown="any name with the secret, none without",
    )
    keep_alive_comment_ms: int = option(
        15_000, "Silence after which a stream gets a comment. In milliseconds; 0 for none.", Integer(0, _DAY_MS)
    )
    coalesce_ms: int = option(
        2, "How long a token may wait for others to share a write. In milliseconds; 0 for not at all.", Integer(0, 1000)
    )
    access_log: bool = option(False, "Log one line for each request.", Boolean())


class RateLimit(SectionClass):
    max_attempts: int = _count(10, "Wrong secrets from one address before it is locked out; 0 for no lockout.", 0)
    window_ms: int = option(60_000, "Within so many milliseconds of the first.", Integer(1, _DAY_MS))
    lockout_ms: int = option(300_000, "Milliseconds for which it is refused, right secret or not.", Integer(1, _DAY_MS))
    exempt_loopback: bool = option(True, "Do not lock out programs of this machine.", Boolean())


class Auth(SectionClass):
    IGNORED = product.AUTH

    mode: str | None = option(
        None,
        "What clients must show. `none` only on loopback or a unix socket.",
        Choice(
            ("token", "password", "none"),
            {"trusted-proxy": "Let the proxy send 'Authorization: Bearer' with a token instead."},
        ),
        shown="password if one is set, else token",
    )
    token: str | None = option(None, "The token of mode `token`.", Secret(), environment="GATEWAY_TOKEN")
    password: str | None = option(None, "The password of mode `password`.", Secret(), environment="GATEWAY_PASSWORD")
    rate_limit: RateLimit = section(RateLimit)


class Tls(SectionClass):
    IGNORED = product.TLS
    REFUSED = MappingProxyType(
        {"caPath": "client certificates are not supported, and to ignore this would let everybody in. Remove it"}
    )

    enabled: bool = option(False, "Speak TLS.", Boolean(), shown="true if certPath is set")
    cert_path: str | None = option(None, "The certificate chain, PEM.", values.FileName())
    key_path: str | None = option(None, "Its private key, PEM.", values.FileName())


class ControlUi(SectionClass):
    IGNORED = product.CONTROL_UI

    allowed_origins: tuple[str, ...] = option(
        (),
        "The product's name for gateway.http.cors.allowedOrigins.",
        ListOf(Text("origin", values.origin)),
        shown="none",
    )


class Ws(SectionClass):
    compression: bool = option(
        False,
        "Compress WebSocket messages (permessage-deflate) for clients that offer it: less traffic for more CPU and, "
        "during a message, some 80 KB more memory.",
        Boolean(),
    )


class Shutdown(SectionClass):
    drain_ms: int = option(
        25_000, "How long runs may go on after SIGTERM. In milliseconds; 0 ends them at once.", Integer(0, _DAY_MS)
    )


class Gateway(SectionClass):
    IGNORED = product.GATEWAY

    port: int = option(18789, "The one TCP port; 0 takes a free one.", Integer(0, 65535))
    bind: str = option(
        "127.0.0.1",
        "Where to listen: `loopback`, `lan` (all IPv4 interfaces), an address, a host name, or `unix:/path`.",
        Text("address", values.bind),
        shown="loopback",
    )
    custom_bind_host: str | None = option(None, "The address for bind `custom`.", Text("address", values.host))
    trusted_proxies: tuple[str, ...] = option(
        (),
        "Reverse proxies that tell who the client is (X-Forwarded-For, Forwarded): addresses, networks, `unix`.",
        ListOf(Text("address or network", values.network)),
        shown="none",
    )
    allow_real_ip_fallback: bool = option(False, "Take X-Real-IP from them where there is neither.", Boolean())
    auth: Auth = section(Auth)
    tls: Tls = section(Tls)
    http: Http = section(Http)
    control_ui: ControlUi = section(ControlUi)
    ws: Ws = section(Ws)
    shutdown: Shutdown = section(Shutdown)


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


class Agents(SectionClass):
    IGNORED = product.AGENTS

    defaults: AgentDefaults = section(AgentDefaults)
    list: tuple[AgentEntry, ...] = option((), "The agents.", ListOf(Section(AgentEntry)), shown="none")
    entries: tuple[AgentEntry, ...] = option(
        (), "The same as an object, with the ids as keys.", values.ById(Section(AgentEntry)), shown="none"
    )


class ProviderModel(SectionClass):
    OPEN = True  # prices, context windows and abilities: descriptions that nothing here needs

    id: str = option(REQUIRED, "The model's id at the provider.", Text(), shown="required")
    name: str | None = option(None, "A name for people.", Text())


class Provider(SectionClass):
    IGNORED = product.PROVIDER

    api: str = option(
        "openai-completions",
        "The API it speaks.",
        Choice(
            ("openai-completions",),
            dict.fromkeys(values.OTHER_APIS, 'Supported is "openai-completions", which most servers speak as well.'),
        ),
    )
    base_url: str | None = option(
        None, "Its base URL, with the version.", Text("URL", values.base_url), shown="built-in providers only"
    )
    api_key: str | None = option(
        None, "Sent as a bearer token.", Secret(ascii_only=True), shown="the provider's variable"
    )
    headers: Mapping[str, str] = option(
        MappingProxyType({}), "More headers.", MapOf(Secret(ascii_only=True), values.header_name), shown="none"
    )
    models: tuple[ProviderModel, ...] = option(
        (), "Models it has; names or objects with `id`.", ListOf(values.NameOr(Section(ProviderModel))), shown="none"
    )
    connect_timeout_ms: int = _ms(10_000, "To connect, TLS included.")
    first_byte_timeout_ms: int = _ms(
        300_000, "Up to the first byte of the answer; a local server may load a model first."
    )
    idle_timeout_ms: int = _ms(180_000, "Between two pieces of the answer; reasoning models are silent for minutes.")
    max_retries: int = option(2, "Retries before the first token.", Integer(0, 10))


class Models(SectionClass):
    IGNORED = product.MODELS

    providers: Mapping[str, Provider] = option(
        MappingProxyType({}), "Providers by name.", MapOf(Section(Provider), values.provider_name), shown="none"
    )


class Session(SectionClass):
    IGNORED = product.SESSION

    max_sessions: int = _count(10_000, "Sessions kept in memory; the one unused for longest goes first.")
    max_chars: int = option(
        400_000, "Characters kept of one session; its oldest turns go first.", Integer(1_000, 100_000_000)
    )


class Config(SectionClass):
    IGNORED = product.ROOT

    gateway: Gateway = section(Gateway)
    agents: Agents = section(Agents)
    models: Models = section(Models)
    session: Session = section(Session)
