"""How much a JSON text of a peer may hold, besides bytes: of some kinds, few bytes take long to read."""

from __future__ import annotations

__all__ = ["DIGITS", "VALUES", "limited_int", "too_many_values"]

# Values and keys of one text: reading one takes a microsecond, in which nobody else is served, and 100 bytes.
VALUES = 100_000
# Of an integer: the time to read one grows with the square of its digits, and Python's own limit is 4,300.
DIGITS = 400


def limited_int(digits: str) -> int:
    """`int`, for a decoder's `parse_int`.  Raises ValueError for more than DIGITS."""
    if len(digits) > DIGITS:
        raise ValueError
    return int(digits)


def too_many_values(text: bytes, values: int = VALUES) -> bool:
    """Whether a JSON text has more than `values` values and keys, up to the first fault at least."""
    if len(text) <= 2 * values:  # in fewer bytes there is no room for so many
        return False
    if len(text) - len(text.translate(None, b",:[{")) < values:
        return False
    bare = text.replace(b"\\\\", b"").replace(b'\\"', b"")  # and now without those that stand in strings
    if bare.count(b'"') > 2 * values:
        return True
    outside = b"".join(bare.split(b'"')[::2])
    return len(outside) - len(outside.translate(None, b",:[{")) >= values
