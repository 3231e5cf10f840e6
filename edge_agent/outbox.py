"""The outbox: the gateway's durable queue. A frame is on disk before anyone tries to send it, and stays after it is acked.

Numbers run from 1 without holes within an epoch. An ack marks sent; it frees nothing. What goes when the ring is full, and
in which order, is in `ring.py`; what waits for the time to be known, in `held.py`.
"""

import secrets
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from edge_agent.outbox_schema import SCHEMA_VERSION, OutboxError, open_outbox, unwritable
from edge_agent.ring import Evicted, make_room
from storage.sqlite import transaction

__all__ = ["SCHEMA_VERSION", "Draft", "Frame", "Held", "Outbox", "OutboxError"]
_NOTES = ("traffic_month", "traffic_bytes", "seen_ms")
_LOWER_BELIEVED = 3
"""So many lower acks in a row are no stray of an older session (ours)."""
_YEAR_MS = 366 * 86_400_000
_INSERT = "INSERT INTO frame(number, declaration, t_ms, body, keep) VALUES(?,?,?,?,?)"


class Draft(msgspec.Struct, frozen=True, gc=False):
    """Readings of one meter, encoded, before they have a number."""

    declaration: int
    """What they decode with."""
    t_ms: int
    body: bytes
    keep: bool = True
    """False for what goes first when the ring is full: live readings, and totals between the quarter hours."""


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A numbered frame."""

    number: int
    declaration: int
    t_ms: int
    body: bytes
    keep: bool = True


class Held(msgspec.Struct, frozen=True, gc=False):
    """A draft that waits for the time: its stamps are ms since the boot it was read in."""

    id: int
    boot: str
    draft: Draft


class Outbox:
    """One gateway's outbox. Calls may come from several threads; each is one short transaction."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path, self._max_bytes = path, max_bytes
        self._lock = threading.Lock()
        self._db = open_outbox(path)
        self.epoch = self._meta("epoch") or self._first_epoch()
        self.acked = self._meta("acked")
        """Everything up to here is in the journal."""
        self._lower = 0
        """Acks in a row that said less than `acked`, of the same journal."""
        self.journal_id = str(self._meta("journal_id") or "")
        self.polled_ms: int | None = self._meta("polled_ms") or None
        """Time of the newest poll whose frames are here."""
        self.evicted = Evicted(*(self._meta(name) for name in Evicted.__struct_fields__))
        self.notes: dict[str, int] = {name: self._meta(name) for name in _NOTES}
        """What reaches the disk with the next poll: losing it costs little, syncing it by itself would wear the card."""
        self.held: int = self._db.execute("SELECT count(*) FROM held").fetchone()[0]
        """Drafts that wait for the time."""
        last = self._db.execute("SELECT max(number) FROM frame").fetchone()[0]
        self.last = max(last or 0, self._meta("last"), self.acked)
        """Highest number given."""

    @property
    def lost(self) -> int:
        """Frames given up before the server had them."""
        return self.evicted.lost

    @property
    def thinned(self) -> int:
        """Live readings given up so that the totals of every quarter hour stay."""
        return self.evicted.thinned

    def _meta(self, key: str) -> int:
        row = self._db.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
        return row[0] if row else 0

    def _first_epoch(self) -> int:
        """Epochs grow with time and end in a random part, so that two outboxes never share one."""
        epoch = time.time_ns() // 1_000_000 << 16 | secrets.randbits(16)
        self._set({"epoch": epoch})
        return epoch

    def date_epoch(self, utc_ms: int) -> None:
        """An epoch that was named when nobody knew the time is named again, while it has no frame yet."""
        if not self.last and self.epoch >> 16 < utc_ms - _YEAR_MS:
            epoch = utc_ms << 16 | secrets.randbits(16)
            self._set({"epoch": epoch})
            self.epoch = epoch

    def _set(self, values: Mapping[str, object]) -> None:
        self._db.executemany("INSERT OR REPLACE INTO meta VALUES(?,?)", list(values.items()))

    def append(self, drafts: Iterable[Draft], polled_ms: int) -> None:
        """Number and store a poll's frames: all of them or none, synced to disk when this returns."""
        with self._lock:
            rows = self._numbered(drafts)
            with self._transaction():
                self._write(rows, polled_ms)
            self._took(len(rows), polled_ms)

    def hold(self, boot: str, drafts: Iterable[Draft]) -> None:
        """Store drafts whose time is not known yet, stamped in ms since this boot; synced to disk when this returns."""
        with self._lock:
            rows = [(boot, d.declaration, d.t_ms, d.body, d.keep) for d in drafts]
            with self._transaction():
                self._db.executemany(
                    "INSERT INTO held(boot, declaration, t_ms, body, keep) VALUES(?,?,?,?,?)", rows
                )
                self._make_room()
            self.held = self._db.execute("SELECT count(*) FROM held").fetchone()[0]

    def held_after(self, id_: int, limit: int) -> list[Held]:
        """The next drafts that wait, in the order they were read."""
        query = "SELECT id, boot, declaration, t_ms, body, keep FROM held WHERE id > ? ORDER BY id LIMIT ?"
        with self._lock:
            rows = self._db.execute(query, (id_, limit)).fetchall()
        return [
            Held(i, boot, Draft(declaration, t_ms, body, bool(keep)))
            for i, boot, declaration, t_ms, body, keep in rows
        ]

    def held_boots(self) -> list[tuple[str, int]]:
        """Boots that drafts wait of, the newest first, each with the newest of its stamps."""
        query = "SELECT boot, max(t_ms) FROM held GROUP BY boot ORDER BY max(id) DESC"
        with self._lock:
            return self._db.execute(query).fetchall()

    def release(self, up_to: int, drafts: Iterable[Draft]) -> None:
        """Number what waited, now that its time is known: `drafts` take the place of all that waits up to an id."""
        with self._lock:
            rows = self._numbered(drafts)
            with self._transaction():
                self._db.execute("DELETE FROM held WHERE id <= ?", (up_to,))
                self._write(rows, self.polled_ms or 0)
            self._took(len(rows), self.polled_ms or 0)
            self.held = self._db.execute("SELECT count(*) FROM held").fetchone()[0]

    def _numbered(self, drafts: Iterable[Draft]) -> list[tuple[int, int, int, bytes, bool]]:
        first = self.last + 1
        return [(first + i, d.declaration, d.t_ms, d.body, d.keep) for i, d in enumerate(drafts)]

    def _write(self, rows: list[tuple[int, int, int, bytes, bool]], polled_ms: int) -> None:
        self._db.executemany(_INSERT, rows)
        self._make_room()
        self._set({**self._marks(), "polled_ms": polled_ms, "last": self.last + len(rows)})

    def _took(self, count: int, polled_ms: int) -> None:
        self.last, self.polled_ms = self.last + count, polled_ms or None

    def _marks(self) -> dict[str, object]:
        """What is in memory between polls."""
        evicted = msgspec.structs.asdict(self.evicted)
        return {"acked": self.acked, "journal_id": self.journal_id, **self.notes, **evicted}

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing; OutboxError when the disk takes no more."""
        before = msgspec.structs.replace(self.evicted)
        try:
            with transaction(self._db):
                yield
        except BaseException as error:
            self.evicted = before
            if isinstance(error, sqlite3.OperationalError):
                raise unwritable(self._path, error) from error
            raise

    def _make_room(self) -> None:
        make_room(self._db, self._path, self._max_bytes, self.acked, self.evicted)

    def after(self, number: int, limit: int) -> tuple[list[Frame], int]:
        """The next frames behind a number, and up to where that is all there is.

        Between them, and between the last of them and that number, there may be holes: what is not here any more.
        """
        query = (
            "SELECT number, declaration, t_ms, body, keep FROM frame WHERE number > ? ORDER BY number LIMIT ?"
        )
        with self._lock:
            found = [Frame(*row) for row in self._db.execute(query, (number, limit))]
            return found, found[-1].number if len(found) == limit else self.last

    def number_at(self, t_ms: int) -> int:
        """The first number that a frame of this time or later bears; one more than the last when there is none."""
        query = "SELECT number FROM frame WHERE t_ms >= ? ORDER BY number LIMIT 1"
        with self._lock:
            row = self._db.execute(query, (t_ms,)).fetchone()
            return int(row[0]) if row else self.last + 1

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
            known = self._db.execute("SELECT value FROM meta WHERE key='bdseq'").fetchone()
            # The first one is 0 (tck-id-topics-nbirth-bdseq-increment).
            value = 0 if known is None else (int(known[0]) + 1) % 256
            with self._transaction():
                self._set({"bdseq": value})
            return value

    def alias(self, meter: str, name: str, declaration: str) -> int:
        """The alias of a metric as declared, given once for ever. Another declaration of the same name takes a new one."""
        with self._lock:
            key = (meter, name, declaration)
            query = "SELECT alias FROM alias WHERE meter=? AND name=? AND declaration=?"
            row = self._db.execute(query, key).fetchone()
            if row is None:
                self._db.execute("INSERT INTO alias(meter, name, declaration) VALUES(?,?,?)", key)
                row = self._db.execute(query, key).fetchone()
            return int(row[0])

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
            last, acked = self.last - self.acked, self.acked
            with self._transaction():
                self._db.execute("DELETE FROM frame WHERE number <= ?", (acked,))
                self._db.execute("UPDATE frame SET number = number - ?", (acked,))
                self.evicted.thinned_to = max(0, self.evicted.thinned_to - acked)
                self.evicted.lost_to = max(0, self.evicted.lost_to - acked)
                self._set({**self._marks(), "epoch": epoch, "acked": 0, "last": last})
            self.epoch, self.last, self.acked = epoch, last, 0

    def remember(self, meter: str, text: str) -> None:
        """Keep what was learned of a meter, instead of what was kept before; synced to disk when this returns."""
        with self._lock, self._transaction():
            self._set({f"learned {meter}": text})

    def remembered(self, meter: str) -> str:
        """What was learned of a meter; empty when nothing was, or when it cannot be read: it can be learned again."""
        with self._lock:
            try:
                return str(self._meta(f"learned {meter}") or "")
            except sqlite3.DatabaseError:
                return ""

    def backlog(self) -> int:
        """Frames that the journal does not have yet."""
        return self.last - self.acked

    def abandon(self) -> None:
        """Close without writing: the agent, which may be running, knows better."""
        with self._lock:
            self._db.close()

    def close(self) -> None:
        """Write what is in memory and close."""
        with self._lock:
            self._set(self._marks())
            self._db.close()
