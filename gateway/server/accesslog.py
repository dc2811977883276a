"""One line for each answer, by the logger of this module, at level INFO."""

from __future__ import annotations

from logging import getLogger

from ..model.http import Peer, RequestHead

__all__ = ["log_answer"]

_logger = getLogger(__name__)


def log_answer(peer: Peer, head: RequestHead, status: int, seconds: float, request_id: str) -> None:
    """`127.0.0.1 "POST /v1/chat/completions" 200 0.012s req=...`.

    The query is left out: clients put secrets there.
    """
    _logger.info('%s "%s %s" %d %.3fs req=%s', peer.host or "unix", head.method, head.path, status, seconds, request_id)
