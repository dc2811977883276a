"""What is taken of the extensions that a client offers (RFC 6455, section 9.1; RFC 7692, section 7.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.headers import build_extension, parse_extension

from gateway.errors import RequestError
from gateway.model.http import RequestHead
from gateway.wire.extensions import Agreement, Compression, agree
from gateway.wire.heads import read_request_head
from gateway.wire.upgrade import offers

SMALL = Compression(window_bits=12)
WITH_TAKEOVER = Compression(window_bits=12, takeover=True)
ALONE = "; server_no_context_takeover; client_no_context_takeover"


def head(*values: str) -> RequestHead:
    lines = ["GET / HTTP/1.1", "Host: x", *(f"Sec-WebSocket-Extensions: {value}" for value in values), "", ""]
    read = read_request_head("\r\n".join(lines).encode("latin-1"))
    assert isinstance(read, RequestHead)
    return read


def taken(*values: str, compression: Compression | None = SMALL) -> Agreement | None:
    return agree(head(*values), compression)


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("permessage-deflate", "permessage-deflate" + ALONE),
        ("permessage-deflate; client_max_window_bits", f"permessage-deflate; client_max_window_bits=12{ALONE}"),
        ("permessage-deflate; client_max_window_bits=10", f"permessage-deflate; client_max_window_bits=10{ALONE}"),
        ("permessage-deflate; client_max_window_bits=15", f"permessage-deflate; client_max_window_bits=12{ALONE}"),
        ("permessage-deflate; client_max_window_bits=8", f"permessage-deflate; client_max_window_bits=8{ALONE}"),
        ("permessage-deflate; server_max_window_bits=15", f"permessage-deflate; server_max_window_bits=12{ALONE}"),
        ("permessage-deflate; server_max_window_bits=8", f"permessage-deflate; server_max_window_bits=8{ALONE}"),
        ('permessage-deflate; server_max_window_bits="9"', f"permessage-deflate; server_max_window_bits=9{ALONE}"),
        ('permessage-deflate; server_max_window_bits="\\1\\0"', f"permessage-deflate; server_max_window_bits=10{ALONE}"),
        ("permessage-deflate;server_no_context_takeover", "permessage-deflate" + ALONE),
        ("permessage-deflate;client_no_context_takeover", "permessage-deflate" + ALONE),
        (" ,, x-webkit-deflate-frame ,\tpermessage-deflate\t;\tclient_max_window_bits , ,",
         f"permessage-deflate; client_max_window_bits=12{ALONE}"),
        ("permessage-deflate; unknown, permessage-deflate", "permessage-deflate" + ALONE),
        ("permessage-deflate; client_max_window_bits=10, permessage-deflate",
         f"permessage-deflate; client_max_window_bits=10{ALONE}"),
    ],
)  # fmt: skip
def test_the_first_good_offer_is_taken(offer: str, answer: str) -> None:
    agreement = taken(offer)
    assert agreement is not None
    assert agreement.answer.decode() == answer
    assert (agreement.server_takeover, agreement.client_takeover) == (False, False)


@pytest.mark.parametrize(
    ("offer", "server", "client"),
    [("", True, True), ("; server_no_context_takeover", False, True), ("; client_no_context_takeover", True, False),
     ("; client_no_context_takeover; server_no_context_takeover", False, False)],
)  # fmt: skip
def test_with_takeover_each_side_can_still_be_without(offer: str, server: bool, client: bool) -> None:
    agreement = taken("permessage-deflate" + offer, compression=WITH_TAKEOVER)
    assert agreement is not None
    assert (agreement.server_takeover, agreement.client_takeover) == (server, client)
    assert (b"; server_no_context_takeover" in agreement.answer) is not server
    assert (b"; client_no_context_takeover" in agreement.answer) is not client


@pytest.mark.parametrize(
    ("offer", "server", "client"),
    [("", 12, 15), ("; client_max_window_bits", 12, 12), ("; client_max_window_bits=9", 12, 9),
     ("; server_max_window_bits=9", 9, 15), ("; server_max_window_bits=15; client_max_window_bits=15", 12, 12)],
)  # fmt: skip
def test_windows(offer: str, server: int, client: int) -> None:
    agreement = taken("permessage-deflate" + offer)
    assert agreement is not None
    assert (agreement.server_bits, agreement.client_bits) == (server, client)


@pytest.mark.parametrize(
    "offer",
    [
        "x-unknown", "PERMESSAGE-DEFLATE", "permessage-deflate-x", "permessage-bzip2",
        "permessage-deflate; unknown", "permessage-deflate; unknown=1", "permessage-deflate; Server_max_window_bits=10",
        *(f"permessage-deflate; {side}_no_context_takeover{value}" for side in ("server", "client") for value in
          ("=1", "=true", '="x"', "; {0}_no_context_takeover")),
        "permessage-deflate; server_max_window_bits",
        *(f"permessage-deflate; {side}_max_window_bits={value}" for side in ("server", "client") for value in
          ("7", "16", "0", "08", "010", "1e1", "-9", "+9", "10.0", "x", "99999999999999999999")),
        "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
        "permessage-deflate; client_max_window_bits=10; client_max_window_bits",
    ],
)  # fmt: skip
def test_offers_that_are_declined(offer: str) -> None:
    offer = offer.replace("{0}", "server" if "server" in offer else "client")
    for compression in (SMALL, WITH_TAKEOVER):
        assert taken(offer, compression=compression) is None
        after = taken(offer, "permessage-deflate; server_max_window_bits=11", compression=compression)
        assert after is not None
        assert after.server_bits == 11


@pytest.mark.parametrize(
    "value",
    [
        "", " ", ",", ";", "permessage-deflate;", "permessage-deflate; ;client_max_window_bits", "; server_max_window_bits=10",
        "permessage-deflate client_max_window_bits", "permessage-deflate; a b", "permessage-deflate; a=",
        "permessage-deflate; =1", "permessage-deflate; a==1", "permessage-deflate; a=1=2", 'permessage-deflate; a="',
        'permessage-deflate; a=""', 'permessage-deflate; a="1', 'permessage-deflate; a=1"', 'permessage-deflate; a="1 2"',
        'permessage-deflate; a="1,2"', 'permessage-deflate; a="1"2', 'permessage-deflate; a="\\"', "permessage-deflate/1",
        'permessage-deflate; a="\\\\"', "permessage-deflate; a=1\xff", "permessage-deflate, @", '"permessage-deflate"', "a:b",
        "(comment)", "permessage-deflate; a={1}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("compression", [None, SMALL])
def test_lists_that_break_the_grammar(value: str, compression: Compression | None) -> None:
    with pytest.raises(RequestError) as caught:
        taken(value, compression=compression)
    assert caught.value.status == 400
    assert "Sec-WebSocket-Extensions" in caught.value.message
    assert "deflate" not in caught.value.message  # what a client sent is not for others to read


def test_nothing_is_taken_that_is_not_wanted_or_not_offered() -> None:
    assert taken("permessage-deflate", compression=None) is None
    assert taken() is None


def test_a_long_list_costs_what_it_is_long() -> None:
    """Neither good nor bad input can make the grammar look twice: 30,000 characters in the time of a few hundred."""
    for value in (
        "a;b=c," * 5000,
        "a" * 30_000 + "@",
        "a;" * 15_000,
        " " * 30_000,
        "a" + " " * 30_000 + "@",
        ", " * 15_000,
    ):
        try:
            found = offers(value.encode())
        except RequestError:
            continue
        assert len(found) == 5000


token = st.text("abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=8)
parameters = st.lists(st.tuples(token, st.none() | token), max_size=4)


@given(st.lists(st.tuples(token, parameters), min_size=1, max_size=4))
def test_an_independent_reader_reads_the_same(extensions: list[tuple[str, list[tuple[str, str | None]]]]) -> None:
    value = build_extension(extensions)  # type: ignore[arg-type]  # its names are NewTypes of str
    read = [(n.decode(), [(p.decode(), v and v.decode()) for p, v in given]) for n, given in offers(value.encode())]
    assert read == parse_extension(value) == extensions


@given(
    st.builds(
        ClientPerMessageDeflateFactory,
        server_no_context_takeover=st.booleans(),
        client_no_context_takeover=st.booleans(),
        server_max_window_bits=st.none() | st.integers(8, 15),
        client_max_window_bits=st.none() | st.just(True) | st.integers(9, 15),
    ),
    st.builds(Compression, st.integers(9, 15), st.just(5), st.just(1), st.just(128), st.booleans()),
)
def test_an_independent_client_agrees(factory: ClientPerMessageDeflateFactory, compression: Compression) -> None:
    agreement = taken(build_extension([(factory.name, factory.get_request_params())]), compression=compression)
    assert agreement is not None
    [(name, answer)] = parse_extension(agreement.answer.decode())
    assert name == factory.name
    theirs = factory.process_response_params(answer, [])  # raises for an answer that its offer does not allow
    assert theirs.remote_no_context_takeover is not agreement.server_takeover
    assert theirs.local_no_context_takeover is not agreement.client_takeover
    assert theirs.remote_max_window_bits >= agreement.server_bits
    assert theirs.local_max_window_bits == agreement.client_bits
