"""One line for each answer, by the logger of this module, at level INFO."""

from __future__ import annotations

from logging import getLogger

from .services import Answered

__all__ = ["log_answer"]

_logger = getLogger(__name__)


def log_answer(answered: Answered, seconds: float) -> None:
    """`127.0.0.1 "POST /v1/chat/completions" 200 0.012s req=... key=...`, the key only where one was shown.

    The subject of a client certificate stands behind the address, as `'CN=alice'`.  The query is left out: clients put
    secrets there.
    """
    peer, head, status, request_id = answered.peer, answered.head, answered.writer.status, answered.request_id
    who = f"{peer.host or 'unix'} {peer.certificate!r}" if peer.certificate else peer.host or "unix"
    key = f" key={answered.caller.id}" if answered.caller.id else ""
    _logger.info('%s "%s %s" %d %.3fs req=%s%s', who, head.method, head.path, status, seconds, request_id, key)
