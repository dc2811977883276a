"""One line for each answer, by the logger of this module, at level INFO."""

from __future__ import annotations

from logging import getLogger

from ..model.http import Peer, RequestHead

__all__ = ["log_answer"]

_logger = getLogger(__name__)


def log_answer(
    peer: Peer, head: RequestHead, status: int, seconds: float, request_id: str, *, key_id: str = ""
) -> None:
    """`127.0.0.1 "POST /v1/chat/completions" 200 0.012s req=... key=...`, the key only where one was shown.

    The subject of a client certificate stands behind the address, as `'CN=alice'`.  The query is left out: clients put
    secrets there.
    """
    who = f"{peer.host or 'unix'} {peer.certificate!r}" if peer.certificate else peer.host or "unix"
    key = f" key={key_id}" if key_id else ""
    _logger.info('%s "%s %s" %d %.3fs req=%s%s', who, head.method, head.path, status, seconds, request_id, key)
