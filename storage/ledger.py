"""The ledger: the authoritative results (intervals, emissions, latest readings, events). `storage.ledger_writer` writes it."""

import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from metering.intervals import QUARTER_MS
from metering.quality import Quality
from storage.journal import Offset
from storage.sqlite import Store, open_reader

SCHEMA_VERSION = 3
OLDEST_VERSION = 2
"""That its writer brings forward. An older ledger is made again from the journal."""
FOREVER = 1 << 62
"""After every commit."""
_QUARTER = f"""
r.start_ms - r.start_ms % {QUARTER_MS} AS quarter, sum(r.closing - r.opening),
CASE WHEN count(*) = count(r.emission_ug) THEN sum(r.emission_ug) END, sum(r.coverage_ms),
sum(CASE WHEN r.quality >= {int(Quality.ESTIMATED)} THEN r.closing - r.opening ELSE 0 END),
max(r.end_ms * 2 + r.edge_read) & 1, max(r.quality), max(r.revision), min(r.closed)"""
CELLS = ("start_ms", "part", "end_ms", "opening", "closing", "edge_read", "quality", "closed")
"""Of an interval, what summing it up needs."""
_NEWEST = """NOT EXISTS(SELECT 1 FROM interval n WHERE n.meter = r.meter AND n.reading_type = r.reading_type
AND n.start_ms = r.start_ms AND n.part = r.part AND n.revision > r.revision)"""


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


class QuarterRow(msgspec.Struct, frozen=True, gc=False):
    """All parts of one 15-minute interval of one total together, newest revisions. Truth values are 0 and 1."""

    meter: str
    reading_type: str
    start_ms: int
    energy: int
    emission_ug: int | None
    coverage_ms: int
    estimated: int
    """Energy of the parts whose shape is estimated or in question."""
    edge_read: int
    """Of the last part."""
    quality: int
    revision: int
    closed: int


class EventGroup(msgspec.Struct, frozen=True, gc=False):
    """All events of one kind of one meter at one time; `detail` is that of the newest, as JSON."""

    last_id: int
    meter: str
    kind: str
    t_ms: int
    count: int
    detail: str


