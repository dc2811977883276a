"""Who may come in."""

from __future__ import annotations

from _operator import _compare_digest as compare_digest  # that of `hmac`, without OpenSSL, which costs the start 2 ms
from collections.abc import Callable
from logging import getLogger
from math import ceil

from ..addresses import network_of
from ..errors import RequestError
from ..model.caller import OPERATOR, Caller, Key, Rate
from ..model.http import Headers
from ..ports import Exchange, Visitor
from ..records import NamedTuple, Protocol
from ..throttle import Throttle
from .pages import FORWARDED, Hosts, Origins, authority, is_origin

__all__ = ["Guard", "KeyCheck", "KeyFinder", "KeyRates"]

_logger = getLogger(__name__)


class KeyFinder(Protocol):
    def find(self, secret: bytes) -> Key | None:
        """The key of a secret; None for one that is none."""

    def holds(self, caller: Caller, now: float) -> bool:
        """Whether there still is a key that makes somebody this caller, at a time in seconds since the epoch."""


class KeyRates(Protocol):
    def take(self, key_id: str, rate: Rate) -> Headers:
        """Count a request of a key; headers that tell what is left.  Raises RequestError (429)."""


class KeyCheck(NamedTuple):
    """What is needed to judge keys.  `clock` gives seconds since the epoch."""

    keys: KeyFinder
    rates: KeyRates
    clock: Callable[[], float]


