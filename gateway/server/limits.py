"""How much a peer may have and how long it may take: every bound of the server, with its reason."""

from __future__ import annotations

import os
from collections.abc import Callable

from ..addresses import network_of
from ..model.http import Peer
from ..records import NamedTuple
from ..wire.http1 import Http1Limits

__all__ = ["SPARE_FILES", "Admission", "Limits", "within_files"]

# Of the files that the process may have open, those that are not for connections: listeners, stores, the calls of
# agents, and connections that are being refused.
SPARE_FILES = 128


class Limits(NamedTuple):
    """Times in seconds; 0 switches a time limit off."""

    http1: Http1Limits = Http1Limits()
    head_time: float = 10.0
    """From the connect, or from the first byte of a later head, to its end: a head is one packet or two."""
    tls_handshake: float = 10.0
    """From the connect to the end of the TLS handshake: three round trips of a bad mobile network."""
    body_idle: float = 30.0
    """For each `pace` bytes of a request body, or what is left of it: covers a stalled mobile uplink."""
    keep_alive_idle: float = 75.0
    """Between two requests: longer than the 60 s for which common proxies keep theirs, so that they close first."""
    write_stall: float = 60.0
    """For each `pace` bytes of an answer that waits to be read: a stalled peer holds a run and its session."""
    pace: int = 16_384
    """What a peer has to send within `body_idle` and to read within `write_stall`: less than any network that works.
    Without it one byte now and then would hold a connection for ever."""
    linger: float = 5.0
    """After the last answer, for what is on its way: closing at once would reset the answer out of the peer's hands."""
    linger_bytes: int = 67_108_864
    """Of a refused upload that goes on, 64 KiB within `linger` at least: cut off, it looks like a broken network."""
    hang_up_probe: float = 5.0
    """Between two questions to a half-closed peer whether it is still there."""
    silence: float = 15.0
    """Longest silence within a stream before it is bridged: proxies cut at 30 to 60 s."""
    coalesce: float = 0.002
    """What a stream produces within this time leaves in one write; the first piece leaves at once."""
    remember: float = 5.0
    """How long an idle connection keeps its last head, for a client that repeats itself."""
    drain_bytes: int = 65_536
    """The rest of an unread body that is read for the sake of keeping the connection; a larger one closes it."""
    unread_bytes: int = 65_536
    """Of a body nobody has asked for yet, and of pipelined requests: beyond it reading pauses."""
    unsent_bytes: int = 134_217_728
    """Of answers that wait to be read, all together; beyond it, who has waited for longest is cut off.  An answer given
    in one piece has to be kept until its peer has read it."""
    connections: int = 10_000
    """All together; each costs a file descriptor and some KiB."""
    connections_per_peer: int = 1_000
    """From one address (of IPv6: one /64): beyond any browser or SDK pool, and a tenth of all."""
    unauthenticated_per_peer: int = 100
    """From one address without a single request that proved who it is."""
    exempt_local: bool = True
    """Peers of this machine are not counted per peer: a reverse proxy is one of them, with everybody behind it."""
    refused: int = 100
    """Connections over a limit that still wait for their peer to read why; those beyond are closed at once."""


def within_files(limits: Limits) -> Limits:
    """`limits` with fewer connections, where the process may not open as many files.

    Without any file left, the process could not even refuse a connection, nor could its agents make one.
    """
    files = os.sysconf("SC_OPEN_MAX") if hasattr(os, "sysconf") else -1
    if files < 0:  # there is no limit, or nobody knows it
        return limits
    return limits._replace(connections=min(limits.connections, max(files - SPARE_FILES, files // 2)))


class Admission:
    """Counts connections: in all, per peer address, and per address those that have not authenticated.

    An address of IPv6 stands for its /64.  Proxies count among all only: others stand behind them.
    """

    __slots__ = ("_is_proxy", "_limits", "_peers", "_strangers", "total")

    def __init__(self, limits: Limits, is_proxy: Callable[[Peer], bool] | None = None) -> None:
        self._limits = limits
        self._is_proxy = is_proxy
        self._peers: dict[str, int] = {}
        self._strangers: dict[str, int] = {}
        self.total = 0

    def enter(self, peer: Peer) -> str | None:
        """Count a connection.  Says why it has to be refused, in which case nothing was counted, or None."""
        limits = self._limits
        if self.total >= limits.connections:
            return "too many connections"
        if self._exempt(peer):
            self.total += 1
            return None
        network = network_of(peer.host)
        if self._peers.get(network, 0) >= limits.connections_per_peer:
            return "too many connections from this address"
        if self._strangers.get(network, 0) >= limits.unauthenticated_per_peer:
            return "too many unauthenticated connections from this address"
        self.total += 1
        self._peers[network] = self._peers.get(network, 0) + 1
        self._strangers[network] = self._strangers.get(network, 0) + 1
        return None

    def authenticated(self, peer: Peer) -> None:
        """The connection, counted once by `enter`, no longer counts as unauthenticated."""
        if not self._exempt(peer):
            _take(self._strangers, network_of(peer.host))

    def leave(self, peer: Peer, *, authenticated: bool) -> None:
        """The connection is over."""
        self.total -= 1
        if not self._exempt(peer):
            _take(self._peers, network_of(peer.host))
            if not authenticated:
                _take(self._strangers, network_of(peer.host))

    def _exempt(self, peer: Peer) -> bool:
        return (peer.local and self._limits.exempt_local) or (self._is_proxy is not None and self._is_proxy(peer))


def _take(counts: dict[str, int], key: str) -> None:
    left = counts.get(key, 0) - 1
    if left > 0:
        counts[key] = left
    else:
        counts.pop(key, None)
