"""Who may come in."""

from __future__ import annotations

from hmac import compare_digest

from ..errors import RequestError
from ..ports import Exchange

__all__ = ["Guard"]


class Guard:
    """Lets those in who know `secret`, a token or a password; None lets everybody in."""

    def __init__(self, secret: str | None) -> None:
        self._secret = None if secret is None else secret.encode()
        self._usual = b"" if self._secret is None else b"Bearer " + self._secret

    def check(self, exchange: Exchange) -> None:
        """Raises RequestError (401) unless the request carries `Authorization: Bearer <secret>`."""
        given = exchange.head.fields.get(b"authorization", b"")
        if self._secret is not None and not compare_digest(given, self._usual):
            scheme, _, given = given.partition(b" ")
            if scheme.lower() != b"bearer" or not given.strip():
                raise self._unauthorized(
                    "You didn't provide an API key. You need to provide the gateway's token or password in an "
                    "Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_TOKEN)."
                )
            if not compare_digest(given.strip(), self._secret):
                # The wording is OpenAI's: some clients know this error by it.  What was given is not repeated.
                raise self._unauthorized("Incorrect API key provided: it is not the token or password of this gateway.")
        exchange.admit()

    @staticmethod
    def _unauthorized(message: str) -> RequestError:
        headers = ((b"www-authenticate", b'Bearer realm="gateway"'),)
        return RequestError(401, message, code="invalid_api_key", headers=headers)
