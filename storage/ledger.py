"""The ledger: the authoritative results (intervals, emissions, latest readings, events) with the cursor and state that made them.

Written by stream alone. State, rows and cursor are committed together, so a restart resumes exactly.
Every changed row carries the `change_seq` of its commit, which projectors follow.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import msgspec

from storage.journal import Offset
from storage.sqlite import open_reader, open_writer

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE snapshot(
  id INTEGER PRIMARY KEY CHECK(id = 1), journal_id TEXT NOT NULL, segment INTEGER NOT NULL, idx INTEGER NOT NULL,
  change_seq INTEGER NOT NULL, state BLOB NOT NULL);
CREATE TABLE interval(
  meter TEXT NOT NULL, reading_type TEXT NOT NULL, start_ms INTEGER NOT NULL, part INTEGER NOT NULL,
  revision INTEGER NOT NULL, end_ms INTEGER NOT NULL, opening INTEGER NOT NULL, closing INTEGER NOT NULL,
  emission_ug INTEGER, factor_id TEXT, coverage_ms INTEGER NOT NULL, edge_read INTEGER NOT NULL,
  quality INTEGER NOT NULL, closed INTEGER NOT NULL, change_seq INTEGER NOT NULL,
  PRIMARY KEY(meter, reading_type, start_ms, part, revision)) WITHOUT ROWID;
CREATE INDEX interval_change ON interval(change_seq);
CREATE TABLE latest(
  meter TEXT NOT NULL, reading_type TEXT NOT NULL, t_ms INTEGER NOT NULL, value REAL NOT NULL,
  received_ms INTEGER NOT NULL, change_seq INTEGER NOT NULL, PRIMARY KEY(meter, reading_type)) WITHOUT ROWID;
CREATE TABLE progress(
  meter TEXT NOT NULL, reading_type TEXT NOT NULL, t_ms INTEGER NOT NULL, position INTEGER NOT NULL,
  pending INTEGER NOT NULL, change_seq INTEGER NOT NULL, PRIMARY KEY(meter, reading_type)) WITHOUT ROWID;
CREATE TABLE event(
  id INTEGER PRIMARY KEY, t_ms INTEGER NOT NULL, meter TEXT NOT NULL, reading_type TEXT NOT NULL,
  kind TEXT NOT NULL, detail TEXT NOT NULL, change_seq INTEGER NOT NULL);
"""


class IntervalRow(msgspec.Struct, frozen=True, gc=False):
    """One interval of one total of one meter, under one factor. Positions are absolute, in base units (Wh, varh, L, kJ)."""

    meter: str
    reading_type: str
    start_ms: int
    end_ms: int
    part: int
    revision: int
    opening: int
    closing: int
    emission_ug: int | None
    """None when no factor is in force: a missing factor stops the number."""
    factor_id: str | None
    coverage_ms: int
    """Measured time: between reads no further apart than the grid."""
    edge_read: bool
    """A valid read lies within tolerance of the interval's end."""
    quality: int
    closed: bool
    """False: the interval still runs, its figures are provisional."""

    @property
    def energy(self) -> int:
        """Base units that went through the meter in the interval."""
        return self.closing - self.opening


class LatestRow(msgspec.Struct, frozen=True, gc=False):
    """The newest reading of a type, in its base unit, on the primary side."""

    meter: str
    reading_type: str
    t_ms: int
    value: float
    frame_received_ms: int


class ProgressRow(msgspec.Struct, frozen=True, gc=False):
    """How far a total has been accounted: its intervals are final before `t_ms` unless a pending event is open."""

    meter: str
    reading_type: str
    t_ms: int
    position: int
    pending: bool


class NewLedgerEvent(msgspec.Struct, frozen=True, gc=False):
    """An event found by the step, with its evidence."""

    t_ms: int
    meter: str
    reading_type: str
    kind: str
    detail: dict[str, Any]


class EventRow(msgspec.Struct, frozen=True, gc=False):
    """A stored event."""

    id: int
    t_ms: int
    meter: str
    reading_type: str
    kind: str
    detail: dict[str, Any]


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """Where the stream stands: state after everything before `cursor`, of the journal with this id."""

    journal_id: str
    cursor: Offset
    change_seq: int
    state: bytes


class Results(msgspec.Struct, gc=False):
    """What one batch changed."""

    intervals: list[IntervalRow] = []
    latest: list[LatestRow] = []
    progress: list[ProgressRow] = []
    events: list[NewLedgerEvent] = []


