"""Options: who may come in.  See `schema`."""

from __future__ import annotations

from . import product
from .amounts import DAY_MS, count
from .fields import Boolean, Choice, Integer, Secret, SectionClass, option, section

__all__ = ["Auth", "RateLimit"]


class RateLimit(SectionClass):
    max_attempts: int = count(10, "Wrong secrets from one address before it is locked out; 0 for no lockout.", 0)
    window_ms: int = option(60_000, "Within so many milliseconds of the first.", Integer(1, DAY_MS))
    lockout_ms: int = option(300_000, "Milliseconds for which it is refused, right secret or not.", Integer(1, DAY_MS))
    exempt_loopback: bool = option(True, "Do not lock out programs of this machine.", Boolean())


class Auth(SectionClass):
    IGNORED = product.AUTH

    mode: str | None = option(
        None,
        "What clients must show. `none` only on loopback or a unix socket.",
        Choice(
            ("token", "password", "none"),
            {"trusted-proxy": "Let the proxy send 'Authorization: Bearer' with a token instead."},
        ),
        shown="password if one is set, else token",
    )
    token: str | None = option(None, "The token of mode `token`.", Secret(), environment="GATEWAY_TOKEN")
    password: str | None = option(None, "The password of mode `password`.", Secret(), environment="GATEWAY_PASSWORD")
    rate_limit: RateLimit = section(RateLimit)