class Guard:
    """Lets those in who know `secret`, a token or a password, or one of `keys`; without both, everybody.

    Who knows the secret is the operator and may do all; a key may do what it says.  Without either, web pages are kept
    out by the names they ask for and by their origins: a browser on this machine would carry any page's requests here.
    With one, `hosts` are checked only where `check_hosts` says so: no page knows it, and a browser does not add it.
    """

    def __init__(
        self,
        secret: str | None,
        throttle: Throttle,
        hosts: Hosts,
        origins: Origins,
        *,
        check_hosts: bool = False,
        keys: KeyCheck | None = None,
    ) -> None:
        self._secret = None if secret is None else secret.encode()
        self._usual = b"" if self._secret is None else b"Bearer " + self._secret
        self._keys = keys
        self._throttle = throttle
        self._hosts = hosts
        self._origins = origins
        self._open = secret is None and keys is None
        self._check_hosts = check_hosts or self._open
        self._only_secret = secret is not None and not self._check_hosts

    def replace_keys(self, keys: KeyCheck) -> None:
        """From now on these are the keys.  Without authentication nobody is asked for one."""
        if not self._open:
            self._keys = keys

    def check(self, exchange: Exchange, scope: str) -> None:
        """Raises RequestError unless the request, for which a key needs `scope`, may come in.

        401 without `Authorization: Bearer <secret>`, 429 for a peer that has shown wrong ones too often, 421 and 403
        for hosts and origins.  For a key: 401 after its end, 429 over its rate, 403 without the scope.
        """
        given = exchange.head.fields.get(b"authorization", b"")
        # As nearly all requests are: nothing but the secret is asked for, nobody has failed, and it is the right one.
        if not self._only_secret or self._throttle.busy or not compare_digest(given, self._usual):
            if self._check_hosts:
                self._hosts.check(exchange)
            if self._open:
                self._origins.check(exchange)
            elif (key := self._authenticate(exchange, given)) is not None:
                self._judge(exchange, key, scope)
                return
        exchange.admit(OPERATOR)

    @property
    def throttle(self) -> Throttle:
        """Counts wrong secrets."""
        return self._throttle

    @property
    def rates(self) -> KeyRates | None:
        """Counts the requests of keys; None where there are no keys."""
        return None if self._keys is None else self._keys.rates

    @property
    def open(self) -> bool:
        """Whether nobody is asked for a secret."""
        return self._open

    def identify(self, secret: str, visitor: Visitor) -> Caller | None:
        """Who shows this secret; None for one that is none, or no longer.  Counts nothing: see `failed`.

        Raises RequestError (429) after too many wrong ones, and for a key over its rate.
        """
        key = self._find(visitor, secret.encode("utf-8", "surrogatepass"))
        if isinstance(key, Caller):
            return key
        keys = self._keys
        if key is None or keys is None or (key.expires is not None and keys.clock() >= key.expires):
            return None
        if key.rate is not None:
            keys.rates.take(key.caller.id, key.rate)
        return key.caller

    def knows(self, caller: Caller) -> bool:
        """Whether somebody who was let in would be let in again, as the same."""
        keys = self._keys
        return caller == OPERATOR or (keys is not None and keys.keys.holds(caller, keys.clock()))

    def failed(self, visitor: Visitor) -> bool:
        """Count a wrong secret.  False for a peer of whom none are counted: a program of this machine."""
        peer = self._guesser(visitor)
        if peer is not None and (seconds := self._throttle.failed(peer)):
            _logger.warning("%s is locked out for %.0f s: it has shown too many wrong secrets", peer, seconds)
        return peer is not None

    def check_origin(self, exchange: Exchange) -> None:
        """Raises RequestError (403) for a web page that must not open a WebSocket (RFC 6455, 10.2).

        No preflight asks before a WebSocket, and its secret comes later, if at all.
        """
        self._origins.check(exchange)

    def _authenticate(self, exchange: Exchange, given: bytes) -> Key | None:
        """The key that was shown; None for the secret."""
        scheme, _, given = given.partition(b" ")
        given = given.strip() if scheme.lower() == b"bearer" else b""
        found = self._find(exchange, given)
        if found is None and not given:
            raise _unauthorized(
                "You didn't provide an API key. You need to provide the gateway's token or password in an "
                "Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_TOKEN)."
            )
        if found is None:
            self.failed(exchange)
            # The wording is OpenAI's: some clients know this error by it.  What was given is not repeated.
            raise _unauthorized("Incorrect API key provided: it is not the token or password of this gateway.")
        return None if isinstance(found, Caller) else found

    def _find(self, visitor: Visitor, given: bytes) -> Caller | Key | None:
        """The operator or the key that a secret is of."""
        throttle = self._throttle
        peer = self._guesser(visitor) if throttle.busy else None
        if peer is not None and (seconds := throttle.wait(peer)):
            raise _locked_out(seconds)  # the right secret too: it would tell a guesser that it is the one
        if not given:
            return None
        if self._secret is not None and compare_digest(given, self._secret):
            if peer is not None:
                throttle.succeeded(peer)
            return OPERATOR
        # A key does not make good for wrong secrets before it: who has one could guess at others without end.
        return None if self._keys is None else self._keys.keys.find(given)

    def _judge(self, exchange: Exchange, key: Key, scope: str) -> None:
        """Let a key in, as far as it goes."""
        keys = self._keys
        assert keys is not None, "it was found there"
        if key.expires is not None and keys.clock() >= key.expires:
            message = "Incorrect API key provided: it has expired. Ask the gateway's operator for another."
            raise _unauthorized(message, "key_expired")
        exchange.admit(key.caller)
        if key.rate is not None:
            exchange.decorate(keys.rates.take(key.caller.id, key.rate))
        if not key.caller.may(scope):
            message = f"This API key may not do that: it has no scope `{scope}`."
            raise RequestError(403, message, type="permission_error", code="insufficient_scope")

    def _guesser(self, exchange: Visitor) -> str | None:
        """Under which name the failures of this peer count; None where they do not.

        Programs of this machine are exempt, but not those outside that a browser or a proxy here stands for: they count
        by themselves, so that they cannot lock out the programs.
        """
        peer, fields = exchange.peer, exchange.head.fields
        if not peer.local:
            return network_of(peer.host)
        here = peer.host or "unix"
        if not FORWARDED.isdisjoint(fields):
            return f"{here}, a proxy that is not in gateway.trustedProxies,"
        origin = fields.get(b"origin")
        if origin is not None:
            return f"a page of {origin.decode()} at {here}" if is_origin(origin) else f"some page at {here}"
        name = authority(exchange)
        if name and peer.host and not self._hosts.know(name):
            return f"some page at {here}"
        return None if self._throttle.exempt_loopback else here


def _unauthorized(message: str, code: str = "invalid_api_key") -> RequestError:
    headers = ((b"www-authenticate", b'Bearer realm="gateway"'),)
    return RequestError(401, message, code=code, headers=headers)


def _locked_out(seconds: float) -> RequestError:
    return RequestError(
        429,
        "Too many failed authentication attempts. Please try again later.",
        type="rate_limit_error",
        code="rate_limited",
        headers=((b"retry-after", b"%d" % ceil(seconds)),),
    )
