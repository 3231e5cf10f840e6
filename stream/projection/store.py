"""What the projector remembers, in a file of its own (projector.db): cursors, gaps, days to derive, refused lines.

Losing the file costs time, not data: everything is written again from the start.
"""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from metering.intervals import QUARTER_MS
from storage.influx import Refused
from storage.sqlite import Store, open_reader, open_writer, transaction

SCHEMA_VERSION = 2
_SCHEMA = """
CREATE TABLE source(
  name TEXT PRIMARY KEY, origin TEXT NOT NULL, live INTEGER NOT NULL, marked INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE gap(source TEXT NOT NULL, start INTEGER NOT NULL, until INTEGER NOT NULL, PRIMARY KEY(source, until)) WITHOUT ROWID;
CREATE TABLE dirty(quarter_ms INTEGER PRIMARY KEY);
CREATE TABLE day(
  scope_kind TEXT NOT NULL, scope TEXT NOT NULL, start_ms INTEGER NOT NULL, energy INTEGER NOT NULL, present INTEGER NOT NULL,
  points_read INTEGER NOT NULL, estimated INTEGER NOT NULL, last_closed_ms INTEGER,
  PRIMARY KEY(scope_kind, scope, start_ms)) WITHOUT ROWID;
CREATE TABLE month(
  month TEXT NOT NULL, scope_kind TEXT NOT NULL, scope TEXT NOT NULL, revision INTEGER NOT NULL,
  PRIMARY KEY(month, scope_kind, scope)) WITHOUT ROWID;
CREATE TABLE settled(month TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY(month, name)) WITHOUT ROWID;
CREATE TABLE refused(id INTEGER PRIMARY KEY, t_ms INTEGER NOT NULL, reason TEXT NOT NULL, line TEXT NOT NULL);
CREATE TABLE counter(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
_STEPS = {
    1: "ALTER TABLE factor RENAME TO settled; ALTER TABLE settled RENAME COLUMN method TO name;"
    "ALTER TABLE settled RENAME COLUMN factor_id TO value; INSERT OR IGNORE INTO dirty SELECT DISTINCT start_ms FROM day;"
}
"""Older version → what makes the next one. From 1 on: every day is derived again, for what it says of each meter."""
KEPT_REFUSED = 10_000
"""Refused lines kept to be looked at; all are counted."""


class Gap(msgspec.Struct, frozen=True, gc=False):
    """Numbers in `(start, until]` that the live cursor has passed over: the backfill's work."""

    start: int
    until: int


class Position(msgspec.Struct, gc=False):
    """How far one source has been projected: everything up to `live`, except the gaps."""

    name: str
    origin: str
    """Id of the ledger or journal that the numbers belong to."""
    live: int
    marked: int
    """The floor that the serving store itself has been told."""
    gaps: list[Gap]

    @property
    def floor(self) -> int:
        """Everything up to it is projected."""
        return min((gap.start for gap in self.gaps), default=self.live)

    @property
    def missing(self) -> int:
        """Numbers within the gaps."""
        return sum(gap.until - gap.start for gap in self.gaps)


class DayRow(msgspec.Struct, frozen=True, gc=False):
    """A scope's formula over one local day, as derived from the ledger."""

    scope_kind: str
    scope: str
    start_ms: int
    energy: int
    present: int
    """Intervals of the formula's totals that have a row."""
    points_read: int
    estimated: int
    last_closed_ms: int | None
    """Start of the last interval that is closed."""


