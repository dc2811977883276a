"""What a client asks for with `connect`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .clients import ClientInfo
from .devices import SCOPES_MOST
from .params.connect import CONNECT
from .scopes import ADMIN, OPERATOR
from .shapes import check

__all__ = ["OLD_PROTOCOL", "PROTOCOL", "Asked", "fault"]

PROTOCOL = 4
OLD_PROTOCOL = 3
"""That of January 2026, whose clients are served too."""

TEXT_CHARACTERS = 256
"""Of each thing that a client says of itself."""
SCOPE_CHARACTERS = 64


def fault(params: Any) -> str | None:
    """What is wrong with the parameters, in the words of the product; None for what is right."""
    return check(CONNECT, params) or _too_much(params)


def _too_much(params: Mapping[str, Any]) -> str | None:
    """What is longer than can be kept of a device and shown to others; the product knows no such limits."""
    long = next((name for name, text in params["client"].items() if len(text) > TEXT_CHARACTERS), None)
    if long is not None:
        return f"at /client/{long}: must NOT have more than {TEXT_CHARACTERS} characters"
    scopes = params.get("scopes") or ()
    if len(scopes) > SCOPES_MOST:
        return f"at /scopes: must NOT have more than {SCOPES_MOST} items"
    if any(len(scope) > SCOPE_CHARACTERS for scope in scopes):
        return f"at /scopes: must NOT have items of more than {SCOPE_CHARACTERS} characters"
    return None


class Asked:
    """The parameters, read.  They have no fault."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        low, high = params["minProtocol"], params["maxProtocol"]
        self.range = (low, high)
        self.protocol = next((one for one in (PROTOCOL, OLD_PROTOCOL) if low <= one <= high), 0)
        self.role: str = params.get("role", OPERATOR)
        scopes = tuple(params.get("scopes") or ())
        if self.protocol == OLD_PROTOCOL and self.role == OPERATOR and not scopes:
            scopes = (ADMIN,)
        self.scopes = scopes
        self.client = ClientInfo.read(params["client"])
        self.caps = tuple(params.get("caps") or ())
        self.device: Mapping[str, Any] | None = params.get("device")
        auth = params.get("auth") or {}
        # Half a surrogate pair stands in no secret, and could not be looked up.
        shown = {name: str(value).encode("utf-8", "replace").decode().strip() for name, value in auth.items()}
        self.token = shown.get("token", "")
        self.password = shown.get("password", "")
        self.bootstrap = shown.get("bootstrapToken", "")
        self.device_token = shown.get("deviceToken", "")
        signed = (auth.get(name) for name in ("token", "deviceToken", "bootstrapToken"))
        self.signed_token = next((str(value) for value in signed if value is not None), "")

    @property
    def provided(self) -> str:
        """The kind of secret that was shown, as the product names it."""
        kinds = {"password": self.password, "token": self.token}
        kinds |= {"bootstrap-token": self.bootstrap, "device-token": self.device_token}
        return next((kind for kind, value in kinds.items() if value), "none")
