"""The option table: every option, with its kind, default and help, as the classes that hold the values.

Validation, defaults, flags' help, `gateway check` and the documentation are all made from this table.  What several
options must hold together stands in `checks`; what a single value must look like, in `values`.

Names are those of the product whose configurations this program reads.  After reading, `gateway.bind` is an address,
`agents.list` holds all agents in one form, and `tls.enabled` tells whether to use TLS.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from . import kinds, product, values
from .fields import Boolean, Choice, Integer, ListOf, MapOf, SectionClass, Text, option, section
from .kinds import DAY_MS, GIB, count, milliseconds
from .schema_agents import Agents
from .schema_auth import Auth
from .schema_models import Models
from .schema_session import Session
from .schema_tools import Mcp, Tools

__all__ = [
    "ChatCompletions",
    "Config",
    "ControlUi",
    "Cors",
    "Embeddings",
    "Endpoints",
    "Gateway",
    "Http",
    "Images",
    "Limits",
    "Metrics",
    "Responses",
    "Shutdown",
    "Tls",
    "UnixSocket",
    "Ws",
]


MAX_WORKERS = 128
"""The most processes: more than most machines have cores, and well below what the addresses of workers can tell."""


class Images(SectionClass):
    IGNORED = product.IMAGES

    max_bytes: int = option(10 << 20, "The largest image, in bytes.", Integer(1, GIB))
    allow_url: bool = option(False, "Fetch images that a request names by an http(s) URL.", Boolean())
    url_allowlist: tuple[str, ...] = option(
        (),
        "The hosts they may come from, `*.example.com` for all below it, `*` for any; never private addresses.",
        ListOf(Text("host name", values.image_host)),
        shown="none",
    )
    max_redirects: int = option(3, "The most redirects on the way to an image.", Integer(0, 10))
    timeout_ms: int = milliseconds(10_000, "For all images of a request, in milliseconds.", 1)


class ChatCompletions(SectionClass):
    enabled: bool = option(False, "Serve POST /v1/chat/completions.", Boolean())
    max_body_bytes: int = option(20 << 20, "The largest request body, in bytes.", Integer(1, GIB))
    max_image_parts: int = count(8, "The most images in a request.", 0, 1_000)
    max_total_image_bytes: int = option(20 << 20, "All images of a request together, in bytes.", Integer(1, GIB))
    images: Images = section(Images)


class Responses(SectionClass):
    IGNORED = product.RESPONSES

    enabled: bool = option(False, "Serve POST /v1/responses.", Boolean())
    max_body_bytes: int = option(20 << 20, "The largest request body, in bytes.", Integer(1, GIB))


class Embeddings(SectionClass):
    enabled: bool = option(False, "Serve POST /v1/embeddings, by the models of providers.", Boolean())
    model: str | None = option(
        None, "The model of requests that name none.", Text('"provider/model"', values.model_name), shown="none"
    )
    models: Mapping[str, str] = option(
        MappingProxyType({}),
        "Names that requests may use for models, besides `provider/model` itself.",
        MapOf(Text('"provider/model"', values.model_name), values.embeddings_name),
        shown="none",
    )
    max_body_bytes: int = option(20 << 20, "The largest request body, in bytes.", Integer(1, GIB))


class Metrics(SectionClass):
    enabled: bool = option(False, "Count, and serve GET /metrics for Prometheus.", Boolean())


class Endpoints(SectionClass):
    chat_completions: ChatCompletions = section(ChatCompletions)
    responses: Responses = section(Responses)
    embeddings: Embeddings = section(Embeddings)
    metrics: Metrics = section(Metrics)


class Limits(SectionClass):
    head_bytes: int = option(32 << 10, "The largest request head, in bytes.", Integer(1 << 10, 1 << 20))
    header_count: int = count(100, "The most header lines in a request.", 8, 10_000)
    head_timeout_ms: int = milliseconds(10_000, "From the first byte of a request head to its last.")
    body_idle_timeout_ms: int = milliseconds(30_000, "For each 16 KiB of a request body, or what is left of it.")
    keep_alive_timeout_ms: int = milliseconds(75_000, "Between two requests on a connection.")
    write_timeout_ms: int = milliseconds(60_000, "For each 16 KiB of an answer; a client slower than that is cut off.")
    connections: int = count(10_000, "The most connections at a time.")
    connections_per_peer: int = count(1_000, "The most connections at a time from one address.")
    unauthenticated_per_peer: int = count(100, "Of these, the most that have not shown the secret yet.")
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
        15_000, "Silence after which a stream gets a comment. In milliseconds; 0 for none.", Integer(0, DAY_MS)
    )
    coalesce_ms: int = option(
        2, "How long a token may wait for others to share a write. In milliseconds; 0 for not at all.", Integer(0, 1000)
    )
    access_log: bool = option(False, "Log one line for each request.", Boolean())


class Tls(SectionClass):
    IGNORED = product.TLS

    enabled: bool = option(False, "Speak TLS.", Boolean(), shown="true if certPath is set")
    cert_path: str | None = option(None, "The certificate chain, PEM. Read again when it changes.", kinds.FileName())
    key_path: str | None = option(None, "Its private key, PEM.", kinds.FileName())
    ca_path: str | None = option(
        None,
        "The issuers of client certificates, PEM. Clients must show one then, besides the secret.",
        kinds.FileName(),
    )
    client_certificates: str | None = option(
        None,
        "With caPath: whether clients without a certificate are let in.",
        Choice(("required", "optional")),
        shown="required",
    )
    handshake_timeout_ms: int = milliseconds(10_000, "From the connect to the end of the TLS handshake.")


class UnixSocket(SectionClass):
    path: str | None = option(
        None,
        "Listen at this unix socket as well. `@name`: an abstract one, open to every program of this machine.",
        Text("path", values.unix_path),
    )
    mode: str = option(
        "0600", "The permissions of unix sockets, also of that of `bind`.", Text("octal digits", values.file_mode)
    )
    owner: str | None = option(None, "Their owner, a name or number.", Text(), shown="the gateway's user")
    group: str | None = option(None, "Their group, a name or number.", Text(), shown="the gateway's group")


class ControlUi(SectionClass):
    IGNORED = product.CONTROL_UI

    allowed_origins: tuple[str, ...] = option(
        (),
        "The product's name for gateway.http.cors.allowedOrigins.",
        ListOf(Text("origin", values.origin)),
        shown="none",
    )


class Ws(SectionClass):
    enabled: bool = option(True, "Serve OpenClaw's gateway protocol to WebSockets, on any path.", Boolean())
    compression: bool = option(
        False,
        "Compress WebSocket messages (permessage-deflate) for clients that offer it: less traffic for more CPU and, "
        "during a message, some 80 KB more memory.",
        Boolean(),
    )


class Shutdown(SectionClass):
    drain_ms: int = option(
        25_000, "How long runs may go on after SIGTERM. In milliseconds; 0 ends them at once.", Integer(0, DAY_MS)
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
    workers: int = count(
        1, "How many processes serve, on the same addresses; useful up to one for each core.", 1, MAX_WORKERS
    )
    worker_timeout_ms: int = milliseconds(
        60_000, "With several, how long one may stand still before another takes its place."
    )
    auth: Auth = section(Auth)
    tls: Tls = section(Tls)
    unix_socket: UnixSocket = section(UnixSocket)
    http: Http = section(Http)
    control_ui: ControlUi = section(ControlUi)
    ws: Ws = section(Ws)
    shutdown: Shutdown = section(Shutdown)
    loop: str = option(
        "asyncio",
        "The event loop of `gateway run`: Python's own, or uvloop, which has to be installed (`gateway[uvloop]`).",
        Choice(("asyncio", "uvloop")),
    )


class Config(SectionClass):
    IGNORED = product.ROOT

    gateway: Gateway = section(Gateway)
    agents: Agents = section(Agents)
    models: Models = section(Models)
    session: Session = section(Session)
    tools: Tools = section(Tools)
    mcp: Mcp = section(Mcp)
