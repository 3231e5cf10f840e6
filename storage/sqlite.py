"""How our SQLite files are opened: WAL and synchronous=FULL for the one writer, short read-only transactions for all others."""

import sqlite3
from pathlib import Path

from storage.errors import SchemaError, StoreError


def open_writer(path: Path, schema: str, version: int) -> sqlite3.Connection:
    """A connection in autocommit mode (transactions are explicit) to a file that has `schema`; created when missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        connection = sqlite3.connect(path, isolation_level=None, timeout=10, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        _ensure_schema(connection, path, schema, version)
    except sqlite3.DatabaseError as error:
        msg = f"{path}: cannot be opened for writing ({error}); check its owner, the free space and the disk"
        raise StoreError(msg) from error
    return connection


def _ensure_schema(connection: sqlite3.Connection, path: Path, schema: str, version: int) -> None:
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if found == 0:
        connection.executescript(f"BEGIN;\n{schema}\nPRAGMA user_version={version};\nCOMMIT;")
    elif found != version:
        msg = f"{path}: schema version {found}, this program writes {version}; install the release that wrote it"
        raise SchemaError(msg)


def open_reader(path: Path) -> sqlite3.Connection:
    """A read-only connection; FileNotFoundError while the writer has not created the file."""
    if not path.exists():
        msg = f"{path}: not there yet; its writer creates it at first start"
        raise FileNotFoundError(msg)
    connection = sqlite3.connect(
        f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=10, check_same_thread=False
    )
    connection.execute("PRAGMA query_only=1")
    return connection
