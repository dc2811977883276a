"""What a client says that it is.

The product's programs have ids, `NAME-control-ui`, and modes.  What they are let do depends on both, and on nothing
that only they could know: a script that calls itself a CLI is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..model.names import FAMILIES, PUBLIC
from ..records import NamedTuple

__all__ = ["NAMED", "ClientInfo", "canonical"]

NAMED = {
    f"{family}-{suffix}": f"{PUBLIC}-{suffix}"
    for family in FAMILIES
    for suffix in (
        "control-ui", "browser-copilot", "tui", "macos", "linux", "ios", "watchos", "android", "worker", "probe",
    )
}  # fmt: skip
"""Ids that begin with a family's name: in January the product had other names, and its clients have them still."""
_CONTROL_UI = f"{PUBLIC}-control-ui"
_BROWSERS = {_CONTROL_UI, f"{PUBLIC}-browser-copilot"}
_SCREENS = {*_BROWSERS, f"{PUBLIC}-tui"}
_APPS = {f"{PUBLIC}-{system}" for system in ("macos", "linux", "ios", "android")}


def canonical(client_id: str) -> str:
    """The id that the product of today gives a client: those of all families are as good."""
    return NAMED.get(client_id, client_id)


class ClientInfo(NamedTuple):
    """What a client says of itself: `id` as it wrote it."""

    id: str
    mode: str
    version: str
    platform: str
    device_family: str | None = None
    display_name: str | None = None
    instance_id: str | None = None
    model_identifier: str | None = None

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> ClientInfo:
        """The member `client` of `connect`."""
        return cls(
            given["id"],
            given["mode"],
            given["version"],
            given["platform"],
            given.get("deviceFamily"),
            given.get("displayName"),
            given.get("instanceId"),
            given.get("modelIdentifier"),
        )

    @property
    def is_cli(self) -> bool:
        return self.mode == "cli"

    @property
    def is_plain_cli(self) -> bool:
        """The product's command line, as it is for a single request."""
        return (self.id, self.mode) == ("cli", "cli")

    @property
    def is_backend(self) -> bool:
        """A program that speaks for the gateway's own machine."""
        return (self.id, self.mode) == ("gateway-client", "backend")

    @property
    def is_screen(self) -> bool:
        """A person's screen, in a browser or a terminal: it has an identity of its own, and must show it."""
        return canonical(self.id) in _SCREENS

    @property
    def is_page(self) -> bool:
        """A web page: its browser says where it came from."""
        return canonical(self.id) in _BROWSERS or self.is_webchat

    @property
    def is_control_ui(self) -> bool:
        return canonical(self.id) == _CONTROL_UI

    @property
    def is_webchat(self) -> bool:
        return self.mode == "webchat" or self.id == "webchat-ui"

    @property
    def is_app(self) -> bool:
        """One of the product's apps: what system it runs on changes with its updates."""
        return self.mode == "ui" and canonical(self.id) in _APPS
