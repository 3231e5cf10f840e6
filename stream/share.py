"""One worker's share of a rebuild: the totals of its meters in time order, a slice of the journal after the other.

Frames come almost in time order. What was read in the last `HOLD_MS` of a total is held back until the next slice, so a frame
that overtook others by less than that is in its place, and nothing has to be computed twice. What comes later still is
told in the end, and restated like any late reading.
"""

from collections.abc import Iterator

import msgspec
import numpy as np

from metering.intervals import HOUR_MS
from storage.journal import Offset
from storage.ledger import Results
from stream.context import Context, Key
from stream.entries import Entries, by_day, joined
from stream.kernels import columns as c
from stream.rows import closed_rows, open_rows, progress_row, without_factor
from stream.sources.source import Source
from stream.state import State
from stream.step import Heard, checkpoints, days_heard, follow, keep_earliest, outdated_by
from stream.still import to_compute_again

HOLD_MS = HOUR_MS
SLICE = 1 << 20
"""Totals that are put in order at once (ours): some 150 MB of memory, nine hours of 500 meters read every 15 s."""


class Told(msgspec.Struct):
    """What a worker has found: the closed intervals of a slice; or the rest, with its state."""

    results: Results
    state: bytes = b""


class Share:
    """Works through a source once, from the beginning to its end."""

    def __init__(self, source: Source, context: Context, size: int) -> None:
        """`size` totals are a slice."""
        self._source, self._context, self._size = source, context, size
        self._state = State()
        self._heard = Heard(self._state, context)
        self._late: dict[Key, int] = {}
        self._asked: dict[Key, int] = {}
        """Asked for by a meter that froze, or moves again."""

    def told(self, start: Offset) -> Iterator[Told]:
        """Slice after slice, then the rest."""
        cursor = start
        while True:
            records, cursor = self._source.read(cursor)
            if not records:
                break
            self._heard.hear(records, self._context)
            if sum(part.t.size for part in self._heard.parts) >= self._size:
                yield Told(self._account(self._ripe()))
        results = self._account(joined(self._heard.parts))
        yield Told(self._with_rest(results), self._state.snapshot())

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

    def _account(self, entries: Entries) -> Results:
        """Account entries, a day after the other, so that a checkpoint of every day is kept."""
        state, context, results = self._state, self._context, Results()
        rows, channels = [np.zeros((0, c.ROW_COLUMNS), np.int64)], [np.zeros(0, np.int64)]
        for day in by_day(entries):
            before = days_heard(state.arrays)
            found = follow(state, day, context)
            rows.append(found.rows)
            channels.append(found.channels)
            closed = closed_rows(state, found.rows, context)
            results.intervals += closed
            results.events += found.events + without_factor(closed, context)
            results.outdated += outdated_by(found.events)
            results.checkpoints += checkpoints(state, found.channels.tolist(), before, context)
            keep_earliest(self._late, found.late.items())
        seen, known = self._heard.asked()
        of_rows = np.unique(np.concatenate(channels)), np.concatenate(rows)
        again = to_compute_again(state, seen, *of_rows, known, context)
        keep_earliest(self._asked, again)
        return results

    def _with_rest(self, results: Results) -> Results:
        """With what only holds at the end: running intervals, progress, newest readings, and what has to be computed again."""
        state = self._state
        channels = np.flatnonzero(state.arrays[:, c.SEEN]).tolist()
        results.intervals += open_rows(state, channels, self._context)
        results.progress = [progress_row(state, row) for row in channels]
        results.latest = self._heard.newest.rows()
        keep_earliest(results.late, self._late.items())
        keep_earliest(results.late, self._asked.items())
        results.frozen = self._asked.keys() - self._late.keys()
        return results
