"""One worker's share of a rebuild: the totals of its meters in time order, a slice of the journal after the other.

Frames come almost in time order. What was read in the last `HOLD_MS` of a total is held back until the next slice, so a frame
that overtook others by less than that is in its place, and nothing has to be computed twice. What comes later still is
told in the end, and restated like any late reading.
"""

from collections.abc import Iterable, Iterator

import msgspec
import numpy as np

from metering.intervals import HOUR_MS
from storage.journal import Offset
from storage.ledger import FOREVER, ClosedIntervals, LatestRow, Results
from stream.batch import Birth, take_birth
from stream.context import Context, Key
from stream.entries import Entries, by_day, joined
from stream.kernels import columns as c
from stream.rows import closed_columns, columns_without_factor, open_rows, progress_row
from stream.sources.source import Source
from stream.state import State
from stream.step import Heard, checkpoints, days_heard, follow, keep_earliest, outdated_by
from stream.still import to_compute_again

HOLD_MS = HOUR_MS
SLICE = 1 << 20
"""Totals that are put in order at once (ours): some 150 MB of memory, nine hours of 500 meters read every 15 s."""
ROWS = 1 << 16
"""Closed intervals that are told at once, with the point to go on from (ours): so often as to lose seconds of work by a kill, so
seldom that the held totals in the point, an hour of them, cost nothing beside the rows."""
_HELD = np.dtype([("term", "<i8"), ("kind", "i1"), ("t", "<i8"), ("register", "<i8")])


class Point(msgspec.Struct):
    """Everything a worker needs to go on from a place of the journal."""

    cursor: Offset
    state: bytes
    terms: bytes = b""
    held: bytes = b""
    """Totals not accounted yet, counted under `terms`."""
    latest: list[LatestRow] = []
    late: dict[Key, int] = {}
    asked: dict[Key, int] = {}
    begins: dict[Key, int] | None = None
    """Total → time up to which its readings are in the state already, wherever they stand in the journal; others are left out."""


class Told(msgspec.Struct):
    """What a worker has found since it told last, and where it would go on; in the end the rest, which only holds then."""

    worker: int
    closed: list[ClosedIntervals]
    results: Results
    point: bytes
    rest: Results | None = None

    @property
    def state(self) -> bytes:
        """The worker's state."""
        return msgspec.msgpack.decode(self.point, type=Point).state


class Share:
    """Works through a source once, from the beginning, or a point, to its end."""

    def __init__(
        self, source: Source, context: Context, size: int = SLICE, rows: int = ROWS, worker: int = 0
    ) -> None:
        """`size` totals are a slice; it tells after a slice by which there are `rows` or more."""
        self._source, self._context, self._worker = source, context, worker
        self._size, self._rows = size, rows
        self._state = State()
        self._heard = Heard(self._state, context)
        self._late: dict[Key, int] = {}
        self._asked: dict[Key, int] = {}
        """Asked for by a meter that froze, or moves again."""
        self._begins: dict[Key, int] | None = None
        self._closed: list[ClosedIntervals] = []
        self._results = Results()

    def go_on(self, point: Point, births: Iterable[Birth]) -> None:
        """From a point instead of the beginning, given the births before it of the worker's meters."""
        context = self._context
        self._state = State.restore(point.state)
        self._heard = Heard(self._state, context)
        for birth in births:
            take_birth(self._state.aliases, birth, context.park)
        terms = np.frombuffer(point.terms, np.int64).reshape(-1, c.TERM_COLUMNS)
        held = np.frombuffer(point.held, _HELD)
        if held.size:
            term, kind, t, register = (held[name].copy() for name in ("term", "kind", "t", "register"))
            self._heard.parts.append(Entries(term, kind, t, register, terms.copy()))
        self._heard.newest.take_up(point.latest)
        self._late, self._asked, self._begins = dict(point.late), dict(point.asked), point.begins

    def told(self, start: Offset) -> Iterator[Told]:
        """Slice after slice, then the rest."""
        cursor = start
        while True:
            records, cursor = self._source.read(cursor)
            if not records:
                break
            self._heard.hear(records, self._context)
            if sum(part.t.size for part in self._heard.parts) >= self._size:
                self._account(self._ripe())
                if sum(map(len, self._closed)) >= self._rows:
                    yield self._tell(cursor)
        entries, self._heard.parts = joined(self._heard.parts), []
        self._account(entries)
        last = self._tell(cursor)
        last.rest = self._rest()
        yield last

    def _tell(self, cursor: Offset) -> Told:
        told = Told(self._worker, self._closed, self._results, msgspec.msgpack.encode(self._point(cursor)))
        self._closed, self._results = [], Results()
        return told

    def _point(self, cursor: Offset) -> Point:
        entries = joined(self._heard.parts)
        held = np.empty(entries.t.size, _HELD)
        held["term"], held["kind"], held["t"], held["register"] = entries[:4]
        return Point(
            cursor, self._state.snapshot(), entries.terms.tobytes(), held.tobytes(), self._heard.newest.rows(),
            self._late, self._asked, self._begins,
        )  # fmt: skip

    def _ripe(self) -> Entries:
        """Take out what is so old that hardly anything before it can still come."""
        parts = self._heard.parts
        entries = joined(parts)
        newest = np.full(len(self._state.channels), -1, np.int64)
        np.maximum.at(newest, entries.channel, entries.t)
        ripe = entries.t <= newest[entries.channel] - HOLD_MS
        shares = np.split(ripe, np.cumsum([part.t.size for part in parts])[:-1])
        held = [part.taken(np.flatnonzero(~share)) for part, share in zip(parts, shares, strict=True)]
        self._heard.parts = [part for part in held if part.t.size]
        return entries.taken(np.flatnonzero(ripe))

    def _account(self, entries: Entries) -> None:
        """Account entries, a day after the other, so that a checkpoint of every day is kept."""
        state, context, results = self._state, self._context, self._results
        rows, channels = [np.zeros((0, c.ROW_COLUMNS), np.int64)], [np.zeros(0, np.int64)]
        for day in by_day(self._not_known(entries)):
            before = days_heard(state.arrays)
            found = follow(state, day, context)
            rows.append(found.rows)
            channels.append(found.channels)
            closed = closed_columns(state, found.rows, context)
            self._closed.append(closed)
            results.events += found.events + columns_without_factor(closed, context)
            results.outdated += outdated_by(found.events)
            results.checkpoints += checkpoints(state, found.channels.tolist(), before, context)
            keep_earliest(self._late, found.late.items())
        seen, known = self._heard.asked()
        of_rows = np.unique(np.concatenate(channels)), np.concatenate(rows)
        again = to_compute_again(state, seen, *of_rows, known, context)
        keep_earliest(self._asked, again)

    def _not_known(self, entries: Entries) -> Entries:
        """Without those that were in the state from the beginning, or are of no total that was asked for."""
        if self._begins is None:
            return entries
        known = [self._begins.get(channel.key, FOREVER) for channel in self._state.channels]
        return entries.taken(np.flatnonzero(entries.t > np.array(known, np.int64)[entries.channel]))

    def _rest(self) -> Results:
        """What only holds at the end: running intervals, progress, newest readings, and what has to be computed again."""
        state, results = self._state, Results()
        channels = np.flatnonzero(state.arrays[:, c.SEEN]).tolist()
        results.intervals = open_rows(state, channels, self._context)
        results.progress = [progress_row(state, row) for row in channels]
        results.latest = self._heard.newest.rows()
        keep_earliest(results.late, self._late.items())
        keep_earliest(results.late, self._asked.items())
        results.frozen = self._asked.keys() - self._late.keys()
        return results
