"""Who may come in, and as what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from ..model.caller import Caller
from ..model.http import Peer, RequestHead
from ..ports import Visitor
from .problem import INVALID_REQUEST, RpcError

__all__ = ["ClientInfo", "ConnectRefusedError", "Connects", "Door", "Visit", "Welcome"]


class Visit(NamedTuple):
    """A connection whose client has not said yet who it is.  `challenged_at` in milliseconds since the epoch."""

    head: RequestHead
    peer: Peer
    nonce: str
    challenged_at: int


class ClientInfo(NamedTuple):
    """What a client says of itself."""

    id: str
    mode: str
    version: str
    platform: str
    device_family: str | None = None
    display_name: str | None = None
    instance_id: str | None = None


class Welcome(NamedTuple):
    """A client that is let in.  `auth` is the member of that name in the answer."""

    caller: Caller
    role: str
    scopes: tuple[str, ...]
    protocol: int
    client: ClientInfo
    caps: tuple[str, ...]
    device_id: str | None
    auth: Mapping[str, Any]


class ConnectRefusedError(RpcError):
    """A client that is not let in: the error that it is told, and how its connection ends."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        close_code: int = 1008,
        close_reason: str | None = None,
        details: Mapping[str, Any] | None = None,
        protocol: int = 4,
    ) -> None:
        super().__init__(code, message, details=details)
        self.close_code = close_code
        self.close_reason = message if close_reason is None else close_reason
        self.protocol = protocol


class Door(Protocol):
    """What the gateway knows of secrets."""

    @property
    def open(self) -> bool:
        """Whether nobody is asked for one."""

    def identify(self, secret: str, visitor: Visitor) -> Caller | None:
        """Who shows this secret; None for one that is none.  Raises RequestError (429) for who has tried too many."""


class Connects:
    """Judges those who want to connect."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def judge(self, params: Any, visit: Visit) -> Welcome:
        """As what the client is let in.  Raises ConnectRefusedError, RequestError (429)."""
        auth = params.get("auth") or {}
        secret = auth.get("token") or auth.get("password") or ""
        caller = self._door.identify(secret, visit)
        if caller is None:
            raise ConnectRefusedError(INVALID_REQUEST, "unauthorized: gateway token mismatch")
        given = params["client"]
        info = ClientInfo(given["id"], given["mode"], given["version"], given["platform"])
        scopes = tuple(params.get("scopes") or ())
        told = {"method": "token", "role": "operator", "scopes": list(scopes)}
        return Welcome(caller, "operator", scopes, 4, info, tuple(params.get("caps") or ()), None, told)
