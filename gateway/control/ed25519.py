"""Ed25519 signatures, verified (RFC 8032, 5.1).  Nothing here is secret, so nothing has to take constant time."""

from __future__ import annotations

from hashlib import sha512
from typing import TypeAlias

__all__ = ["verify"]

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
D2 = 2 * D % P
SQRT_OF_MINUS_1 = pow(2, (P - 1) // 4, P)

_Point: TypeAlias = tuple[int, int, int, int]
"""Extended coordinates (X, Y, Z, T): x = X/Z, y = Y/Z, x*y = T/Z (RFC 8032, 5.1.4)."""

_NEUTRAL: _Point = (0, 1, 1, 0)


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes) is that of `message` under `public_key` (32 bytes).

    Encodings that are not the only one of their value are refused, and so are keys of small order: those have
    signatures that hold for any message.
    """
    if len(public_key) != 32 or len(signature) != 64:
        return False
    key = _decode(public_key)
    scalar = int.from_bytes(signature[32:], "little")
    if key is None or scalar >= L or _is_neutral(_double(_double(_double(key)))):
        return False
    x, y, z, t = key
    digest = int.from_bytes(sha512(signature[:32] + public_key + message).digest(), "little") % L
    return _encode(_sum(scalar, _BASE, digest, (P - x, y, z, P - t))) == signature[:32]


def _add(one: _Point, other: _Point) -> _Point:
    x1, y1, z1, t1 = one
    x2, y2, z2, t2 = other
    a = (y1 - x1) * (y2 - x2) % P
    b = (y1 + x1) * (y2 + x2) % P
    c = t1 * D2 * t2 % P
    d = 2 * z1 * z2 % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def _double(point: _Point) -> _Point:
    x, y, z, _ = point
    a = x * x % P
    b = y * y % P
    h = a + b
    e = h - (x + y) * (x + y) % P
    g = a - b
    f = 2 * z * z % P + g
    return e * f % P, g * h % P, f * g % P, e * h % P


def _is_neutral(point: _Point) -> bool:
    x, y, z, _ = point
    return x % P == 0 and (y - z) % P == 0


def _multiples(point: _Point) -> list[_Point]:
    """Those by 0 to 15."""
    multiples = [_NEUTRAL]
    while len(multiples) < 16:
        multiples.append(_add(multiples[-1], point))
    return multiples


def _sum(one: int, first: _Point, other: int, second: _Point) -> _Point:
    """Give one * first + other * second, four bits of both at a time."""
    of_first, of_second = _multiples(first), _multiples(second)
    total = _NEUTRAL
    for shift in range(252, -4, -4):
        total = _double(_double(_double(_double(total))))
        if digit := one >> shift & 15:
            total = _add(total, of_first[digit])
        if digit := other >> shift & 15:
            total = _add(total, of_second[digit])
    return total


def _decode(data: bytes) -> _Point | None:
    """RFC 8032, 5.1.3."""
    sign, y = data[31] >> 7, int.from_bytes(data, "little") & (1 << 255) - 1
    if y >= P:
        return None
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if (v * x * x - u) % P:
        x = x * SQRT_OF_MINUS_1 % P
        if (v * x * x - u) % P:
            return None
    if x == 0 and sign:
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


def _encode(point: _Point) -> bytes:
    x, y, z, _ = point
    inverse = pow(z, -1, P)
    return (y * inverse % P | (x * inverse % P & 1) << 255).to_bytes(32, "little")


# RFC 8032, 5.1: y = 4/5, x even.
_BASE: _Point = (
    15112221349535400772501151409588531511454012693041857206046113283949847762202,
    46316835694926478169428394003475163141307993866256225615783033603165251855960,
    1,
    46827403850823179245072216630277197565144205554125654976674165829533817101731,
)
