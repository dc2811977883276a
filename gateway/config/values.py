"""What single values of the configuration must look like: texts, checked and in one form."""

from __future__ import annotations

import re

from ..addresses import base_url_fault, is_visible
from ..model.names import FAMILIES
from .fields import Wrong

__all__ = [
    "APIS",
    "BUILT_IN_PROVIDERS",
    "OTHER_APIS",
    "RUNTIMES",
    "agent_id",
    "alias",
    "allowed_host",
    "argument",
    "base_url",
    "bind",
    "embeddings_name",
    "file_mode",
    "header_name",
    "host",
    "image_host",
    "key_id",
    "model_name",
    "moment",
    "network",
    "origin",
    "provider_name",
    "target",
    "unix_path",
    "variable",
]

BUILT_IN_PROVIDERS = (
    "openai", "anthropic", "google", "openrouter", "mistral", "deepseek", "groq", "xai",
    "litellm", "ollama", "lmstudio", "llama.cpp", "vllm",
)  # fmt: skip
"""Providers that need no configuration: their base URLs and key variables are known."""

APIS = ("openai-completions", "openai-responses", "anthropic-messages")
"""What providers may speak."""

OTHER_APIS = (
    "openai-chatgpt-responses",
    "openai-codex-responses",
    "azure-openai-responses",
    "google-generative-ai",
    "google-vertex",
    "github-copilot",
    "bedrock-converse-stream",
    "ollama",
    "pi-messages",
)
RUNTIMES = ("model", "python", "command", "echo")

MAX_UNIX_PATH = 103
"""Bytes; `sun_path` holds 104 with its NUL on BSD and macOS, 108 on Linux."""

# `re` compiles these at their first use: a configuration has few of these things.
_HOST_NAME = r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?"
_ORIGIN = r"([A-Za-z][A-Za-z0-9+.-]*)://([A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
_TARGET = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_HEADER_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110, section 5.1: token
_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"


def agent_id(text: str) -> str:
    """In lower case, as ids are compared without regard to it."""
    if not _is_name(text.lower(), "_-"):
        raise Wrong("an agent's id is 1 to 64 of the characters a-z 0-9 _ -, the first a letter or a digit")
    return text.lower()


def alias(text: str) -> str:
    folded = text.lower()
    if folded in FAMILIES or folded.startswith(("agent:", *(f"{name}{mark}" for name in FAMILIES for mark in ":/"))):
        raise Wrong("this name means an agent already: choose one outside the gateway's own names")
    if not text or text != text.strip() or not text.isprintable() or len(text) > 256:
        raise Wrong("an alias is 1 to 256 printable characters without blanks around them")
    return text


def host(text: str) -> str:
    """An IP address or a host name."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    import ipaddress  # noqa: PLC0415 - for configurations that name an address; it costs the start 2 ms

    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        numeric = bare.replace(".", "").isdecimal()
        if numeric or len(bare) > 253 or not re.fullmatch(_HOST_NAME, bare):
            port = ". The port goes to gateway.port" if ":" in bare else ""
            raise Wrong(f"expected an IP address or a host name{port}") from None
        return bare


def allowed_host(text: str) -> str:
    """A host name in lower case, `.name` or `*`."""
    if text == "*":
        return text
    if text.startswith("*."):
        raise Wrong(f"for all names below it write '{text[1:]}'")
    if "://" in text or "/" in text:
        raise Wrong('expected a host name like "gateway.example.com", without a scheme and a path')
    if re.fullmatch(r".+:[0-9]*", text) and not text.startswith("["):
        raise Wrong('expected a host name like "gateway.example.com", without a port: every port is meant')
    return f".{host(text[1:])}".lower() if text.startswith(".") else host(text).lower()


def image_host(text: str) -> str:
    """As `allowed_host`; the product writes `*.name` for all below a name."""
    return allowed_host(text[1:] if text.startswith("*.") else text)


def network(text: str) -> str:
    """An IP address, a network in CIDR notation, or `unix`."""
    if text == "unix":
        return text
    import ipaddress  # noqa: PLC0415 - for configurations that name one; it costs the start 2 ms

    try:
        found = ipaddress.ip_network(text)
    except ValueError:
        try:
            meant = f". Did you mean '{ipaddress.ip_network(text, strict=False)}'?"
        except ValueError:
            meant = ""
        raise Wrong(f'expected an address like "10.0.0.1", a network like "10.0.0.0/8", or "unix"{meant}') from None
    if not found.prefixlen:
        raise Wrong("this is the whole Internet: every client could choose its address. Name your proxies")
    return str(found)


def origin(text: str) -> str:
    """An origin as browsers write it (RFC 6454, 6.2), `null` or `*`."""
    if text in {"*", "null"}:
        return text
    match = re.fullmatch(_ORIGIN, text)
    if match is None:
        path = ". An origin has no path and no slash at its end" if re.match(r"[a-z]+://[^/]+/", text) else ""
        star = ". A `*` stands alone; name the origins one by one" if "*" in text else ""
        raise Wrong(f'expected an origin like "https://app.example.com" or "http://localhost:5173"{path}{star}')
    scheme, name, port = match[1].lower(), match[2].lower(), match[3] or ""
    if {"http": ":80", "https": ":443"}.get(scheme) == port:
        port = ""  # as browsers leave it out
    return f"{scheme}://{name}{port}"


def bind(text: str) -> str:
    """`loopback`, `auto` and `lan` as addresses; `custom` as it stands."""
    named = {"loopback": "127.0.0.1", "auto": "127.0.0.1", "lan": "0.0.0.0", "custom": "custom"}  # noqa: S104 - is asked for
    if text in named:
        return named[text]
    if text == "tailnet":
        raise Wrong("'tailnet' is not supported. Give the address itself, as `tailscale ip -4` prints it")
    if text.startswith("unix:"):
        unix_path(text.removeprefix("unix:"))
        return text
    try:
        return host(text)
    except Wrong as wrong:
        raise Wrong(f"expected loopback, lan, an IP address, a host name or unix:/path; {wrong}") from None


def unix_path(text: str) -> str:
    """Where a unix socket is: an absolute path, or `@name` in Linux's abstract namespace."""
    if not text.startswith(("/", "@")) or len(text) < 2 or "\0" in text:
        raise Wrong("expected an absolute path for the unix socket, or @name")
    if len(text.encode()) > MAX_UNIX_PATH:
        raise Wrong(f"the path of a unix socket is at most {MAX_UNIX_PATH} bytes long")
    return text


