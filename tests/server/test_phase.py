"""The phases of a connection: the whole product of moves."""

from __future__ import annotations

import pytest

from gateway.errors import MisuseError
from gateway.server.phase import NEXT, Phase, move

P = Phase
ALLOWED = {
    (P.IDLE, P.EXCHANGE): "a head was read",
    (P.IDLE, P.LINGER): "what came is no request",
    (P.IDLE, P.CLOSED): "the peer left, or its time is up",
    (P.EXCHANGE, P.IDLE): "answered, and the request was read to its end",
    (P.EXCHANGE, P.DRAIN): "answered before the request was read to its end",
    (P.EXCHANGE, P.LINK): "it became a WebSocket",
    (P.EXCHANGE, P.LINGER): "the last answer was given",
    (P.EXCHANGE, P.CLOSED): "the peer left",
    (P.DRAIN, P.IDLE): "the rest of the request is there",
    (P.DRAIN, P.LINGER): "it is not coming, or broken",
    (P.DRAIN, P.CLOSED): "the peer left",
    (P.LINK, P.LINGER): "the close frame was sent",
    (P.LINK, P.CLOSED): "the peer left",
    (P.LINGER, P.CLOSED): "the peer has closed, or its time is up",
}


@pytest.mark.parametrize("following", Phase)
@pytest.mark.parametrize("current", Phase)
def test_move(current: Phase, following: Phase) -> None:
    if (current, following) in ALLOWED:
        assert move(current, following) is following
    else:
        with pytest.raises(MisuseError, match=f"{current.name} to {following.name}"):
            move(current, following)


def test_the_table_names_every_phase() -> None:
    assert set(NEXT) == set(Phase)
    assert all(P.CLOSED in following for phase, following in NEXT.items() if phase is not P.CLOSED)
