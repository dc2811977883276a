"""The handshake of a WebSocket: what we accept, websockets accepts too, and wsproto takes our answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from h11 import CLIENT, Connection, InformationalResponse, Request
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake, NegotiationError
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.headers import parse_extension
from websockets.http11 import Request as TheirRequest
from websockets.server import ServerProtocol
from wsproto.utilities import generate_accept_token

from gateway.errors import RequestError
from gateway.model.http import Malformed, RequestHead
from gateway.wire.extensions import Compression, agree
from gateway.wire.heads import read_request_head
from gateway.wire.upgrade import accept, is_websocket

__all__ = ["one_input"]

NAME = "permessage-deflate"
BITS = {"8", "9", "10", "11", "12", "13", "14", "15"}
STATUSES = {400, 405, 426}

_LISTS = ("Connection", "Upgrade", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions")

ALLOWED: tuple[tuple[str, Callable[[RequestHead, str], bool], str], ...] = (
    (
        "InvalidUpgrade",
        lambda head, _: b"," in head.fields[b"upgrade"] or b"/" in head.fields[b"upgrade"],
        "websockets wants `websocket` alone; RFC 6455, 4.2.1 wants it among the protocols that are offered",
    ),
    (
        "InvalidHeader",
        lambda _, name: name in _LISTS,
        "websockets holds the grammar of all of a list, here what it is searched for has to be in it",
    ),
)
"""(how the name of their error begins, when it may come for what we accept and is about that header, why)."""


def one_input(data: bytes) -> None:
    end = data.find(b"\r\n\r\n") + 4
    head = read_request_head(data[:end] if end > 3 else data + b"\r\n\r\n")
    if isinstance(head, Malformed):
        return
    offered = [
        name.strip(" \t") for name in head.fields.get(b"sec-websocket-protocol", b"").decode("latin-1").split(",")
    ]
    for subprotocol in (None, offered[0] or None):
        try:
            answer = accept(head, subprotocol)
        except RequestError as error:
            _refused(head, error)
        else:
            _accepted(head, answer, subprotocol)
            for takeover in (True, False):
                _compressed(head, Compression(takeover=takeover))


def _compressed(head: RequestHead, compression: Compression) -> None:
    """What is agreed upon was offered; where websockets takes an offer, we do, but for what it does not hold to."""
    try:
        agreement = agree(head, compression)
    except RequestError as error:
        assert error.status == 400
        return
    value = head.fields.get(b"sec-websocket-extensions", b"").decode("latin-1")
    offered = [parameters for name, parameters in parse_extension(value) if name == NAME] if value else []
    if agreement is None:
        assert not any(map(_takes, offered)), f"websockets takes one of {offered}"
        return
    assert offered
    ((name, answer),) = parse_extension(agreement.answer.decode())
    assert name == NAME
    assert len(dict(answer)) == len(answer)
    assert any(_answers(dict(answer), dict(offer)) for offer in offered), f"{answer} to {offered}"
    assert agreement.server_takeover == ("server_no_context_takeover" not in dict(answer))
    assert agreement.client_takeover == ("client_no_context_takeover" not in dict(answer))
    assert b"Sec-WebSocket-Extensions: " + agreement.answer + b"\r\n" in accept(head, None, agreement.answer)


def _takes(offer: Sequence[tuple[str, str | None]]) -> bool:
    factory = ServerPerMessageDeflateFactory(server_max_window_bits=12, client_max_window_bits=12)
    try:
        factory.process_request_params(offer, [])
    except NegotiationError:
        return False
    return True


def _answers(answer: dict[str, str | None], offer: dict[str, str | None]) -> bool:
    """RFC 7692, 7.1: what a server may say to an offer."""
    if (
        answer.keys()
        - offer.keys()
        - {"client_no_context_takeover", "server_no_context_takeover", "server_max_window_bits"}
    ):
        return False
    if "server_no_context_takeover" in offer and "server_no_context_takeover" not in answer:
        return False
    for bits in ("server_max_window_bits", "client_max_window_bits"):
        given, taken = offer.get(bits), answer.get(bits)
        if given is not None and (given not in BITS or taken is None or int(taken) > int(given)):
            return False
        if taken is not None and taken not in BITS:
            return False
    return True


def _refused(head: RequestHead, error: RequestError) -> None:
    assert error.status in STATUSES, error.status
    names = {name for name, _ in error.headers}
    if error.status == 426:  # RFC 9110, 15.5.22 and RFC 6455, 4.4
        assert {b"upgrade", b"connection", b"sec-websocket-version"} <= names
    if error.status == 405:
        assert b"allow" in names
        assert head.method != "GET"


def _accepted(head: RequestHead, answer: bytes, subprotocol: str | None) -> None:
    assert is_websocket(head)
    assert (head.method, head.version) == ("GET", "1.1")
    assert not head.content_length
    assert not head.chunked
    key = head.fields[b"sec-websocket-key"]

    client = Connection(CLIENT)
    client.send(
        Request(method="GET", target="/", headers=[("Host", "h"), ("Upgrade", "websocket"), ("Connection", "Upgrade")])
    )
    client.receive_data(answer)
    response = client.next_event()
    assert isinstance(response, InformationalResponse), response
    assert response.status_code == 101
    assert client.trailing_data[0] == b"", "bytes behind the answer"
    fields = dict(response.headers)
    assert fields[b"sec-websocket-accept"] == generate_accept_token(key)
    assert fields[b"upgrade"].lower() == b"websocket"
    assert fields[b"connection"].lower() == b"upgrade"
    assert fields.get(b"sec-websocket-protocol") == (None if subprotocol is None else subprotocol.encode("latin-1"))

    headers = Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers])
    try:
        token, _, _ = ServerProtocol().process_request(TheirRequest(head.path, headers))
    except InvalidHandshake as error:
        name = type(error).__name__
        header = getattr(error, "name", "")
        reasons = [why for word, when, why in ALLOWED if name.startswith(word) and when(head, header)]
        assert reasons, f"we accept {head}, websockets says {error!r}"
    else:
        assert token.encode() == fields[b"sec-websocket-accept"]
