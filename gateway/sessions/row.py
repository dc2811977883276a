"""A session as it stands in the database, without its turns."""

from __future__ import annotations

from typing import Any

from ..model.run import Usage
from ..model.session import SessionInfo
from ..records import NamedTuple
from .settings import unpacked

__all__ = ["Row", "column", "row_of", "text"]


class Row(NamedTuple):
    """A session without its turns.  `id` and `used` together name one state of it."""

    id: int
    used: int
    key: str
    model: str | None
    trimmed: bool
    created_at: float
    updated_at: float
    turns: int
    characters: int
    bytes: int
    uuid: str
    settings: str
    agent: str
    answered_by: str | None
    last_prompt: int
    last_completion: int

    @property
    def stamp(self) -> tuple[int, int]:
        """Names this state of the session, for all time."""
        return self.id, self.used

    @property
    def info(self) -> SessionInfo:
        """As a line of the list."""
        return SessionInfo(
            self.key, self.turns, self.characters, self.created_at, self.updated_at, self.model, self.uuid,
            unpacked(self.settings), self.agent, self.answered_by, Usage(self.last_prompt, self.last_completion),
        )  # fmt: skip


def column(value: str | None) -> str | bytes | None:
    """How a text stands in a column: as it is, or, where it is no Unicode, as bytes."""
    if value is None or value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")
    return value


def text(value: str | bytes) -> str:
    """The inverse of `column`."""
    return value if isinstance(value, str) else value.decode("utf-8", "surrogatepass")


def row_of(found: Any) -> Row | None:
    """What a query for the members of `Row` found."""
    if found is None:
        return None
    row = Row(*found)
    answered_by = None if row.answered_by is None else text(row.answered_by)
    model = None if row.model is None else text(row.model)
    return row._replace(
        key=text(row.key), model=model, trimmed=bool(row.trimmed), agent=text(row.agent), answered_by=answered_by
    )