class LatestRow(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The newest reading of a type, in its base unit, on the primary side."""

    meter: str
    reading_type: str
    t_ms: int
    value: float
    received_ms: int


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
    noted_ms: int = 0
    """Time of the reading that made it known."""


class CheckpointRow(msgspec.Struct, frozen=True, gc=False):
    """A total's state after every reading up to `heard_ms`: a restatement computes on from there."""

    meter: str
    reading_type: str
    heard_ms: int
    state: bytes


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
    checkpoints: list[CheckpointRow] = []
    withdrawn: list[int] = []
    """Ids of events that a restatement no longer finds."""
    outdated: list[tuple[str, str, int]] = []
    """Checkpoints of a total from this time on hold no longer."""
    late: dict[tuple[str, str], int] = {}
    """Totals to be computed again, from before this time. Not stored."""
    frozen: set[tuple[str, str]] = set()
    """Those of them that only a meter that froze, or moves again, asks for. Not stored."""


class ClosedIntervals(msgspec.Struct, gc=False):
    """Closed intervals of 15 minutes, one part each, in their first revision, by column: a rebuild makes millions."""

    keys: list[tuple[str, str]] = []
    """Meter and reading type, by number."""
    factor_ids: list[str | None] = []
    """By number."""
    key: list[int] = []
    start_ms: list[int] = []
    opening: list[int] = []
    closing: list[int] = []
    emission_ug: list[int | None] = []
    factor: list[int] = []
    coverage_ms: list[int] = []
    edge_read: list[int] = []
    quality: list[int] = []

    def __len__(self) -> int:
        return len(self.key)


class RebuildPoint(NamedTuple):
    """Where a worker of a rebuild goes on, had it to begin again: its results up to there are stored."""

    worker: int
    workers: int
    data: bytes


def joined_results(*parts: Results) -> Results:
    """What several batches of different totals changed."""
    joined = Results()
    for part in parts:
        for name in ("intervals", "latest", "progress", "events", "checkpoints", "withdrawn", "outdated"):
            getattr(joined, name).extend(getattr(part, name))
        joined.late |= part.late
        joined.frozen |= part.frozen
    return joined


def packed_latest(rows: Iterable[LatestRow]) -> bytes:
    """The newest readings of one meter, as stored: they change together, and one row is written in a tenth of the time of twenty."""
    return msgspec.msgpack.encode(sorted(rows, key=lambda row: row.reading_type))


def latest_of(readings: bytes) -> list[LatestRow]:
    """The same read back, by reading type."""
    return msgspec.msgpack.decode(readings, type=list[LatestRow])


def detail_text(detail: dict[str, Any]) -> str:
    """An event's evidence as stored."""
    return json.dumps(detail, ensure_ascii=False)


class LedgerReader(Store):
    """Reads results while the stream goes on writing."""

    def __init__(self, path: Path) -> None:
        super().__init__(open_reader(path, SCHEMA_VERSION))

    def intervals(
        self, meter: str, reading_type: str, start_ms: int, end_ms: int, until_seq: int = FOREVER
    ) -> list[IntervalRow]:
        """The newest revision of the intervals that start in `[start_ms, end_ms)`, in time order.

        With `until_seq` those that were the newest after that commit; an interval that ran then is not there any more.
        """
        rows = self.revisions(meter, reading_type, start_ms, end_ms, until_seq)
        return list({(row.start_ms, row.part): row for row in rows}.values())

    def cells(self, meter: str, reading_type: str, start_ms: int, end_ms: int) -> Iterable[tuple[int, ...]]:
        """The same as `revisions`, as bare integers in the order of `CELLS`: a closed month reads millions."""
        query = (
            f"SELECT {', '.join(CELLS)} FROM interval WHERE meter=? AND reading_type=? "  # noqa: S608  our own columns
            "AND start_ms >= ? AND start_ms < ? ORDER BY start_ms, part, revision"
        )
        return self._db.execute(query, (meter, reading_type, start_ms, end_ms))

    def first_interval(self, meter: str, reading_type: str, start_ms: int, end_ms: int) -> IntervalRow | None:
        """The newest revision of the first interval that starts in `[start_ms, end_ms)`."""
        query = "SELECT min(start_ms) FROM interval WHERE meter=? AND reading_type=? AND start_ms>=? AND start_ms<?"
        (first,) = self._db.execute(query, (meter, reading_type, start_ms, end_ms)).fetchone()
        return None if first is None else self.intervals(meter, reading_type, first, first + 1)[0]

    def latest(self) -> list[LatestRow]:
        """The newest reading of every meter and type."""
        found = self._db.execute("SELECT readings FROM latest ORDER BY meter")
        return [row for (readings,) in found for row in latest_of(readings)]

    def progress(self) -> list[ProgressRow]:
        """How far every total has been accounted."""
        query = (
            "SELECT meter, reading_type, t_ms, position, pending FROM progress ORDER BY meter, reading_type"
        )
        rows = self._db.execute(query)
        return [
            ProgressRow(meter, kind, t_ms, position, bool(pending))
            for meter, kind, t_ms, position, pending in rows
        ]

    def events(self, after_id: int = 0, limit: int = 100, meter: str | None = None) -> list[EventRow]:
        """Events in the order they were found."""
        query = (
            "SELECT id, t_ms, meter, reading_type, kind, detail FROM event "
            "WHERE id > ? AND NOT withdrawn AND (? IS NULL OR meter = ?) ORDER BY id LIMIT ?"
        )
        return list(_events(self._db.execute(query, (after_id, meter, meter, limit))))

    def events_of(self, kinds: Collection[str]) -> Iterable[EventRow]:
        """All events of some kinds, in the order they were found."""
        query = (
            "SELECT id, t_ms, meter, reading_type, kind, detail FROM event "
            "WHERE kind IN (SELECT value FROM json_each(?)) AND NOT withdrawn ORDER BY id"
        )
        return _events(self._db.execute(query, (json.dumps(sorted(kinds)),)))

    def events_as_of(self, kinds: Collection[str], until_seq: int, last_id: int) -> Iterable[EventRow]:
        """The same as it was after a commit, when `last_id` was the newest event: what was withdrawn since is there."""
        query = (
            "SELECT id, t_ms, meter, reading_type, kind, detail FROM event "
            "WHERE kind IN (SELECT value FROM json_each(?)) AND id <= ? AND (NOT withdrawn OR change_seq > ?) ORDER BY id"
        )
        return _events(self._db.execute(query, (json.dumps(sorted(kinds)), last_id, until_seq)))

    def events_noted_after(self, meter: str, reading_type: str, noted_ms: int) -> list[EventRow]:
        """The events of a total that readings after a time made known."""
        query = (
            "SELECT id, t_ms, meter, reading_type, kind, detail FROM event "
            "WHERE meter=? AND reading_type=? AND noted_ms > ? AND NOT withdrawn ORDER BY id"
        )
        return list(_events(self._db.execute(query, (meter, reading_type, noted_ms))))

    def checkpoint(self, meter: str, reading_type: str, before_ms: int) -> CheckpointRow | None:
        """The last state of a total kept before a time."""
        query = (
            "SELECT meter, reading_type, heard_ms, state FROM checkpoint "
            "WHERE meter=? AND reading_type=? AND heard_ms < ? ORDER BY heard_ms DESC LIMIT 1"
        )
        row = self._db.execute(query, (meter, reading_type, before_ms)).fetchone()
        return CheckpointRow(*row) if row else None

    def checkpoints(self, meter: str, reading_type: str) -> list[CheckpointRow]:
        """Every state of a total that is kept, in time order."""
        query = "SELECT meter, reading_type, heard_ms, state FROM checkpoint WHERE meter=? AND reading_type=? ORDER BY heard_ms"
        return [CheckpointRow(*row) for row in self._db.execute(query, (meter, reading_type))]

    def revisions(
        self, meter: str, reading_type: str, start_ms: int, end_ms: int, until_seq: int = FOREVER
    ) -> list[IntervalRow]:
        """Every revision of the intervals that start in `[start_ms, end_ms)`, in time order, the newest last."""
        query = (
            "SELECT meter, reading_type, start_ms, end_ms, part, revision, opening, closing, emission_ug, factor_id, "
            "coverage_ms, edge_read, quality, closed FROM interval "
            "WHERE meter=? AND reading_type=? AND start_ms >= ? AND start_ms < ? AND change_seq <= ? "
            "ORDER BY start_ms, part, revision"
        )
        values = (meter, reading_type, start_ms, end_ms, until_seq)
        return [_interval(*row) for row in self._db.execute(query, values)]

    def change_seq(self) -> int:
        """The number of the last commit."""
        row = self._db.execute("SELECT change_seq FROM snapshot").fetchone()
        return int(row[0]) if row else 0

    def ledger_id(self) -> str:
        """Which ledger this is; empty for a file of an older release that no stream has opened since."""
        if self._db.execute("SELECT 1 FROM sqlite_master WHERE name='meta'").fetchone() is None:
            return ""
        row = self._db.execute("SELECT value FROM meta WHERE key='ledger_id'").fetchone()
        return str(row[0]) if row else ""

    def cursor(self) -> Offset | None:
        """Everything of the journal before it is in the ledger; None in a new one."""
        row = self._db.execute("SELECT segment, idx FROM snapshot").fetchone()
        return Offset(*row) if row else None

    def changes_end(self, after_seq: int, until_seq: int, limit: int) -> int:
        """The commit up to which about `limit` changed intervals lie; whole commits, at least one."""
        query = "SELECT change_seq FROM interval WHERE change_seq > ? AND change_seq <= ? ORDER BY change_seq LIMIT 1 OFFSET ?"
        row = self._db.execute(query, (after_seq, until_seq, limit)).fetchone()
        return max(row[0] - 1, after_seq + 1) if row else until_seq

    def changed_quarters(self, after_seq: int, until_seq: int) -> list[QuarterRow]:
        """The 15-minute intervals that the commits in `(after_seq, until_seq]` changed, as they are now."""
        query = (
            f"SELECT r.meter, r.reading_type, {_QUARTER} FROM (SELECT DISTINCT meter, reading_type, "  # noqa: S608  our own constants
            f"start_ms - start_ms % {QUARTER_MS} AS q FROM interval WHERE change_seq > ? AND change_seq <= ?) c "
            "CROSS JOIN interval r ON r.meter = c.meter AND r.reading_type = c.reading_type "
            f"AND r.start_ms >= c.q AND r.start_ms < c.q + {QUARTER_MS} WHERE {_NEWEST} GROUP BY r.meter, r.reading_type, quarter"
        )
        return [QuarterRow(*row) for row in self._db.execute(query, (after_seq, until_seq))]

    def quarters(self, meter: str, reading_type: str, start_ms: int, end_ms: int) -> list[QuarterRow]:
        """The 15-minute intervals of a total that start in `[start_ms, end_ms)`, in time order."""
        query = (
            f"SELECT r.meter, r.reading_type, {_QUARTER} FROM interval r WHERE r.meter = ? AND r.reading_type = ? "  # noqa: S608  our own constants
            f"AND r.start_ms >= ? AND r.start_ms < ? AND {_NEWEST} GROUP BY quarter ORDER BY quarter"
        )
        return [QuarterRow(*row) for row in self._db.execute(query, (meter, reading_type, start_ms, end_ms))]

    def first_start(self, meter: str, reading_type: str) -> int | None:
        """Start of the first interval of a total; None when it has none."""
        query = "SELECT min(start_ms) FROM interval WHERE meter = ? AND reading_type = ?"
        found: int | None = self._db.execute(query, (meter, reading_type)).fetchone()[0]
        return found

    def last_event(self) -> int:
        """Id of the newest event, 0 when there is none."""
        return int(self._db.execute("SELECT coalesce(max(id), 0) FROM event").fetchone()[0])

    def event_groups(self, after_id: int, until_id: int) -> list[EventGroup]:
        """The groups that the events with ids in `(after_id, until_id]` belong to, counted as they are now."""
        query = (
            "SELECT max(id), meter, kind, t_ms, count(*), detail FROM event WHERE (meter, kind, t_ms) IN "
            "(SELECT meter, kind, t_ms FROM event WHERE id > ? AND id <= ?) AND NOT withdrawn GROUP BY meter, kind, t_ms ORDER BY 1"
        )
        return [EventGroup(*row) for row in self._db.execute(query, (after_id, until_id))]


def _interval(*row: Any) -> IntervalRow:
    """A row as selected; SQLite keeps truth values as 0 and 1. A closed month reads millions: this is 4 times msgspec.convert."""
    cells = [*row]
    cells[-3], cells[-1] = bool(cells[-3]), bool(cells[-1])
    return IntervalRow(*cells)


def _events(rows: Iterable[tuple[int, int, str, str, str, str]]) -> Iterable[EventRow]:
    for id_, t_ms, meter, reading_type, kind, detail in rows:
        yield EventRow(id_, t_ms, meter, reading_type, kind, json.loads(detail))
