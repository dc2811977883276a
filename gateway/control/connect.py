"""Who may come in, and as what.

    protocol, role, origin  >  secret  >  is a device needed?  >  its proof, its token  >  was it approved for this?

A client shows a secret of the gateway (token or password), a key, or the token of a device.  What it then may do:

- with the gateway's secret and a device: what was approved for the device; on this machine, what it asks for
- with the gateway's secret alone: nothing, but for the programs that speak for this machine
- with a key: what the key was given, of what it asks for; a key needs no device, it was approved in the configuration

Clients of protocol 3 are served by its rules: no scopes mean admin, and a proof on this machine needs no nonce.  But
their scopes, too, are worth nothing from elsewhere without a device: else who speaks 3 would get more than by 4.
"""

from __future__ import annotations

from asyncio import Lock, sleep, to_thread
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ..errors import RequestError, StoreError
from ..model.caller import OPERATOR as EVERYTHING
from ..model.caller import Caller
from ..model.http import Peer, RequestHead
from ..ports import Visitor
from ..records import NamedTuple, Protocol
from .asked import OLD_PROTOCOL, PROTOCOL, Asked, fault
from .clients import ClientInfo
from .devices import Ask, Devices
from .origins import Origins, is_local
from .pairing import Arrival, authorize
from .problem import INVALID_REQUEST, NOT_PAIRED, UNAVAILABLE
from .proof import ProofError, Statement, check_claim, check_signature, public_key_text
from .refusals import PROTOCOL_ERROR, ConnectRefusedError, Unauthorized, unauthorized
from .scopes import ADMIN, NODE, OPERATOR, common

__all__ = ["ConnectRefusedError", "Connects", "Door", "Penalties", "Visit", "Welcome"]

ORIGIN_REFUSED = (
    "origin not allowed (open the Control UI from the gateway host or allow it in gateway.controlUi.allowedOrigins)"
)
NO_DEVICE = "device identity required"
NO_DEVICE_ON_SCREEN = "control ui requires device identity (use HTTPS or localhost secure context)"


GONE = Unauthorized("device_token_mismatch", "device-token")
NOBODY = Caller("nobody", frozenset(), frozenset())


class Visit(NamedTuple):
    """A connection whose client has not said yet who it is, and what it was challenged with."""

    head: RequestHead
    peer: Peer
    nonce: str

    @property
    def local(self) -> bool:
        """Whether a program of this machine asks for itself."""
        return is_local(self.head, self.peer)

    @property
    def from_page(self) -> bool:
        """Whether a browser says where it came from."""
        return bool(self.head.fields.get(b"origin", b"").strip())


class Welcome(NamedTuple):
    """A client that is let in.  `auth` is the member of that name in the answer; empty where it has none.

    `by_device_token`: what it may change of devices is its own.
    """

    caller: Caller
    role: str
    scopes: tuple[str, ...]
    protocol: int
    client: ClientInfo
    caps: tuple[str, ...]
    device_id: str | None
    auth: Mapping[str, Any]
    by_device_token: bool = False


class Door(Protocol):
    """What the gateway knows of secrets."""

    @property
    def open(self) -> bool:
        """Whether nobody is asked for one."""

    def identify(self, secret: str, visitor: Visitor) -> Caller | None:
        """Who shows this secret; None for one that is none.  In constant time; nothing is counted.

        Raises RequestError (429, with `retry-after`) for who has shown too many wrong ones.
        """

    def knows(self, caller: Caller) -> bool:
        """Whether somebody who was let in would be let in again, as the same."""

    def failed(self, visitor: Visitor) -> bool:
        """Count a wrong secret.  False for a peer of whom none are counted: a program of this machine."""


