"""Several keys, each with its own agents, scopes, rate and end.  Loaded where there are any."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from math import ceil, inf
from typing import TypeAlias

from ..errors import RequestError
from ..model.caller import Caller, Key, Rate
from ..model.http import Headers

__all__ = ["Keyring", "Lookup", "Rates", "keyring"]

Lookup: TypeAlias = Callable[[str], Key | None]
"""The secret that a client shows -> its key; None for one that is none.  Called for each request: it must not wait."""

BUCKETS = 10_000
"""Keys whose requests are counted; beyond it, only with a lookup of an embedder's, the one unused for longest is
forgotten, and has its whole rate again."""

_SECONDS = 60


class Keyring:
    """Keys by the SHA-256 of their secrets, as `config.auth.resolve_keys` gives them.

    How long looking one up takes tells nothing of a secret: what is compared is its digest, of which a guesser learns
    at most a part, and no part of a digest leads to the secret.  Secrets are random (`gateway keys new`), so that no
    slow hash is needed: there is nothing to try out that would come to an end.
    """

    def __init__(self, keys: Mapping[bytes, Key]) -> None:
        self._keys = dict(keys)
        # Those whom the keys make somebody, and until when.
        self._callers: dict[Caller, float] = {}
        for key in keys.values():
            end = inf if key.expires is None else key.expires
            self._callers[key.caller] = max(end, self._callers.get(key.caller, end))

    def __repr__(self) -> str:
        return f"Keyring({sorted(key.caller.id for key in self._keys.values())})"

    def find(self, secret: bytes) -> Key | None:
        """The key of a secret."""
        return self._keys.get(sha256(secret).digest())

    def holds(self, caller: Caller, now: float) -> bool:
        """Whether one of them makes somebody this caller."""
        return now < self._callers.get(caller, now)


class _Looked:
    """An embedder's lookup in place of a ring."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    def find(self, secret: bytes) -> Key | None:
        try:
            return self._lookup(secret.decode())
        except UnicodeDecodeError:
            return None

    def holds(self, _caller: Caller, _now: float) -> bool:
        """It can be asked for secrets only."""
        return True


def keyring(keys: Mapping[str, Key] | Mapping[bytes, Key] | Lookup) -> Keyring | _Looked:
    """What finds keys: by their secrets, by the digests of these, or by a lookup of an embedder's."""
    if callable(keys):
        return _Looked(keys)
    return Keyring({one if isinstance(one, bytes) else sha256(one.encode()).digest(): key for one, key in keys.items()})


class Rates:
    """The requests of each key, counted in a token bucket.  `clock` gives seconds and never goes back."""

    def __init__(self, clock: Callable[[], float], most: int = BUCKETS) -> None:
        self._clock = clock
        self._most = most
        # Key id to its rate, the requests it has left, and when that was; the one unused for longest first.
        self._buckets: dict[str, tuple[Rate, float, float]] = {}
        self.tell: Callable[[str, Rate, int], None] | None = None
        """Called with how many requests a key has spent here: others count them too."""

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key_id: str, rate: Rate) -> Headers:
        """Count one request.  The headers are those in which OpenAI tells how many are left.

        Source: https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers.
        Raises RequestError (429, rate_limit_exceeded), with the same headers, where there is none left.
        """
        left = self._left(key_id, rate)
        per_request = rate.seconds / rate.requests
        granted = left >= 1
        if granted:
            left -= 1
            if self.tell is not None:
                self.tell(key_id, rate, 1)
        self._put(key_id, rate, left)
        headers = (
            (b"x-ratelimit-limit-requests", b"%d" % rate.requests),
            (b"x-ratelimit-remaining-requests", b"%d" % max(left, 0)),
            (b"x-ratelimit-reset-requests", _duration((rate.requests - left) * per_request)),
        )
        if granted:
            return headers
        wait = max(1, ceil((1 - left) * per_request))
        raise RequestError(
            429,
            f"Rate limit reached for this key: {rate.requests} requests in {rate.seconds:g} s. "
            f"Please try again in {wait} s.",
            type="rate_limit_error",
            code="rate_limit_exceeded",
            headers=((b"retry-after", b"%d" % wait), *headers),
        )

    def spend(self, key_id: str, rate: Rate, requests: int) -> None:
        """Take off what the key has spent elsewhere; it may come to owe as many as its rate allows at once."""
        self._put(key_id, rate, max(self._left(key_id, rate) - requests, -float(rate.requests)))

    def give_back(self, key_id: str) -> None:
        """One request of a key is counted elsewhere."""
        bucket = self._buckets.get(key_id)
        if bucket is not None:
            rate, left, since = bucket
            self._buckets[key_id] = rate, min(left + 1, float(rate.requests)), since
            if self.tell is not None:
                self.tell(key_id, rate, -1)

    def _left(self, key_id: str, rate: Rate) -> float:
        before = self._buckets.get(key_id)
        most = float(rate.requests)
        if before is None or before[0] != rate:  # another rate since a reload: it begins anew
            return most
        return min(most, before[1] + (self._clock() - before[2]) * rate.requests / rate.seconds)

    def _put(self, key_id: str, rate: Rate, left: float) -> None:
        self._buckets.pop(key_id, None)
        self._buckets[key_id] = (rate, left, self._clock())
        if len(self._buckets) > self._most:
            del self._buckets[next(iter(self._buckets))]


def _duration(seconds: float) -> bytes:
    """As OpenAI writes it, in the manner of Go: `120ms`, `8.64s`, `6m0s`."""
    if seconds < 1:
        return b"%dms" % round(seconds * 1000)
    minutes, rest = divmod(round(seconds, 2), _SECONDS)
    return (f"{minutes:.0f}m{rest:.3g}s" if minutes else f"{rest:.4g}s").encode()
