"""The database of sessions, step by step: each function makes of one version the next.

`PRAGMA user_version` counts the steps that were taken.  A step that was released is never changed; a change is one
more step at the end.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from ..errors import StoreError

__all__ = ["APPLICATION_ID", "MIGRATIONS", "migrate"]

APPLICATION_ID = 0x67775353
"""In the file's header, so that it is known for ours: `gwSS`."""


_SESSIONS = (
    """
    CREATE TABLE sessions (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        key NOT NULL UNIQUE,
        used INTEGER NOT NULL,
        model,
        trimmed INTEGER NOT NULL DEFAULT 0,
        created_at REAL NOT NULL,
        updated_at REAL NOT NULL,
        turns INTEGER NOT NULL DEFAULT 0,
        characters INTEGER NOT NULL DEFAULT 0,
        bytes INTEGER NOT NULL DEFAULT 0
    )""",
    "CREATE UNIQUE INDEX sessions_by_use ON sessions (used)",
    """
    CREATE TABLE turns (
        id INTEGER PRIMARY KEY,
        session INTEGER NOT NULL REFERENCES sessions ON DELETE CASCADE,
        run_id NOT NULL,
        at REAL NOT NULL,
        characters INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        payload BLOB NOT NULL
    )""",
    "CREATE INDEX turns_by_session ON turns (session)",
    "CREATE INDEX turns_by_run ON turns (run_id)",
    """
    CREATE TABLE images (
        id INTEGER PRIMARY KEY,
        digest BLOB NOT NULL UNIQUE,
        data BLOB NOT NULL
    )""",
    """
    CREATE TABLE turn_images (
        turn INTEGER NOT NULL REFERENCES turns ON DELETE CASCADE,
        number INTEGER NOT NULL,
        image INTEGER NOT NULL REFERENCES images,
        PRIMARY KEY (turn, number)
    ) WITHOUT ROWID""",
    "CREATE INDEX turn_images_by_image ON turn_images (image)",
    """
    CREATE TRIGGER forget_images AFTER DELETE ON turn_images
    WHEN NOT EXISTS (SELECT 1 FROM turn_images WHERE image = OLD.image)
    BEGIN DELETE FROM images WHERE id = OLD.image; END""",
    "CREATE TABLE totals (sessions INTEGER NOT NULL, bytes INTEGER NOT NULL)",
    "INSERT INTO totals VALUES (0, 0)",
    """
    CREATE TRIGGER count_new AFTER INSERT ON sessions
    BEGIN UPDATE totals SET sessions = sessions + 1, bytes = bytes + NEW.bytes; END""",
    """
    CREATE TRIGGER count_gone AFTER DELETE ON sessions
    BEGIN UPDATE totals SET sessions = sessions - 1, bytes = bytes - OLD.bytes; END""",
    """
    CREATE TRIGGER count_change AFTER UPDATE OF bytes ON sessions
    BEGIN UPDATE totals SET bytes = bytes + NEW.bytes - OLD.bytes; END""",
)


def _create_sessions(database: sqlite3.Connection) -> None:
    """Sessions, their turns, and pictures, each of these once, for as long as a turn shows it; `totals` is one row.

    Ids of sessions are never used again, and `used` grows with every change: both together name one state of one
    session.  Texts stand as TEXT where they are Unicode, else as BLOB.
    """
    for statement in _SESSIONS:
        database.execute(statement)


# A random UUID (RFC 9562, version 4).
_UUID = (
    "lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-a' || "
    "substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))"
)

_DETAILS = (
    "ALTER TABLE sessions ADD COLUMN uuid TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE sessions ADD COLUMN settings TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE sessions ADD COLUMN agent NOT NULL DEFAULT ''",
    "ALTER TABLE sessions ADD COLUMN answered_by",
    "ALTER TABLE sessions ADD COLUMN last_prompt INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE sessions ADD COLUMN last_completion INTEGER NOT NULL DEFAULT 0",
    f"UPDATE sessions SET uuid = {_UUID}",  # noqa: S608 - a constant
    # A program that does not know of it yet may have the file open, and goes on.
    f"""
    CREATE TRIGGER name_new AFTER INSERT ON sessions WHEN NEW.uuid = ''
    BEGIN UPDATE sessions SET uuid = {_UUID} WHERE id = NEW.id; END""",  # noqa: S608 - the same
    """
    CREATE TABLE usage (
        session INTEGER NOT NULL,
        day INTEGER NOT NULL,
        agent NOT NULL,
        model NOT NULL,
        turns INTEGER NOT NULL,
        prompt INTEGER NOT NULL,
        completion INTEGER NOT NULL,
        cached INTEGER NOT NULL,
        reasoning INTEGER NOT NULL,
        PRIMARY KEY (session, day, agent, model)
    ) WITHOUT ROWID""",
    """
    CREATE TRIGGER keep_usage AFTER DELETE ON sessions
    BEGIN
        INSERT INTO usage SELECT 0, day, agent, model, turns, prompt, completion, cached, reasoning
            FROM usage WHERE session = OLD.id
            ON CONFLICT (session, day, agent, model) DO UPDATE SET
            turns = turns + excluded.turns, prompt = prompt + excluded.prompt,
            completion = completion + excluded.completion, cached = cached + excluded.cached,
            reasoning = reasoning + excluded.reasoning;
        DELETE FROM usage WHERE session = OLD.id;
    END""",
)


def _describe_sessions(database: sqlite3.Connection) -> None:
    """What lists of sessions show, and the tokens of each day; those of sessions that are gone are of session 0."""
    for statement in _DETAILS:
        database.execute(statement)


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (_create_sessions, _describe_sessions)


def migrate(database: sqlite3.Connection) -> None:
    """Bring a database, perhaps an empty one, up to date, whole or not at all.

    Raises StoreError where a newer program has written it, or where it is somebody else's; sqlite3.Error.
    """
    if _version(database) == len(MIGRATIONS):
        return
    database.execute("BEGIN IMMEDIATE")
    try:
        version = _version(database)  # another process may have been faster
        for step in MIGRATIONS[version:]:
            step(database)
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


def _version(database: sqlite3.Connection) -> int:
    version: int = database.execute("PRAGMA user_version").fetchone()[0]
    owner: int = database.execute("PRAGMA application_id").fetchone()[0]
    if owner not in {0, APPLICATION_ID} or (owner == 0 and database.execute("SELECT 1 FROM sqlite_master").fetchone()):
        raise StoreError("it is the database of another program. Name another file in session.store")
    if version > len(MIGRATIONS):
        raise StoreError(
            f"a newer version of this program has written it (its format is {version}, {len(MIGRATIONS)} is known "
            "here). Update this program, or name another file in session.store"
        )
    return version
