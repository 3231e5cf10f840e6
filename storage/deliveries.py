"""What was to be delivered, every attempt, every receipt, and the signed chain heads. Append-only, one short transaction each."""

from pathlib import Path

import msgspec

from storage.sqlite import Store, open_reader, open_writer, transaction

SCHEMA_VERSION = 1
_TABLES = ("parcel", "attempt", "head", "stamp")
_SCHEMA = """
CREATE TABLE parcel(
  key TEXT PRIMARY KEY, target TEXT NOT NULL, title TEXT NOT NULL, created_ms INTEGER NOT NULL, files BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE attempt(
  id INTEGER PRIMARY KEY, key TEXT NOT NULL REFERENCES parcel(key), at_ms INTEGER NOT NULL, outcome TEXT NOT NULL,
  detail TEXT NOT NULL, receipt BLOB NOT NULL);
CREATE INDEX attempt_of_parcel ON attempt(key, id);
CREATE TABLE head(
  journal_id TEXT NOT NULL, day TEXT NOT NULL, signed BLOB NOT NULL, PRIMARY KEY(journal_id, day)) WITHOUT ROWID;
CREATE TABLE stamp(
  journal_id TEXT NOT NULL, day TEXT NOT NULL, tsa TEXT NOT NULL, response BLOB NOT NULL, PRIMARY KEY(journal_id, day)) WITHOUT ROWID;
""" + "".join(
    f"CREATE TRIGGER {table}_{what} BEFORE {what} ON {table} BEGIN SELECT raise(ABORT, 'what was delivered never changes'); END;\n"
    for table in _TABLES
    for what in ("UPDATE", "DELETE")
)
RECEIPTED, FAILED = "receipted", "failed"


class FileDigest(msgspec.Struct, frozen=True, gc=False):
    """A file of a parcel."""

    name: str
    size: int
    sha256: str


class ParcelRow(msgspec.Struct, frozen=True, gc=False):
    """What is to reach a target; the key is the same whenever the same files are to reach the same target."""

    key: str
    target: str
    title: str
    created_ms: int
    files: tuple[FileDigest, ...]


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One attempt: receipted with what the other side said, or failed with the reason."""

    key: str
    at_ms: int
    outcome: str
    detail: str
    receipt: bytes = b""


class DeliveryStore(Store):
    """Parcels and attempts. Open with `writable=False` to read only."""

    def __init__(self, path: Path, *, writable: bool = True) -> None:
        super().__init__(
            open_writer(path, _SCHEMA, SCHEMA_VERSION) if writable else open_reader(path, SCHEMA_VERSION)
        )

    def add(self, row: ParcelRow) -> bool:
        """Keep a parcel; False when its key is there."""
        values = (row.key, row.target, row.title, row.created_ms, msgspec.json.encode(row.files))
        with transaction(self._db):
            return self._db.execute("INSERT OR IGNORE INTO parcel VALUES(?,?,?,?,?)", values).rowcount == 1

    def parcels(self) -> list[ParcelRow]:
        """All of them, oldest first."""
        rows = self._db.execute(
            "SELECT key, target, title, created_ms, files FROM parcel ORDER BY created_ms, key"
        )
        files = msgspec.json.Decoder(tuple[FileDigest, ...])
        return [
            ParcelRow(key, target, title, at_ms, files.decode(raw)) for key, target, title, at_ms, raw in rows
        ]

    def tried(self, attempt: Attempt) -> None:
        """Keep an attempt."""
        with transaction(self._db):
            self._db.execute(
                "INSERT INTO attempt(key, at_ms, outcome, detail, receipt) VALUES(?,?,?,?,?)",
                msgspec.structs.astuple(attempt),
            )

    def attempts(self, key: str | None = None) -> list[Attempt]:
        """The attempts of a parcel, or all, in order."""
        query = (
            "SELECT key, at_ms, outcome, detail, receipt FROM attempt WHERE (? IS NULL OR key=?) ORDER BY id"
        )
        return [Attempt(*row) for row in self._db.execute(query, (key, key))]

    def add_head(self, journal_id: str, day: str, signed: bytes) -> bytes:
        """Keep a day's signed head; the day's first one stays and is given back."""
        with transaction(self._db):
            self._db.execute("INSERT OR IGNORE INTO head VALUES(?,?,?)", (journal_id, day, signed))
            row = self._db.execute(
                "SELECT signed FROM head WHERE journal_id=? AND day=?", (journal_id, day)
            ).fetchone()
        return bytes(row[0])

    def heads(self) -> list[tuple[str, bytes]]:
        """(day, signed head), oldest first."""
        return [
            (day, bytes(signed))
            for day, signed in self._db.execute("SELECT day, signed FROM head ORDER BY day, journal_id")
        ]

    def add_stamp(self, journal_id: str, day: str, tsa: str, response: bytes) -> None:
        """Keep the time stamp of a day's head; the first one stays."""
        with transaction(self._db):
            self._db.execute("INSERT OR IGNORE INTO stamp VALUES(?,?,?,?)", (journal_id, day, tsa, response))

    def stamp(self, journal_id: str, day: str) -> bytes | None:
        """The time stamp of a day's head."""
        row = self._db.execute(
            "SELECT response FROM stamp WHERE journal_id=? AND day=?", (journal_id, day)
        ).fetchone()
        return bytes(row[0]) if row else None
