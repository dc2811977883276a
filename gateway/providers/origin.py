"""What a URL says: whom to connect to, and what to ask for."""

from __future__ import annotations

from re import fullmatch

from ..records import NamedTuple

__all__ = ["Origin", "parse_url"]

# Scheme, authority, host, port, the rest; a fragment is not sent (RFC 9110, 4.2).  By hand, since `urllib.parse` would
# cost the start 3 ms.
_URL = r"(?i)(https?)://((\[[0-9a-f:.%]+\]|[^][/?#@:\s]+)(?::([0-9]{0,5}))?)((?:[/?][^#]*)?)(?:#.*)?"


class Origin(NamedTuple):
    """A server (RFC 9110, 4.3.1).  `host` is a name or an address without brackets, in lower case."""

    tls: bool
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


def parse_url(url: str) -> tuple[Origin, bytes, str]:
    """(origin, Host, target).  Raises ValueError."""
    parts = fullmatch(_URL, url)
    if parts is None or int(parts[4] or 0) > 65535:
        raise ValueError("a URL has to be http://host or https://host, without user information")
    tls = parts[1].lower() == "https"
    origin = Origin(tls, parts[3].strip("[]").lower(), int(parts[4] or 0) or (443 if tls else 80))
    return origin, parts[2].encode("ascii"), parts[5] if parts[5].startswith("/") else f"/{parts[5]}"
