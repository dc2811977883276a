"""One module for each reader.  Its `one_input` takes any bytes, and raises only when the reader has a fault."""

from __future__ import annotations

__all__: list[str] = []
