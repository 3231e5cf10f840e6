"""What writes the ledger: stream alone. State, rows and cursor are committed together, so a restart resumes exactly.

Every changed row carries the `change_seq` of its commit, which projectors follow.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby, repeat
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Final

from metering.intervals import QUARTER_MS
from storage.journal import Offset
from storage.ledger import (
    SCHEMA_VERSION,
    ClosedIntervals,
    IntervalRow,
    LatestRow,
    RebuildPoint,
    Results,
    Snapshot,
    detail_text,
    latest_of,
    packed_latest,
)
from storage.sqlite import Store, open_writer, transaction

_LATEST = "CREATE TABLE latest(meter TEXT PRIMARY KEY, readings BLOB NOT NULL, change_seq INTEGER NOT NULL) WITHOUT ROWID"
_SCHEMA = f"""
CREATE TABLE snapshot(
  id INTEGER PRIMARY KEY CHECK(id = 1), journal_id TEXT NOT NULL, segment INTEGER NOT NULL, idx INTEGER NOT NULL,
  change_seq INTEGER NOT NULL, state BLOB NOT NULL);
CREATE TABLE interval(
  meter TEXT NOT NULL, reading_type TEXT NOT NULL, start_ms INTEGER NOT NULL, part INTEGER NOT NULL,
  revision INTEGER NOT NULL, end_ms INTEGER NOT NULL, opening INTEGER NOT NULL, closing INTEGER NOT NULL,
  emission_ug INTEGER, factor_id TEXT, coverage_ms INTEGER NOT NULL, edge_read INTEGER NOT NULL,
  quality INTEGER NOT NULL, closed INTEGER NOT NULL, change_seq INTEGER NOT NULL,
  PRIMARY KEY(meter, reading_type, start_ms, part, revision)) WITHOUT ROWID;
CREATE INDEX interval_restated ON interval(meter, reading_type, end_ms) WHERE revision > 1;
{_LATEST};
CREATE TABLE progress(
  meter TEXT NOT NULL, reading_type TEXT NOT NULL, t_ms INTEGER NOT NULL, position INTEGER NOT NULL,
  pending INTEGER NOT NULL, change_seq INTEGER NOT NULL, PRIMARY KEY(meter, reading_type)) WITHOUT ROWID;
CREATE TABLE event(
  id INTEGER PRIMARY KEY, t_ms INTEGER NOT NULL, meter TEXT NOT NULL, reading_type TEXT NOT NULL,
  kind TEXT NOT NULL, detail TEXT NOT NULL, change_seq INTEGER NOT NULL, noted_ms INTEGER NOT NULL,
  withdrawn INTEGER NOT NULL DEFAULT 0);
CREATE UNIQUE INDEX event_once ON event(meter, reading_type, kind, t_ms, detail) WHERE NOT withdrawn;
CREATE INDEX event_noted ON event(meter, reading_type, noted_ms);
CREATE TABLE checkpoint(
  meter TEXT NOT NULL, reading_type TEXT NOT NULL, heard_ms INTEGER NOT NULL, state BLOB NOT NULL,
  PRIMARY KEY(meter, reading_type, heard_ms)) WITHOUT ROWID;
"""


def _latest_by_meter(db: sqlite3.Connection) -> None:
    """Version 2 had a row for every newest reading."""
    rows = db.execute(
        "SELECT meter, reading_type, t_ms, value, received_ms FROM latest ORDER BY meter"
    ).fetchall()
    db.execute("DROP TABLE latest")
    db.execute(_LATEST)
    for meter, found in groupby(rows, itemgetter(0)):
        packed = packed_latest(LatestRow(*row) for row in found)
        db.execute("INSERT INTO latest VALUES(?,?,0)", (meter, packed))


_STEPS: Final = {2: _latest_by_meter}
_IDENTITY = """
CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO meta VALUES('ledger_id', lower(hex(randomblob(8))));
"""
"""A rebuilt ledger numbers its changes anew: who follows them has to see that it is another one. Older files get it too."""
_POINTS = """
CREATE TABLE IF NOT EXISTS rebuild_point(
  worker INTEGER PRIMARY KEY, workers INTEGER NOT NULL, made_of TEXT NOT NULL, change_seq INTEGER NOT NULL, data BLOB NOT NULL);