def file_mode(text: str) -> str:
    if not re.fullmatch("0?[0-7]{3}", text):
        raise Wrong('expected permissions as three octal digits in quotes, like "0660"')
    if not int(text, 8) & 0o200:
        raise Wrong("the owner must be allowed to write, or nobody can connect. Take 0600, or 0660 for a group")
    return text


def target(text: str) -> str:
    if not re.fullmatch(_TARGET, text):
        raise Wrong('expected "module:function"')
    return text


def base_url(text: str) -> str:
    """Without a slash at the end."""
    fault = base_url_fault(text)
    if fault is not None:
        raise Wrong(fault)
    return text.rstrip("/")


def header_name(text: str) -> None:
    if not re.fullmatch(_HEADER_NAME, text):
        raise Wrong("this is not a header's name")
    if text.lower() in {"content-length", "transfer-encoding", "connection", "host", "upgrade"}:
        raise Wrong("this header is the connection's own and cannot be set")


def provider_name(text: str) -> None:
    if not _is_name(text, "._-"):
        raise Wrong("a provider's name is 1 to 64 of the characters A-Z a-z 0-9 . _ -, the first a letter or a digit")


def embeddings_name(text: str) -> None:
    if not 0 < len(text) <= 128 or not text.isprintable() or text != text.strip():
        raise Wrong("is not a name for a model: 1 to 128 printable characters")


def model_name(text: str) -> str:
    provider, _, model = text.partition("/")
    if not _is_name(provider, "._-") or not 0 < len(model) <= 256 or not is_visible(model):
        raise Wrong('expected "provider/model", like "openai/gpt-4o-mini"')
    return text


def argument(text: str) -> str:
    if "\0" in text:
        raise Wrong("a program's arguments hold no NUL characters")
    return text


def key_id(text: str) -> str:
    """It stands in log lines, so it needs no quotes there."""
    if not _is_name(text, "._-"):
        raise Wrong("a key's id is 1 to 64 of the characters A-Z a-z 0-9 . _ -, the first a letter or a digit")
    return text


def variable(text: str) -> str:
    """The name of an environment variable."""
    if not re.fullmatch(_VARIABLE, text):
        raise Wrong("expected the name of an environment variable, without `$`")
    return text


def moment(text: str) -> str:
    """A moment as ISO 8601 has it, in UTC; a date alone is its beginning."""
    from datetime import UTC, datetime  # noqa: PLC0415 - for keys that expire; it costs the start 2 ms

    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None and len(text) == len("2027-01-31"):
            found = found.replace(tzinfo=UTC)
        if found.tzinfo is None:
            raise Wrong(f"the time has no zone. Write {text}Z for UTC, or its offset, like +02:00")
        return found.astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        raise Wrong('expected a date like "2027-01-31" or a time like "2027-01-31T18:00:00Z"') from None


def _is_name(text: str, marks: str) -> bool:
    """Whether it is 1 to 64 letters, digits and marks, all of them ASCII, and begins with none of the marks."""
    letters = text.isascii() and len(text) <= 64 and text[:1].isalnum()
    return letters and all(char.isalnum() or char in marks for char in text)
