"""The outbox: the gateway's durable queue. A frame is on disk before anyone tries to send it, and stays after it is acked.

Numbers run from 1 without holes within an epoch. An ack marks sent; it frees nothing. When the ring is full the oldest
acked frames go first; only when none is left do unacked ones go, and then the publisher declares them lost.
"""

import secrets
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from storage.sqlite import transaction

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE frame(
  number INTEGER PRIMARY KEY, declaration INTEGER NOT NULL, t_ms INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE alias(
  alias INTEGER PRIMARY KEY, meter TEXT NOT NULL, name TEXT NOT NULL, declaration TEXT NOT NULL,
  UNIQUE(meter, name, declaration));
CREATE TABLE declaration(
  id INTEGER PRIMARY KEY, meter TEXT NOT NULL, birth BLOB NOT NULL, UNIQUE(meter, birth));
"""
_MOST_EVICTED = 500
_EVICTED_PART = 16
"""At most this part of the ring goes at once, so that a small ring with large frames is not emptied."""

_LOWER_BELIEVED = 3
"""So many lower acks in a row are no stray of an older session (ours)."""


class OutboxError(Exception):
    """The outbox cannot be used; the message names the file and the cure."""


class Draft(msgspec.Struct, frozen=True, gc=False):
    """Readings of one meter, encoded, before they have a number."""

    declaration: int
    """What they decode with."""
    t_ms: int
    body: bytes


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A numbered frame."""

    number: int
    declaration: int
    t_ms: int
    body: bytes


class Outbox:
    """One gateway's outbox. Calls may come from several threads; each is one short transaction."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path, self._max_bytes = path, max_bytes
        self._lock = threading.Lock()
        self._db = _open(path)
        self.epoch = self._meta("epoch") or self._first_epoch()
        self.acked = self._meta("acked")
        """Everything up to here is in the journal."""
        self._lower = 0
        """Acks in a row that said less than `acked`, of the same journal."""
        self.journal_id = str(self._meta("journal_id") or "")
        self.polled_ms: int | None = self._meta("polled_ms") or None
        """Time of the newest poll whose frames are here."""
        last = self._db.execute("SELECT max(number) FROM frame").fetchone()[0]
        self.last = max(last or 0, self._meta("last"), self.acked)
        """Highest number given."""

    def _meta(self, key: str) -> int:
        row = self._db.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
        return row[0] if row else 0

    def _first_epoch(self) -> int:
        """Epochs grow with time and end in a random part, so that two outboxes never share one."""
        epoch = time.time_ns() // 1_000_000 << 16 | secrets.randbits(16)
        self._set({"epoch": epoch})
        return epoch

    def _set(self, values: dict[str, object]) -> None:
        self._db.executemany("INSERT OR REPLACE INTO meta VALUES(?,?)", list(values.items()))

    def append(self, drafts: Iterable[Draft], polled_ms: int) -> None:
        """Number and store a poll's frames: all of them or none, synced to disk when this returns."""
        with self._lock:
            first = self.last + 1
            rows = [(first + i, draft.declaration, draft.t_ms, draft.body) for i, draft in enumerate(drafts)]
            last = first + len(rows) - 1
            with self._transaction():
                self._db.executemany("INSERT INTO frame VALUES(?,?,?,?)", rows)
                self._set(
                    {"polled_ms": polled_ms, "acked": self.acked, "journal_id": self.journal_id, "last": last}
                )
                self._evict()
            self.last, self.polled_ms = last, polled_ms

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing; OutboxError when the disk takes no more."""
        try:
            with transaction(self._db):
                yield
        except sqlite3.OperationalError as error:
            raise _unwritable(self._path, error) from error

    def _evict(self) -> None:
        """Oldest first, whatever it takes to stay within the ring's bytes; acked frames are the oldest."""
        while self._used_bytes() > self._max_bytes:
            first, last = self._db.execute(
                "SELECT (SELECT min(number) FROM frame), (SELECT max(number) FROM frame)"
            ).fetchone()
            if first is None:
                return
            count = min(_MOST_EVICTED, (last - first) // _EVICTED_PART + 1)
            self._db.execute("DELETE FROM frame WHERE number < ?", (first + count,))

    def _used_bytes(self) -> int:
        pages, free, size = (
            int(self._db.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size

    def after(self, number: int, limit: int) -> list[Frame]:
        """The next frames behind a number. The first may leave a hole: then what lies between is lost."""
        with self._lock:
            query = (
                "SELECT number, declaration, t_ms, body FROM frame WHERE number > ? ORDER BY number LIMIT ?"
            )
            return [Frame(*row) for row in self._db.execute(query, (number, limit))]

    def acknowledge(self, journal_id: str, epoch: int, number: int) -> bool:
        """Take an ack of this epoch; True when a journal that has less sends us back.

        That is another journal; or ours, put back as it was before (a machine's snapshot), when it says so again and again.
        The mark reaches the disk with the next poll: losing it costs a resend, syncing it would wear the card.
        """
        with self._lock:
            another = journal_id != self.journal_id
            if epoch != self.epoch:
                return False
            self._lower = self._lower + 1 if number < self.acked and not another else 0
            if not (another or number > self.acked or self._lower == _LOWER_BELIEVED):
                return False
            self._lower = 0
            went_back = number < self.acked
            self.journal_id, self.acked = journal_id, min(number, self.last)
            return went_back

    def next_bdseq(self) -> int:
        """The birth/death number of the next session (0 to 255)."""
        with self._lock:
            value = (self._meta("bdseq") + 1) % 256
            with self._transaction():
                self._set({"bdseq": value})
            return value

    def alias(self, meter: str, name: str, declaration: str) -> int:
        """The alias of a metric as declared, given once for ever. Another declaration of the same name takes a new one."""
        with self._lock:
            key = (meter, name, declaration)
            self._db.execute("INSERT OR IGNORE INTO alias(meter, name, declaration) VALUES(?,?,?)", key)
            query = "SELECT alias FROM alias WHERE meter=? AND name=? AND declaration=?"
            return int(self._db.execute(query, key).fetchone()[0])

    def declare(self, meter: str, birth: bytes) -> int:
        """The id of a meter's birth. Frames keep theirs, so they decode after the configuration has changed."""
        with self._lock:
            self._db.execute("INSERT OR IGNORE INTO declaration(meter, birth) VALUES(?,?)", (meter, birth))
            query = "SELECT id FROM declaration WHERE meter=? AND birth=?"
            return int(self._db.execute(query, (meter, birth)).fetchone()[0])

    def declaration(self, id_: int) -> tuple[str, bytes]:
        """(meter, birth) of a declaration."""
        with self._lock:
            meter, birth = self._db.execute(
                "SELECT meter, birth FROM declaration WHERE id=?", (id_,)
            ).fetchone()
            return str(meter), bytes(birth)

    def renew_epoch(self) -> None:
        """Number what is not acked anew, from 1, under a new epoch: this outbox turned out to be a copy of another."""
        with self._lock:
            epoch = max(self.epoch + 1, time.time_ns() // 1_000_000 << 16 | secrets.randbits(16))
            last = self.last - self.acked
            with self._transaction():
                self._db.execute("DELETE FROM frame WHERE number <= ?", (self.acked,))
                self._db.execute("UPDATE frame SET number = number - ?", (self.acked,))
                self._set({"epoch": epoch, "acked": 0, "last": last})
            self.epoch, self.last, self.acked = epoch, last, 0

    def backlog(self) -> int:
        """Frames that the journal does not have yet."""
        return self.last - self.acked

    def close(self) -> None:
        """Write the ack mark and close."""
        with self._lock:
            self._set({"acked": self.acked, "journal_id": self.journal_id})
            self._db.close()


def _unwritable(path: Path, error: sqlite3.Error) -> OutboxError:
    return OutboxError(f"{path}: the outbox cannot be written ({error}); check the card and its free space")


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        db = sqlite3.connect(path, isolation_level=None, timeout=10, check_same_thread=False)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        if version == 0:
            db.executescript(f"BEGIN;\n{_SCHEMA}\nPRAGMA user_version={SCHEMA_VERSION};\nCOMMIT;")
    except sqlite3.DatabaseError as error:
        msg = f"{path}: the outbox cannot be opened ({error}); check the card, its owner and free space"
        raise OutboxError(msg) from error
    if version not in {0, SCHEMA_VERSION}:
        msg = f"{path}: schema version {version}, this agent writes {SCHEMA_VERSION}; install the release that wrote it"
        raise OutboxError(msg)
    return db
