"""Every error the gateway raises on purpose.

GatewayError
+-- ConfigError        the configuration cannot be used; holds every problem found
+-- RequestError       a request that is answered with an OpenAI-shaped error
+-- AgentError         a run that failed; agents may raise it to choose code and status
|   +-- StoreError     a session that could not be read or kept
+-- ToolError          a tool that failed; the model is told why, and goes on
+-- PeerGone           the peer left, or was cut off, before its answer was complete
+-- MisuseError        our own code called a state machine in a state that does not allow it
"""

from __future__ import annotations

__all__ = [
    "AgentError",
    "ConfigError",
    "GatewayError",
    "MisuseError",
    "PeerGone",
    "RequestError",
    "StoreError",
    "ToolError",
]


class GatewayError(Exception):
    """Base of all errors listed in this module."""


class ConfigError(GatewayError):
    """The configuration cannot be used.  `problems` holds one line for each fault, each with place and remedy."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class RequestError(GatewayError):
    """A request that is refused: `status` and the members of OpenAI's error object.

    Source: https://platform.openai.com/docs/guides/error-codes.
    `headers` are added to the answer; names in lower case.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",  # noqa: A002 - the name of OpenAI's member
        param: str | None = None,
        code: str | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.param = param
        self.code = code
        self.headers = headers


class AgentError(GatewayError):
    """A run that failed.  `code` is a short stable word, `status` the HTTP status it maps to (500, 502, 504, 429 ...).

    `retry_after` is in seconds, where the cause told how long to wait.
    """

    def __init__(
        self, message: str, *, code: str = "agent_error", status: int = 500, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status
        self.retry_after = retry_after


class StoreError(AgentError):
    """A session that could not be read or kept; the message tells why and what would help."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="session_store_unavailable", status=503)


class ToolError(GatewayError):
    """A call of a tool that failed.  `message` is written for the model, which is told it in place of a result.

    A tool whose failure the user has to know of, because the run makes no sense any more, raises AgentError.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class PeerGone(GatewayError):
    """The peer left, or was cut off, before its answer was complete."""


class MisuseError(GatewayError):
    """Our own code called a state machine in a state that does not allow it: a bug here, never a peer's doing."""
