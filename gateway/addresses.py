"""What an IP address means to a limit: who counts as one peer, and who is on this machine."""

from __future__ import annotations

from socket import AF_INET6, inet_ntop, inet_pton

__all__ = ["is_loopback", "network_of"]


def network_of(host: str) -> str:
    """What a limit per address counts by: an IPv4 address as it stands, of an IPv6 address its /64.

    A /64 is what one customer or one machine is given (RFC 6177, RFC 7421): counted singly, its 2**64 addresses would
    be as many peers.  What is no address is given back.
    """
    if ":" not in host:
        return host
    try:
        return inet_ntop(AF_INET6, inet_pton(AF_INET6, host)[:8] + bytes(8)) + "/64"
    except (OSError, ValueError):
        return host


def is_loopback(host: str) -> bool:
    """Whether an address, as the system writes it, is of this machine."""
    return host.startswith("127.") or host == "::1"