"""
"""Empty but while a ledger without a snapshot is being rebuilt. Older files get it too."""
_CHANGES = "CREATE INDEX IF NOT EXISTS interval_change ON interval(change_seq)"
"""Not there while a rebuild fills the ledger: made when all rows are there it takes a quarter of the time."""
_FILLED = "interval", "latest", "progress", "event", "checkpoint", "rebuild_point"
_FILL_CACHE_KB = 65_536


class LedgerWriter(Store):
    """The one writer."""

    def __init__(self, path: Path) -> None:
        super().__init__(open_writer(path, _SCHEMA, SCHEMA_VERSION, _STEPS))
        self._db.executescript(f"BEGIN IMMEDIATE;{_IDENTITY}{_POINTS}COMMIT;")
        query = "SELECT meter, reading_type, max(end_ms) FROM interval WHERE revision > 1 GROUP BY meter, reading_type"
        self._restated = {(meter, kind): end_ms for meter, kind, end_ms in self._db.execute(query)}
        """Total → the end of its last interval with more than one revision."""
        self._indexed = False
        """Whether `_CHANGES` is surely there."""
        if not self.last_fill():
            self._index_changes()

    def snapshot(self) -> Snapshot | None:
        """The last committed snapshot; None in a new ledger."""
        row = self._db.execute("SELECT journal_id, segment, idx, change_seq, state FROM snapshot").fetchone()
        return Snapshot(row[0], Offset(row[1], row[2]), row[3], row[4]) if row else None

    def commit(self, snapshot: Snapshot, results: Results) -> None:
        """State, cursor and results in one transaction. Rows of the same key and revision are replaced. It ends a rebuild."""
        self._index_changes()
        with transaction(self._db):
            self._write(snapshot, results)
            self._db.execute("DELETE FROM rebuild_point")

    @contextmanager
    def filling(self) -> Iterator[None]:
        """While it lasts a commit may be lost with the power, but none before it alone: SQLite syncs before it moves pages.

        Who follows changes has none to follow: nothing counts before a rebuild's last commit, which makes their index again.
        """
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute(f"PRAGMA cache_size=-{_FILL_CACHE_KB}")
        self._db.execute("DROP INDEX IF EXISTS interval_change")
        self._indexed = False
        try:
            yield
        finally:
            self._db.execute("PRAGMA synchronous=FULL")

    def fill(
        self, closed: Iterable[ClosedIntervals], results: Results, point: RebuildPoint, made_of: str
    ) -> None:
        """What a worker found, and where it goes on, in a ledger without a snapshot: until it has one, nothing in it is final.

        `made_of` names journal, registry and factors: with others nobody goes on from here.
        """
        with transaction(self._db):
            found = self._db.execute("SELECT coalesce(max(change_seq), 0) + 1 FROM rebuild_point").fetchone()
            seq = int(found[0])
            for part in closed:
                self._db.executemany(
                    "INSERT INTO interval VALUES(?,?,?,0,1,?,?,?,?,?,?,?,?,1,?)", _closed_values(part, seq)
                )
            self._write_results(results, seq)
            row = point.worker, point.workers, made_of, seq, point.data
            self._db.execute("INSERT OR REPLACE INTO rebuild_point VALUES(?,?,?,?,?)", row)

    def rebuild_points(self, made_of: str) -> list[RebuildPoint]:
        """Where the workers of a rebuild that was broken off go on; none if there was none, or not of the same."""
        query = "SELECT worker, workers, data FROM rebuild_point WHERE made_of=? ORDER BY worker"
        return [RebuildPoint(*row) for row in self._db.execute(query, (made_of,))]

    def last_fill(self) -> int:
        """The number of the last commit of a rebuild; 0 for none."""
        return int(self._db.execute("SELECT coalesce(max(change_seq), 0) FROM rebuild_point").fetchone()[0])

    def clear(self) -> None:
        """Drop what was filled in by a rebuild that did not come to its end, if there is anything."""
        if not self.last_fill():
            return
        with transaction(self._db):
            for table in _FILLED:
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608  our own names
        self._restated.clear()
        self._index_changes()

    def _index_changes(self) -> None:
        if not self._indexed:
            self._db.execute(_CHANGES)
            self._indexed = True

    def _write(self, snapshot: Snapshot, results: Results) -> None:
        cursor = snapshot.cursor
        self._db.execute(
            "INSERT OR REPLACE INTO snapshot VALUES(1,?,?,?,?,?)",
            (snapshot.journal_id, cursor.segment, cursor.index, snapshot.change_seq, snapshot.state),
        )
        self._write_results(results, snapshot.change_seq)

    def _write_results(self, results: Results, seq: int) -> None:
        self._db.executemany(
            "INSERT OR REPLACE INTO interval VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (_interval_values(row, self._revision(row), seq) for row in results.intervals),
        )
        self._write_latest(results.latest, seq)
        self._db.executemany(
            "INSERT OR REPLACE INTO progress VALUES(?,?,?,?,?,?)",
            ((r.meter, r.reading_type, r.t_ms, r.position, r.pending, seq) for r in results.progress),
        )
        self._write_events(results, seq)
        self._db.executemany(
            "DELETE FROM checkpoint WHERE meter=? AND reading_type=? AND heard_ms >= ?", results.outdated
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO checkpoint VALUES(?,?,?,?)",
            ((r.meter, r.reading_type, r.heard_ms, r.state) for r in results.checkpoints),
        )

    def _write_latest(self, rows: Iterable[LatestRow], seq: int) -> None:
        """Of two readings with the same time the later one counts; none takes the place of a newer one."""
        for meter, found in groupby(rows, attrgetter("meter")):
            known = self._latest_of(meter)
            for row in found:
                before = known.get(row.reading_type)
                if before is None or row.t_ms >= before.t_ms:
                    known[row.reading_type] = row
            value = meter, packed_latest(known.values()), seq
            self._db.execute("INSERT OR REPLACE INTO latest VALUES(?,?,?)", value)

    def _latest_of(self, meter: str) -> dict[str, LatestRow]:
        row = self._db.execute("SELECT readings FROM latest WHERE meter=?", (meter,)).fetchone()
        return {row.reading_type: row for row in latest_of(row[0])} if row else {}

    def _write_events(self, results: Results, seq: int) -> None:
        self._db.executemany(
            "UPDATE event SET withdrawn = 1, change_seq = ? WHERE id = ?",
            [(seq, id_) for id_ in results.withdrawn],
        )
        self._db.executemany(
            "INSERT INTO event(t_ms, meter, reading_type, kind, detail, change_seq, noted_ms) VALUES(?,?,?,?,?,?,?) "
            "ON CONFLICT DO NOTHING",
            (
                (e.t_ms, e.meter, e.reading_type, e.kind, detail_text(e.detail), seq, e.noted_ms)
                for e in results.events
            ),
        )

    def _revision(self, row: IntervalRow) -> int:
        """A first revision of an interval that was restated takes the place of the newest one."""
        key = (row.meter, row.reading_type)
        if row.revision > 1:
            self._restated[key] = max(row.end_ms, self._restated.get(key, 0))
        elif row.start_ms < self._restated.get(key, 0):
            query = "SELECT max(revision) FROM interval WHERE meter=? AND reading_type=? AND start_ms=? AND part=?"
            found = self._db.execute(query, (*key, row.start_ms, row.part)).fetchone()[0]
            return int(found or 1)
        return row.revision


def _interval_values(r: IntervalRow, revision: int, seq: int) -> tuple[object, ...]:
    key = (r.meter, r.reading_type, r.start_ms, r.part, revision)
    figures = (r.end_ms, r.opening, r.closing, r.emission_ug, r.factor_id)
    return (*key, *figures, r.coverage_ms, r.edge_read, r.quality, r.closed, seq)


def _closed_values(c: ClosedIntervals, seq: int) -> Iterable[tuple[object, ...]]:
    names = [c.keys[key] for key in c.key]
    return zip(
        [meter for meter, _type in names], [reading_type for _meter, reading_type in names], c.start_ms,
        [start + QUARTER_MS for start in c.start_ms], c.opening, c.closing, c.emission_ug,
        map(c.factor_ids.__getitem__, c.factor), c.coverage_ms, c.edge_read, c.quality, repeat(seq), strict=False,
    )  # fmt: skip
