"""Options: who may come in.  See `schema`."""

from __future__ import annotations

from ..model.caller import API_SCOPES, SCOPES
from . import kinds, product, values
from .fields import REQUIRED, Boolean, Choice, Integer, ListOf, Secret, Section, SectionClass, Text, option, section
from .kinds import DAY_MS, count

__all__ = ["Auth", "Key", "KeyRate", "RateLimit"]


class RateLimit(SectionClass):
    max_attempts: int = count(10, "Wrong secrets from one address before it is locked out; 0 for no lockout.", 0)
    window_ms: int = option(60_000, "Within so many milliseconds of the first.", Integer(1, DAY_MS))
    lockout_ms: int = option(300_000, "Milliseconds for which it is refused, right secret or not.", Integer(1, DAY_MS))
    exempt_loopback: bool = option(True, "Do not lock out programs of this machine.", Boolean())


class KeyRate(SectionClass):
    requests: int = option(
        REQUIRED, 'So many at once; or all of `rate` as text, like "60/min".', Integer(1, 1_000_000), shown="no limit"
    )
    per_seconds: int = option(
        60, "And as many again within so many seconds, evenly spread.", Integer(1, DAY_MS // 1000)
    )


class Key(SectionClass):
    id: str = option(REQUIRED, "Its name: in logs, never a secret.", Text("id", values.key_id), shown="required")
    secret: str | None = option(None, "What the client shows.", Secret())
    hash: str | None = option(
        None, "In place of it: its SHA-256, as `gateway keys new` makes it. Not for passwords.", kinds.KeyHash()
    )
    env: str | None = option(None, "Or: the variable that holds it.", Text("name of a variable", values.variable))
    agents: tuple[str, ...] = option(
        (), "The agents it may use, by id.", ListOf(Text("id", values.agent_id)), shown="all"
    )
    scopes: tuple[str, ...] = option((), "What it may do.", ListOf(Choice(SCOPES)), shown=", ".join(API_SCOPES))
    rate: KeyRate | None = option(None, "", kinds.RateOr(KeyRate))
    expires: str | None = option(
        None,
        "From when on it is refused; a date means its beginning, UTC.",
        Text("ISO 8601 date, or time with zone", values.moment),
    )


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
    keys: tuple[Key, ...] = option(
        (), "Keys of single clients, besides or in place of the secret.", ListOf(Section(Key)), shown="none"
    )