class Penalties:
    """How long a program of this machine waits for the answer to a wrong secret: no lockout, and no quick guessing.

    `clock` gives seconds and never goes back.
    """

    FIRST = 0.25
    LAST = 5.0
    WINDOW = 60.0
    """Seconds: of the first wait, which doubles each time, the longest, and after which a failure is forgotten."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: deque[float] = deque(maxlen=6)  # by then it is the longest

    def next(self) -> float:
        """Count a failure; the seconds to wait."""
        now = self._clock()
        while self._failures and self._failures[0] <= now - self.WINDOW:
            self._failures.popleft()
        self._failures.append(now)
        return float(min(self.FIRST * 2 ** (len(self._failures) - 1), self.LAST))

    def clear(self) -> None:
        """Somebody has shown the right one: what was wrong before were mistakes."""
        self._failures.clear()


class _Entry(NamedTuple):
    """The caller that a secret stands for; with a failure it is NOBODY.  `wrong`: a secret was shown, and is none."""

    caller: Caller
    method: str
    failure: Unauthorized | None = None
    wrong: bool = False

    @property
    def shared(self) -> bool:
        """Whether by the gateway's own secret."""
        return self.failure is None and self.caller == EVERYTHING and self.method in {"token", "password"}

    @property
    def by_key(self) -> bool:
        """Whether by a key of the configuration."""
        return self.failure is None and self.caller != EVERYTHING