class ProjectorStore(Store):
    """The one writer; `tanyun influx status` opens it with `writable=False`."""

    def __init__(self, path: Path, *, writable: bool = True) -> None:
        super().__init__(
            open_writer(path, _SCHEMA, SCHEMA_VERSION, _STEPS)
            if writable
            else open_reader(path, SCHEMA_VERSION)
        )

    def position(self, name: str) -> Position | None:
        """Where a source stands; None when it has never been read."""
        row = self._db.execute(
            "SELECT name, origin, live, marked FROM source WHERE name=?", (name,)
        ).fetchone()
        gaps = self._db.execute("SELECT start, until FROM gap WHERE source=? ORDER BY start", (name,))
        return Position(row[0], row[1], row[2], row[3], [Gap(*gap) for gap in gaps]) if row else None

    def save(
        self, position: Position, dirty: Iterable[int] = (), refused: Sequence[Refused] = (), dropped: int = 0
    ) -> None:
        """A position, and what became known on the way there, in one transaction."""
        with transaction(self._db):
            self._write(position)
            self._db.executemany("INSERT OR IGNORE INTO dirty VALUES(?)", [(quarter,) for quarter in dirty])
            self._refuse(refused)
            self._count("dropped", dropped)

    def _write(self, position: Position) -> None:
        values = (position.name, position.origin, position.live, position.marked)
        self._db.execute("INSERT OR REPLACE INTO source VALUES(?,?,?,?)", values)
        self._db.execute("DELETE FROM gap WHERE source=?", (position.name,))
        rows = [(position.name, gap.start, gap.until) for gap in position.gaps]
        self._db.executemany("INSERT INTO gap VALUES(?,?,?)", rows)

    def _refuse(self, refused: Sequence[Refused]) -> None:
        if not refused:
            return
        now_ms = time.time_ns() // 1_000_000
        self._db.executemany(
            "INSERT INTO refused(t_ms, reason, line) VALUES(?,?,?)",
            [(now_ms, item.reason, item.line) for item in refused],
        )
        self._db.execute("DELETE FROM refused WHERE id <= (SELECT max(id) FROM refused) - ?", (KEPT_REFUSED,))
        self._count("refused", len(refused))

    def _count(self, name: str, more: int) -> None:
        if more:
            text = "INSERT INTO counter VALUES(?,?) ON CONFLICT DO UPDATE SET value = value + excluded.value"
            self._db.execute(text, (name, more))

    def count(self, name: str) -> int:
        """`refused` or `dropped` lines since the file was made."""
        row = self._db.execute("SELECT value FROM counter WHERE name=?", (name,)).fetchone()
        return int(row[0]) if row else 0

    def refused(self, limit: int = 10) -> list[Refused]:
        """The newest refused lines."""
        rows = self._db.execute("SELECT line, reason FROM refused ORDER BY id DESC LIMIT ?", (limit,))
        return [Refused(*row) for row in rows]

    def refuse(self, refused: Sequence[Refused]) -> None:
        """Keep refused lines that move no cursor."""
        self._refuse(refused)

    def dirty(self) -> list[int]:
        """Quarters whose derived results are to be made again, in time order."""
        return [row[0] for row in self._db.execute("SELECT quarter_ms FROM dirty ORDER BY 1")]

    def soil(self, start_ms: int, end_ms: int) -> None:
        """Derive everything that was derived for `[start_ms, end_ms)` again."""
        derived = "SELECT 1 FROM day WHERE start_ms >= ? AND start_ms < ?"
        with transaction(self._db):
            if self._db.execute(derived, (start_ms, end_ms)).fetchone():
                quarters = ((quarter,) for quarter in range(start_ms, end_ms, QUARTER_MS))
                self._db.executemany("INSERT OR IGNORE INTO dirty VALUES(?)", quarters)

    def clean(self, quarters: Iterable[int]) -> None:
        """These are derived and stored."""
        with transaction(self._db):
            self._db.executemany("DELETE FROM dirty WHERE quarter_ms=?", [(quarter,) for quarter in quarters])

    def keep_days(self, rows: Iterable[DayRow]) -> None:
        """Replace days."""
        text = "INSERT OR REPLACE INTO day VALUES(?,?,?,?,?,?,?,?)"
        with transaction(self._db):
            self._db.executemany(text, [msgspec.structs.astuple(row) for row in rows])

    def days(self, scope_kind: str, scope: str, start_ms: int, end_ms: int) -> list[DayRow]:
        """The days of a scope in `[start_ms, end_ms)`, in time order."""
        query = "SELECT * FROM day WHERE scope_kind=? AND scope=? AND start_ms >= ? AND start_ms < ? ORDER BY start_ms"
        return [DayRow(*row) for row in self._db.execute(query, (scope_kind, scope, start_ms, end_ms))]

    def months(self) -> dict[tuple[str, str, str], int]:
        """(month, scope kind, scope) → the revision that is projected."""
        rows = self._db.execute("SELECT month, scope_kind, scope, revision FROM month")
        return {(month, kind, scope): revision for month, kind, scope, revision in rows}

    def keep_months(self, revisions: dict[tuple[str, str, str], int]) -> None:
        """These revisions are projected."""
        rows = [(*key, revision) for key, revision in revisions.items()]
        self._db.executemany("INSERT OR REPLACE INTO month VALUES(?,?,?,?)", rows)

    def forget_months(self) -> None:
        """Project all closed months again."""
        self._db.execute("DELETE FROM month")

    def settled(self, month: str, name: str) -> str | None:
        """What a month's results were derived with: by a method's name the id of its factor, empty when there was none; or the formulas.

        None when never derived.
        """
        row = self._db.execute("SELECT value FROM settled WHERE month=? AND name=?", (month, name)).fetchone()
        return str(row[0]) if row else None

    def settle(self, month: str, name: str, value: str) -> None:
        """What a month's results are derived with from now on."""
        self._db.execute("INSERT OR REPLACE INTO settled VALUES(?,?,?)", (month, name, value))
