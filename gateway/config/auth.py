"""Which secrets clients must show, from the configuration and the environment."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import ConfigError
from ..model.caller import API_SCOPES, Caller, Key, Rate
from ..model.names import environment
from ..records import NamedTuple
from .schema import Gateway
from .schema_auth import Auth
from .schema_auth import Key as KeyOptions

__all__ = ["Credential", "digest_of", "is_local", "missing", "resolve_auth", "resolve_keys", "sha256"]


class Credential(NamedTuple):
    """`mode` is token, password or none.  `secret` is None in mode none, and where there are only keys."""

    mode: str
    secret: str | None

    def __repr__(self) -> str:
        return f"Credential(mode={self.mode!r})"


def resolve_auth(gateway: Gateway, environ: Mapping[str, str]) -> Credential:
    """The mode and its secret: the configuration's, else that of the first variable which holds one.

    Without a mode it is password if there is one anywhere, else token.  Raises ConfigError for a mode without its
    secret, unless there are keys, and for mode none where more than this machine can connect.
    """
    auth = gateway.auth
    token = auth.token or _first(environ, "GATEWAY_TOKEN")
    password = auth.password or _first(environ, "GATEWAY_PASSWORD")
    mode = auth.mode or ("password" if password else "token")
    if mode == "none":
        if not is_local(gateway.bind):
            raise ConfigError(
                f'gateway.auth.mode: "none" would let everyone who reaches {gateway.bind} use the agents. '
                'Set gateway.bind to "loopback" or "unix:/path", or mode to "token"'
            )
        return Credential(mode, None)
    secret = password if mode == "password" else token
    if not secret and auth.keys:
        return Credential(mode, None)
    if not secret:
        names = environment(f"GATEWAY_{mode.upper()}")
        raise ConfigError(
            f"gateway.auth: no {mode} is set, and without one nobody could be told from anybody else. "
            f"Set gateway.auth.{mode} or {' or '.join(names)}"
        )
    return Credential(mode, secret)


def resolve_keys(auth: Auth, environ: Mapping[str, str]) -> dict[bytes, Key]:
    """The keys by the SHA-256 of their secrets.  Raises ConfigError for a variable that holds none."""
    found = {}
    for key in auth.keys:
        digest = digest_of(key, environ)
        if digest is None:
            raise ConfigError(f"gateway.auth.keys: {key.id}: {missing(key)}")
        agents = frozenset(key.agents) if key.agents else None
        rate = None if key.rate is None else Rate(key.rate.requests, float(key.rate.per_seconds))
        caller = Caller(key.id, agents, frozenset(key.scopes or API_SCOPES))
        found[digest] = Key(caller, rate, None if key.expires is None else _seconds(key.expires))
    return found


def digest_of(key: KeyOptions, environ: Mapping[str, str]) -> bytes | None:
    """The SHA-256 of the key's secret; None where it has none."""
    if key.hash is not None:
        return bytes.fromhex(key.hash.partition(":")[2])
    secret = key.secret if key.env is None else environ.get(key.env, "").strip()
    return sha256(secret.encode()) if secret else None


def missing(key: KeyOptions) -> str:
    """What to say of a key without a secret."""
    return (
        f"the environment has no value for {key.env}. Set it, or put it into a .env file beside the configuration"
        if key.env
        else "one of secret, hash and env has to be there, and not empty"
    )


def sha256(data: bytes) -> bytes:
    """A digest, as secrets of keys are kept."""
    import hashlib  # noqa: PLC0415 - for keys only: it costs the start 2 ms

    return hashlib.sha256(data).digest()


def _seconds(moment: str) -> float:
    from datetime import datetime  # noqa: PLC0415 - for keys that expire; it costs the start 2 ms

    return datetime.fromisoformat(moment).timestamp()


def is_local(bind: str) -> bool:
    """Whether only this machine can connect to the address of a finished configuration."""
    if bind.startswith("unix:") or bind == "localhost":
        return True
    import ipaddress  # noqa: PLC0415 - for mode none only, and it costs the start 2 ms

    try:
        return bool(ipaddress.ip_address(bind).is_loopback)
    except ValueError:
        return False


def _first(environ: Mapping[str, str], suffix: str) -> str | None:
    values = (environ.get(name, "").strip() for name in environment(suffix))
    return next((value for value in values if value), None)