class Connects:
    """Judges those who want to connect.

    `mode` is what the gateway's secret is called: `token` or `password`.  `clock` gives milliseconds since the epoch;
    `pause` waits so many seconds.
    """

    def __init__(
        self,
        door: Door,
        devices: Devices,
        origins: Origins,
        *,
        clock: Callable[[], int],
        penalties: Penalties,
        mode: str = "token",
        pause: Callable[[float], Awaitable[None]] = sleep,
    ) -> None:
        self._door = door
        self._devices = devices
        self._origins = origins
        self._clock = clock
        self._penalties = penalties
        self._mode = mode
        self._pause = pause
        self._computing = Lock()

    @property
    def mode(self) -> str:
        """How clients prove that they may come in: `token`, `password`, or `none`."""
        return "none" if self._door.open else self._mode

    async def judge(self, params: Any, visit: Visit) -> Welcome:
        """As what the client is let in.  Raises ConnectRefusedError; for a wrong secret after a while."""
        wrong = fault(params)
        if wrong is not None:
            raise ConnectRefusedError(INVALID_REQUEST, f"invalid connect params: {wrong}")
        asked = Asked(params)
        self._check(asked, visit)
        try:
            entry = await self._authenticate(asked, visit)
            if asked.device is not None:
                await self._check_signature(asked, asked.device)
            if entry.by_key:
                return self._by_key(asked, visit, entry)
            if asked.device is None:
                return self._welcome(asked, entry, self._scopes_without_device(asked, visit, entry), {})
            return await self._with_device(asked, visit, entry, asked.device)
        except StoreError as error:
            raise ConnectRefusedError(UNAVAILABLE, error.message, retryable=True, protocol=asked.protocol) from error

    def recalls(self, welcome: Welcome) -> bool:
        """Whether what somebody was let in with is good still: keys end, and are taken back; devices are revoked."""
        if not self._door.knows(welcome.caller):
            return False
        if welcome.device_id is None or "deviceToken" not in welcome.auth:
            return True
        device = self._devices.get(welcome.device_id)
        return device is not None and device.active(welcome.role) is not None

    def _check(self, asked: Asked, visit: Visit) -> None:
        """What does not depend on who it is."""
        if not asked.protocol:
            low, high = asked.range
            details = {
                "code": "PROTOCOL_MISMATCH",
                "clientMinProtocol": low,
                "clientMaxProtocol": high,
                "expectedProtocol": PROTOCOL,
                "minimumProbeProtocol": OLD_PROTOCOL,
            }
            raise ConnectRefusedError(INVALID_REQUEST, "protocol mismatch", details=details, close_code=PROTOCOL_ERROR)
        if asked.role not in {OPERATOR, NODE}:
            raise ConnectRefusedError(INVALID_REQUEST, "invalid role", protocol=asked.protocol)
        fault = self._origins.fault(visit.head, visit.peer) if visit.from_page or asked.client.is_page else None
        if fault is not None:
            details = {"code": "CONTROL_UI_ORIGIN_NOT_ALLOWED", "reason": fault}
            raise ConnectRefusedError(INVALID_REQUEST, ORIGIN_REFUSED, details=details, protocol=asked.protocol)

    def _enter(self, asked: Asked, visit: Visit) -> _Entry:
        """Whom the secret stands for."""
        if self._door.open:
            return _Entry(EVERYTHING, "none")
        method = self._mode
        first, second = (asked.password, asked.token) if method == "password" else (asked.token, asked.password)
        secret = first or second
        if not secret:
            return _Entry(NOBODY, method, Unauthorized(f"{method}_missing", asked.provided))
        try:
            caller = self._door.identify(secret, visit)
        except RequestError as error:
            after = next((int(value) * 1000 for name, value in error.headers if name == b"retry-after"), None)
            if error.code != "rate_limited":  # a key over its rate
                raise ConnectRefusedError(
                    UNAVAILABLE, error.message, retryable=True, retry_after_ms=after, protocol=asked.protocol
                ) from error
            return _Entry(NOBODY, method, Unauthorized("rate_limited", asked.provided, after))
        if caller is None:
            return _Entry(NOBODY, method, Unauthorized(f"{method}_mismatch", asked.provided), wrong=True)
        if visit.local:
            self._penalties.clear()
        return _Entry(caller, method)

    async def _authenticate(self, asked: Asked, visit: Visit) -> _Entry:
        """Who it is.  A wrong secret, and a device's wrong token, are answered late, or counted."""
        entry = self._enter(asked, visit)
        try:
            if asked.device is None:
                self._check_without_device(asked, visit, entry)
            else:
                await self._devices.load()
                self._check_claim(asked, visit, asked.device)
                entry = self._by_device_token(asked, entry, asked.device)
            if entry.failure is not None:
                raise self._unauthorized(asked, visit, entry.failure)
        except ConnectRefusedError:
            if entry.wrong and not self._door.failed(visit):
                await self._pause(self._penalties.next())
            raise
        return entry

    # -- without a device

    def _check_without_device(self, asked: Asked, visit: Visit, entry: _Entry) -> None:
        """Raises ConnectRefusedError for who needs a device."""
        if self._speaks_for_machine(asked, visit, entry) and asked.role == OPERATOR:
            return
        if asked.client.is_screen:
            details = {"code": "CONTROL_UI_DEVICE_IDENTITY_REQUIRED"}
            raise ConnectRefusedError(INVALID_REQUEST, NO_DEVICE_ON_SCREEN, details=details, protocol=asked.protocol)
        if asked.role == OPERATOR and (entry.shared or entry.by_key):
            return
        if entry.failure is not None and (asked.token or asked.password):
            raise self._unauthorized(asked, visit, entry.failure)
        details = {"code": "DEVICE_IDENTITY_REQUIRED"}
        raise ConnectRefusedError(NOT_PAIRED, NO_DEVICE, details=details, protocol=asked.protocol)

    @staticmethod
    def _speaks_for_machine(asked: Asked, visit: Visit, entry: _Entry) -> bool:
        """Whether it is a program of this machine whose device is not asked for, and whose scopes are kept.

        A backend; a CLI too, where nobody has a secret to show: the product asks it for a device, which shows nothing.
        """
        if not visit.local or visit.from_page or entry.by_key:
            return False
        known = entry.shared or entry.method in {"none", "device-token"}
        return (asked.client.is_backend and known) or (asked.client.is_plain_cli and entry.method == "none")

    def _scopes_without_device(self, asked: Asked, visit: Visit, entry: _Entry) -> tuple[str, ...]:
        """Nobody has approved them for anything: only the programs of this machine keep theirs."""
        kept = self._speaks_for_machine(asked, visit, entry) or (
            visit.local and not visit.from_page and (asked.client.is_plain_cli or asked.protocol == OLD_PROTOCOL)
        )
        return asked.scopes if kept else ()

    def _by_key(self, asked: Asked, visit: Visit, entry: _Entry) -> Welcome:
        """As far as a key goes."""
        scopes = entry.caller.scopes
        granted = [ADMIN] if scopes is None else [scope for scope in scopes if scope.startswith(f"{OPERATOR}.")]
        if not granted or asked.role != OPERATOR:
            raise self._unauthorized(asked, visit, Unauthorized("key_scope_missing", asked.provided))
        return self._welcome(asked, entry, common(asked.scopes, sorted(granted)), {})

    # -- with one

    def _check_claim(self, asked: Asked, visit: Visit, device: Mapping[str, Any]) -> None:
        try:
            check_claim(device, visit.nonce, self._clock(), protocol=asked.protocol, local=visit.local)
        except ProofError as error:
            raise _no_proof(error, asked) from error

    async def _check_signature(self, asked: Asked, device: Mapping[str, Any]) -> None:
        """After the secret: it is what costs most, and nobody without one is to have it computed.

        That takes milliseconds, in which others are to be served: in a thread, and one at a time.
        """
        statement = Statement(asked.client, asked.role, asked.scopes, asked.signed_token)
        try:
            async with self._computing:
                await to_thread(check_signature, device, statement, asked.protocol)
        except ProofError as error:
            raise _no_proof(error, asked) from error

    def _by_device_token(self, asked: Asked, entry: _Entry, device: Mapping[str, Any]) -> _Entry:
        """Whom the token of the device stands for, where no other secret does."""
        token = asked.device_token or asked.token
        failure = entry.failure
        if failure is None:
            return entry
        if asked.bootstrap:
            failure = Unauthorized("bootstrap_token_invalid", asked.provided)
        if not token:
            return entry._replace(failure=failure)
        fault = self._devices.check(device["id"], token, asked.role, asked.scopes)
        if fault is None:
            return _Entry(EVERYTHING, "device-token")
        if fault == "scope-mismatch":
            failure = Unauthorized("scope_mismatch", asked.provided)
        elif asked.device_token:
            failure = Unauthorized("device_token_mismatch", asked.provided)
        return entry._replace(failure=failure, wrong=failure.reason != "rate_limited")

    async def _with_device(self, asked: Asked, visit: Visit, entry: _Entry, device: Mapping[str, Any]) -> Welcome:
        client, devices = asked.client, self._devices
        if entry.method == "device-token":  # which may have been revoked while the signature was computed
            entry = self._by_device_token(asked, entry._replace(failure=GONE), device)
            if entry.failure is not None:
                raise self._unauthorized(asked, visit, entry.failure)
        remote = None if visit.local else visit.peer.host
        ask = Ask(
            device["id"], public_key_text(device), asked.role, asked.scopes, client.id, client.mode,
            client.display_name, client.platform, client.device_family, remote,
        )  # fmt: skip
        free = self._speaks_for_machine(asked, visit, entry) or (entry.method == "none" and client.is_screen)
        if not free:
            arrival = Arrival(client, visit.local, visit.from_page, asked.protocol)
            authorize(devices, ask, arrival)
        devices.seen(ask)
        issued: dict[str, Any] = {}
        if entry.method == "device-token":
            token = asked.device_token or asked.token
            issued = {"deviceToken": token, "issuedAtMs": devices.issued_at(ask.device_id, asked.role)}
        elif (made := devices.issue(ask.device_id, asked.role, asked.scopes)) is not None:
            issued = {"deviceToken": made[0], "issuedAtMs": made[1]}
        await devices.save()
        return self._welcome(asked, entry, asked.scopes, issued)

    # -- what is said

    @staticmethod
    def _welcome(asked: Asked, entry: _Entry, scopes: tuple[str, ...], issued: Mapping[str, Any]) -> Welcome:
        auth = {"method": entry.method, "role": asked.role, "scopes": list(scopes), **issued}
        if asked.protocol == OLD_PROTOCOL:  # which knows no `method`, and has `auth` for the token only
            auth.pop("method")
            auth = auth if issued else {}
        device_id = None if asked.device is None else asked.device["id"]
        return Welcome(
            entry.caller, asked.role, scopes, asked.protocol, asked.client, asked.caps, device_id, auth,
            entry.method == "device-token",
        )  # fmt: skip

    def _unauthorized(self, asked: Asked, visit: Visit, failure: Unauthorized) -> ConnectRefusedError:
        device = asked.device is not None and not asked.device_token
        return unauthorized(failure, asked.client, local=visit.local, device=device, protocol=asked.protocol)


def _no_proof(error: ProofError, asked: Asked) -> ConnectRefusedError:
    details = {"code": error.code, "reason": error.reason}
    return ConnectRefusedError(INVALID_REQUEST, error.message, details=details, protocol=asked.protocol)
