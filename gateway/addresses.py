"""What an IP address means to a limit: who counts as one peer, and who is on this machine; and what an API's URL is."""

from __future__ import annotations

__all__ = ["base_url_fault", "is_loopback", "is_visible", "network_of"]


def network_of(host: str) -> str:
    """What a limit per address counts by: an IPv4 address as it stands, of an IPv6 address its /64.

    A /64 is what one customer or one machine is given (RFC 6177, RFC 7421): counted singly, its 2**64 addresses would
    be as many peers.  What is no address is given back.
    """
    if ":" not in host:
        return host
    from socket import AF_INET6, inet_ntop, inet_pton  # noqa: PLC0415 - commands that only read files do without

    try:
        return inet_ntop(AF_INET6, inet_pton(AF_INET6, host)[:8] + bytes(8)) + "/64"
    except (OSError, ValueError):
        return host


def is_loopback(host: str) -> bool:
    """Whether an address, as the system writes it, is of this machine."""
    return host.startswith("127.") or host == "::1"


def is_visible(text: str) -> bool:
    """Whether all of it is visible ASCII."""
    return text.isascii() and text.isprintable() and " " not in text


def base_url_fault(url: str) -> str | None:
    """Why a URL is none that paths of an API can be added to, without the URL, which may hold a password; or None.

    RFC 3986, by hand: `urllib.parse` would cost the start 3 ms, a regular expression half a one.
    """
    scheme, _, rest = url.partition("://")
    beginning = rest.partition("#")[0].partition("?")[0]
    _, user, place = beginning.partition("/")[0].rpartition("@")
    if place.startswith("["):
        host, bracket, port = place[1:].partition("]")
        good = bracket != "" and _is_ipv6(host) and port[:1] in {"", ":"}
        port = port[1:]
    else:
        host, _, port = place.partition(":")
        good = host != "" and "[" not in host and "]" not in host
    digits = port == "" or (port.isdecimal() and len(port) <= 5)
    if scheme.lower() not in {"http", "https"} or not (good and is_visible(url) and digits) or int(port or 0) > 65535:
        return "expected a URL like https://host/v1"
    if user:
        return "a base URL must hold no user or password. Use apiKey, or headers"
    return "a base URL must hold no '?' and no '#'" if beginning != rest else None


def _is_ipv6(host: str) -> bool:
    from socket import AF_INET6, inet_pton  # noqa: PLC0415 - as above

    try:
        inet_pton(AF_INET6, host)
    except (OSError, ValueError):
        return False
    return True
