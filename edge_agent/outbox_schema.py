"""The outbox's file: how it is opened, and how one of an earlier release becomes today's without losing a frame."""

import sqlite3
from pathlib import Path
from typing import Final

from storage.sqlite import transaction

SCHEMA_VERSION: Final = 2
_SCHEMA: Final = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE frame(
  number INTEGER PRIMARY KEY, declaration INTEGER NOT NULL, t_ms INTEGER NOT NULL, body BLOB NOT NULL,
  keep INTEGER NOT NULL DEFAULT 1);
CREATE TABLE alias(
  alias INTEGER PRIMARY KEY, meter TEXT NOT NULL, name TEXT NOT NULL, declaration TEXT NOT NULL,
  UNIQUE(meter, name, declaration));
CREATE TABLE declaration(
  id INTEGER PRIMARY KEY, meter TEXT NOT NULL, birth BLOB NOT NULL, UNIQUE(meter, birth));
"""
_HELD: Final = """
CREATE TABLE held(
  id INTEGER PRIMARY KEY, boot TEXT NOT NULL, declaration INTEGER NOT NULL, t_ms INTEGER NOT NULL, body BLOB NOT NULL,
  keep INTEGER NOT NULL);
"""
_MIGRATIONS: Final = {1: (f"ALTER TABLE frame ADD COLUMN keep INTEGER NOT NULL DEFAULT 1;{_HELD}", 2)}
"""Version found → (statements, version reached). Each is one transaction: pulled in the middle it is the old file."""
WAL_BYTES: Final = 8_000_000
"""The write-ahead log is cut back to this; it comes on top of the ring's bytes."""


class OutboxError(Exception):
    """The outbox cannot be used; the message names the file and the cure."""


def unwritable(path: Path, error: sqlite3.Error) -> OutboxError:
    """What to say when the disk takes no more."""
    return OutboxError(f"{path}: the outbox cannot be written ({error}); check the card and its free space")


def open_outbox(path: Path) -> sqlite3.Connection:
    """The file, in today's schema; OutboxError when it cannot be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        db = sqlite3.connect(path, isolation_level=None, timeout=10, check_same_thread=False)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute(f"PRAGMA journal_size_limit={WAL_BYTES}")
        found = _migrated(db)
    except sqlite3.DatabaseError as error:
        msg = f"{path}: the outbox cannot be opened ({error}); check the card, its owner and free space"
        raise OutboxError(msg) from error
    if found != SCHEMA_VERSION:
        msg = f"{path}: schema version {found}, this agent writes {SCHEMA_VERSION}; install the release that wrote it"
        raise OutboxError(msg)
    return db


def _migrated(db: sqlite3.Connection) -> int:
    """The schema version after what could be done about it."""
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version == 0:
        _run(db, _SCHEMA + _HELD, SCHEMA_VERSION)
        return SCHEMA_VERSION
    while version in _MIGRATIONS:
        statements, reached = _MIGRATIONS[version]
        _run(db, statements, reached)
        version = reached
    return version


def _run(db: sqlite3.Connection, statements: str, version: int) -> None:
    with transaction(db):
        for statement in statements.split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA user_version={version}")
