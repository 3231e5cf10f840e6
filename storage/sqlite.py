"""How our SQLite files are opened: WAL and synchronous=FULL for the one writer, short read-only transactions for all others."""

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Self

from storage.errors import SchemaError, StoreError

Step = str | Callable[[sqlite3.Connection], None]
"""What brings a file one version forward: SQL, or what SQL cannot do, within the same transaction."""


class Store:
    """A SQLite file of ours, open for as long as the context lasts."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing. The error that ended it is the one that is raised."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # On some errors, a full disk among them, SQLite has rolled back already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def open_writer(
    path: Path, schema: str, version: int, steps: Mapping[int, Step] = MappingProxyType({})
) -> sqlite3.Connection:
    """A connection in autocommit mode (transactions are explicit) to a file that has `schema`; created when missing.

    Args:
        steps: Older version → what makes the next one of it. A file of an older version is brought forward, all
            the way or not at all.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, isolation_level=None, timeout=10, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        _ensure_schema(connection, path, schema, version, steps)
    except (OSError, sqlite3.DatabaseError) as error:
        msg = f"{path}: cannot be opened for writing ({error}); check its owner, the free space and the disk"
        raise StoreError(msg) from error
    return connection


def _ensure_schema(
    connection: sqlite3.Connection, path: Path, schema: str, version: int, steps: Mapping[int, Step]
) -> None:
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if found == 0:
        connection.executescript(f"BEGIN;\n{schema}\nPRAGMA user_version={version};\nCOMMIT;")
    elif found < version and all(older in steps for older in range(found, version)):
        _bring_forward(connection, version, steps)
    elif found != version:
        raise SchemaError(_wrong_version(path, found, version))


def _bring_forward(connection: sqlite3.Connection, version: int, steps: Mapping[int, Step]) -> None:
    """Another process may be about to do the same: who comes second finds it done."""
    with transaction(connection):
        found = int(connection.execute("PRAGMA user_version").fetchone()[0])
        for older in range(found, version):
            step = steps[older]
            if callable(step):
                step(connection)
                continue
            for statement in step.split(";"):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version={version}")


def _wrong_version(path: Path, found: int, version: int) -> str:
    return f"{path}: schema version {found}, this program has {version}; install the release that wrote it"


def set_aside_older(path: Path, version: int) -> Path | None:
    """Move a file of an older schema out of the way, for what can be made again from another one; its new place, or None.

    Its writer must not be running.
    """
    if not path.exists():
        return None
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        found = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if not 0 < found < version:
            return None
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()
    aside = path.with_name(f"{path.name}.v{found}")
    path.replace(aside)
    for rest in ("-wal", "-shm"):
        path.with_name(path.name + rest).unlink(missing_ok=True)
    return aside


def open_reader(path: Path, version: int) -> sqlite3.Connection:
    """A read-only connection; FileNotFoundError while the writer has not created the file."""
    missing = f"{path}: not there yet; its writer creates it at first start"
    if not path.exists():
        raise FileNotFoundError(missing)
    uri = f"{path.resolve().as_uri()}?mode=ro"
    try:
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=10, check_same_thread=False)
        connection.execute("PRAGMA query_only=1")
        found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    except sqlite3.DatabaseError as error:
        msg = f"{path}: cannot be read ({error}); check its owner and the disk, or restore it from a backup"
        raise StoreError(msg) from error
    if found != version:
        connection.close()
        if not found:
            raise FileNotFoundError(missing)
        older = f"{path}: schema version {found}, of an older release; the service that writes it brings it forward when it starts"
        raise SchemaError(older if found < version else _wrong_version(path, found, version))
    return connection


def create_private(path: Path) -> None:
    """An empty file that only its owner may read, unless it is there; made by root, it belongs to its folder's owner.

    SQLite gives its -wal and -shm the same owner and mode.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    if os.geteuid() == 0:
        folder = path.parent.stat()
        os.fchown(descriptor, folder.st_uid, folder.st_gid)
    os.close(descriptor)
