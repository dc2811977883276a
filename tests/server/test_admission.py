"""How many connections a peer may have."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.model.http import Peer
from gateway.server.limits import Admission, Limits

A = Peer("192.0.2.1", 1, local=False)
B = Peer("192.0.2.2", 1, local=False)
LOCAL = Peer("127.0.0.1", 1, local=True)
UNIX = Peer("", 0, local=True)
LIMITS = Limits(connections=5, connections_per_peer=3, unauthenticated_per_peer=2)


def test_all_together() -> None:
    admission = Admission(LIMITS)
    for number in range(5):
        assert admission.enter(Peer(f"192.0.2.{number}", 1, local=False)) is None
    assert admission.enter(B) == "too many connections"
    assert admission.enter(LOCAL) == "too many connections"
    assert admission.total == 5
    admission.leave(Peer("192.0.2.0", 1, local=False), authenticated=False)
    assert admission.enter(LOCAL) is None


def test_strangers_from_one_address() -> None:
    admission = Admission(LIMITS)
    assert admission.enter(A) is None
    assert admission.enter(A) is None
    assert admission.enter(A) == "too many unauthenticated connections from this address"
    assert admission.total == 2
    assert admission.enter(B) is None
    admission.authenticated(A)
    assert admission.enter(A) is None
    admission.leave(A, authenticated=False)
    assert admission.enter(A) is None


def test_connections_from_one_address() -> None:
    admission = Admission(LIMITS)
    for _ in range(3):
        assert admission.enter(A) is None
        admission.authenticated(A)
    assert admission.enter(A) == "too many connections from this address"
    admission.leave(A, authenticated=True)
    assert admission.enter(A) is None


def test_an_ipv6_customer_is_one_peer() -> None:
    admission = Admission(LIMITS)
    peers = [Peer(host, 1, local=False) for host in ("2001:db8:0:7::1", "2001:db8:0:7:ffff::9", "2001:db8:0:7:a:b:c:d")]
    assert [admission.enter(peer) for peer in peers[:2]] == [None, None]
    assert admission.enter(peers[2]) == "too many unauthenticated connections from this address"
    assert admission.enter(Peer("2001:db8:0:8::1", 1, local=False)) is None, "another /64"
    admission.leave(peers[0], authenticated=False)
    assert admission.enter(peers[2]) is None


def test_peers_of_this_machine() -> None:
    admission = Admission(LIMITS)
    for _ in range(4):
        assert admission.enter(LOCAL) is None
    assert admission.enter(UNIX) is None
    strict = Admission(Limits(connections=5, connections_per_peer=3, unauthenticated_per_peer=2, exempt_local=False))
    assert strict.enter(LOCAL) is None
    assert strict.enter(LOCAL) is None
    assert strict.enter(LOCAL) == "too many unauthenticated connections from this address"


@given(
    st.lists(
        st.tuples(st.sampled_from([A, B, LOCAL]), st.sampled_from(["enter", "authenticated", "leave"])), max_size=60
    )
)
def test_nothing_stays_behind(steps: list[tuple[Peer, str]]) -> None:
    admission = Admission(LIMITS)
    inside: dict[Peer, list[bool]] = {A: [], B: [], LOCAL: []}
    for peer, what in steps:
        own = inside[peer]
        if what == "enter":
            whole = sum(map(len, inside.values())) < 5
            single = peer.local or (len(own) < 3 and own.count(False) < 2)
            assert (admission.enter(peer) is None) is (whole and single)
            if whole and single:
                own.append(False)
        elif what == "authenticated" and False in own:
            own.remove(False)
            own.append(True)
            admission.authenticated(peer)
        elif what == "leave" and own:
            admission.leave(peer, authenticated=own.pop())
        assert admission.total == sum(map(len, inside.values()))
    for peer, own in inside.items():
        for authenticated in own:
            admission.leave(peer, authenticated=authenticated)
    for peer in (A, A, B, B):  # as if nobody had ever been there
        assert admission.enter(peer) is None