class LedgerWriter:
    """The one writer."""

    def __init__(self, path: Path) -> None:
        self._db = open_writer(path, _SCHEMA, SCHEMA_VERSION)

    def snapshot(self) -> Snapshot | None:
        """The last committed snapshot; None in a new ledger."""
        row = self._db.execute("SELECT journal_id, segment, idx, change_seq, state FROM snapshot").fetchone()
        return Snapshot(row[0], Offset(row[1], row[2]), row[3], row[4]) if row else None

    def commit(self, snapshot: Snapshot, results: Results) -> None:
        """State, cursor and results in one transaction. Rows of the same key and revision are replaced."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._write(snapshot, results)
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def _write(self, snapshot: Snapshot, results: Results) -> None:
        seq, cursor = snapshot.change_seq, snapshot.cursor
        self._db.execute(
            "INSERT OR REPLACE INTO snapshot VALUES(1,?,?,?,?,?)",
            (snapshot.journal_id, cursor.segment, cursor.index, seq, snapshot.state),
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO interval VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (_interval_values(row, seq) for row in results.intervals),
        )
        self._db.executemany(
            "INSERT INTO latest VALUES(?,?,?,?,?,?) ON CONFLICT DO UPDATE SET t_ms=excluded.t_ms, value=excluded.value, "
            "received_ms=excluded.received_ms, change_seq=excluded.change_seq WHERE excluded.t_ms >= latest.t_ms",
            ((r.meter, r.reading_type, r.t_ms, r.value, r.frame_received_ms, seq) for r in results.latest),
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO progress VALUES(?,?,?,?,?,?)",
            ((r.meter, r.reading_type, r.t_ms, r.position, r.pending, seq) for r in results.progress),
        )
        self._db.executemany(
            "INSERT INTO event(t_ms, meter, reading_type, kind, detail, change_seq) VALUES(?,?,?,?,?,?)",
            ((e.t_ms, e.meter, e.reading_type, e.kind, json.dumps(e.detail, ensure_ascii=False), seq) for e in results.events),
        )

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _interval_values(r: IntervalRow, seq: int) -> tuple[object, ...]:
    key = (r.meter, r.reading_type, r.start_ms, r.part, r.revision)
    figures = (r.end_ms, r.opening, r.closing, r.emission_ug, r.factor_id)
    return (*key, *figures, r.coverage_ms, r.edge_read, r.quality, r.closed, seq)


class LedgerReader:
    """Reads results while the stream goes on writing."""

    def __init__(self, path: Path) -> None:
        self._db = open_reader(path, SCHEMA_VERSION)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def intervals(self, meter: str, reading_type: str, start_ms: int, end_ms: int) -> list[IntervalRow]:
        """The newest revision of the intervals that start in `[start_ms, end_ms)`, in time order."""
        query = (
            "SELECT meter, reading_type, start_ms, end_ms, part, revision, opening, closing, emission_ug, factor_id, "
            "coverage_ms, edge_read, quality, closed FROM interval "
            "WHERE meter=? AND reading_type=? AND start_ms >= ? AND start_ms < ? ORDER BY start_ms, part, revision"
        )
        rows = self._db.execute(query, (meter, reading_type, start_ms, end_ms))
        newest = {(row[2], row[4]): row for row in rows}
        return [_interval(*row) for row in newest.values()]

    def latest(self) -> list[LatestRow]:
        """The newest reading of every meter and type."""
        query = "SELECT meter, reading_type, t_ms, value, received_ms FROM latest ORDER BY meter, reading_type"
        return [LatestRow(*row) for row in self._db.execute(query)]

    def progress(self) -> list[ProgressRow]:
        """How far every total has been accounted."""
        query = "SELECT meter, reading_type, t_ms, position, pending FROM progress ORDER BY meter, reading_type"
        rows = self._db.execute(query)
        return [ProgressRow(meter, kind, t_ms, position, bool(pending)) for meter, kind, t_ms, position, pending in rows]

    def events(self, after_id: int = 0, limit: int = 100, meter: str | None = None) -> list[EventRow]:
        """Events in the order they were found."""
        query = (
            "SELECT id, t_ms, meter, reading_type, kind, detail FROM event "
            "WHERE id > ? AND (? IS NULL OR meter = ?) ORDER BY id LIMIT ?"
        )
        return list(_events(self._db.execute(query, (after_id, meter, meter, limit))))

    def change_seq(self) -> int:
        """The number of the last commit."""
        row = self._db.execute("SELECT change_seq FROM snapshot").fetchone()
        return int(row[0]) if row else 0


def _interval(*row: Any) -> IntervalRow:
    """A row as selected; SQLite keeps truth values as 0 and 1."""
    return msgspec.convert(dict(zip(IntervalRow.__struct_fields__, row, strict=True)), IntervalRow, strict=False)


def _events(rows: Iterable[tuple[int, int, str, str, str, str]]) -> Iterable[EventRow]:
    for id_, t_ms, meter, reading_type, kind, detail in rows:
        yield EventRow(id_, t_ms, meter, reading_type, kind, json.loads(detail))
