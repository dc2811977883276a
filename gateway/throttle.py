"""Failed authentications, counted per peer: who guesses too often has to wait.  One for HTTP and WebSocket together."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .records import NamedTuple

__all__ = ["Throttle", "ThrottleLimits"]


class ThrottleLimits(NamedTuple):
    """Times in seconds.  The defaults are those of the product (`gateway.auth.rateLimit`)."""

    attempts: int = 10
    """Failed authentications of one peer within the window; more than any mistake takes. 0 lets everybody guess."""
    window: float = 60.0
    """From the first failed authentication of a peer; after it the count begins anew."""
    lockout: float = 300.0
    """How long a peer is refused, whatever it shows: at ten guesses in five minutes no secret is ever found."""
    exempt_loopback: bool = True
    """Programs of this machine may guess: a forgotten script with an old token must not lock its owner out."""
    peers: int = 10_000
    """Peers remembered, of those that failed and of those locked out each; the oldest is forgotten first."""


class Throttle:
    """`clock` gives seconds and never goes back.

    A peer is any text: an address (`addresses.network_of`), or what else tells guessers apart.
    """

    __slots__ = ("_clock", "_failures", "_limits", "_locked", "busy", "tell")

    def __init__(self, limits: ThrottleLimits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        # Both in the order in which they run out, as all entries of one table last equally long.
        self._failures: dict[str, tuple[float, int]] = {}  # when the window ends, how many
        self._locked: dict[str, float] = {}  # until when
        self.busy = False
        """Somebody has failed of late; while nobody has, there is nothing to ask."""
        self.tell: Callable[[str, bool], None] | None = None
        """Called for a peer that has failed (True), and for one whose failures were forgiven: others count them too."""

    @property
    def exempt_loopback(self) -> bool:
        return self._limits.exempt_loopback

    def __len__(self) -> int:
        return len(self._failures) + len(self._locked)

    def wait(self, peer: str) -> float:
        """For how many seconds this peer is still locked out; 0 for one that is not."""
        self._forget()
        return max(0.0, self._locked.get(peer, 0.0) - self._clock())

    def failed(self, peer: str) -> float:
        """The peer has shown a wrong secret.  Says for how long that locks it out; 0 where it may try again."""
        if self.tell is not None:
            self.tell(peer, True)
        return self.count(peer)

    def count(self, peer: str) -> float:
        """As `failed`, without telling anybody."""
        limits = self._limits
        if limits.attempts <= 0:
            return 0.0
        self._forget()
        self.busy = True
        now = self._clock()
        end, count = self._failures.get(peer, (now + limits.window, 0))
        if count + 1 < limits.attempts:
            self._failures[peer] = (end, count + 1)
            _trim(self._failures, limits.peers)
            return 0.0
        self._failures.pop(peer, None)
        self._locked[peer] = now + limits.lockout
        _trim(self._locked, limits.peers)
        return limits.lockout

    def succeeded(self, peer: str) -> None:
        """The peer has shown the secret: what it got wrong before were mistakes."""
        if self.forgive(peer) and self.tell is not None:
            self.tell(peer, False)

    def forgive(self, peer: str) -> bool:
        """As `succeeded`, without telling anybody; whether there was something to forgive."""
        return self._failures.pop(peer, None) is not None

    def state(self) -> tuple[dict[str, tuple[float, int]], dict[str, float]]:
        """All there is, for `adopt`.

        Peers that failed, with the seconds for which that counts and how often; those locked out, with the seconds for
        which they are.
        """
        self._forget()
        now = self._clock()
        failures = {peer: (end - now, count) for peer, (end, count) in self._failures.items()}
        return failures, {peer: end - now for peer, end in self._locked.items()}

    def adopt(self, failures: Mapping[str, tuple[float, int]], locked: Mapping[str, float]) -> None:
        """Take over what another one knows: of each peer the worse."""
        now = self._clock()
        for peer, (left, count) in failures.items():
            end, own = self._failures.get(peer, (0.0, 0))
            self._failures[peer] = max(end, now + left), max(own, count)
        for peer, left in locked.items():
            self._locked[peer] = max(self._locked.get(peer, 0.0), now + left)
        # In the order in which they run out.
        self._failures = dict(sorted(self._failures.items(), key=lambda entry: entry[1][0]))
        self._locked = dict(sorted(self._locked.items(), key=lambda entry: entry[1]))
        _trim(self._failures, self._limits.peers)
        _trim(self._locked, self._limits.peers)
        self.busy = bool(self._failures or self._locked)

    def _forget(self) -> None:
        """Drop what has run out."""
        now = self._clock()
        while self._failures and self._failures[peer := next(iter(self._failures))][0] <= now:
            del self._failures[peer]
        while self._locked and self._locked[peer := next(iter(self._locked))] <= now:
            del self._locked[peer]
        self.busy = bool(self._failures or self._locked)


def _trim(table: dict[str, float] | dict[str, tuple[float, int]], most: int) -> None:
    while len(table) > most:
        del table[next(iter(table))]
