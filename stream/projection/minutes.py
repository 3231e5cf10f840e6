"""Intervals of one minute: how much is the ledger's, when within a quarter of an hour is the readings'.

The positions of a closed interval's two edges are fixed points; between them lie the readings that fit, and an edge of a minute is
interpolated between its neighbours as the step does it (`stream.kernels.accumulate`). So the minutes of a quarter add up to it to
the base unit, whatever the step has judged, restated or estimated; without readings that fit they only say that they are estimated.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from metering.intervals import HOUR_MS, MINUTE_MS, QUARTER_MS
from metering.reading_types import INTEGRATED
from metering.registry import Park
from storage.influx import RETENTIONS
from storage.journal import JournalReader
from storage.ledger import IntervalRow, LedgerReader, QuarterRow
from storage.shifts import NO_SHIFTS, all_shifts
from stream.batch import Aliases, Birth, Data, readings, runs, take_birth
from stream.context import Registry
from stream.entries import totals
from stream.kernels.accumulate import EDGE_TOLERANCE_MS
from stream.projection.schema import Tags
from stream.projection.sources import Chunk
from stream.state import State

CHUNK_ROWS = 4_000
"""Quarters per step."""
MEASURED_MS = MINUTE_MS + EDGE_TOLERANCE_MS
"""Reads further apart than this leave the shape of the minutes between them estimated: the step's rule on a grid of a minute."""
_MARGIN_MS = 2 * HOUR_MS
Read = tuple[int, int]
"""(UTC ms, position in base units)."""
Key = tuple[str, str]


class Minute(NamedTuple):
    """What went through a meter in a minute, or in the part of it that is known."""

    start_ms: int
    energy: int
    emission_ug: int | None
    estimated: int


def minutes(part: IntervalRow, until_ms: int, reads: Sequence[Read]) -> Iterator[Minute]:
    """An interval cut at full minutes, up to `until_ms`, where its closing position holds.

    `reads` are in time order and may reach beyond it.
    """
    knots = [(part.start_ms, part.opening), *_fitting(part, until_ms, reads), (until_ms, part.closing)]
    rough = list(_rough(t for t, _ in reads))
    start, at_start, place = part.start_ms, part.opening, 1
    while start < until_ms:
        end = min(start - start % MINUTE_MS + MINUTE_MS, until_ms)
        while knots[place][0] < end:
            place += 1
        (t0, p0), (t1, p1) = knots[place - 1 : place + 1]
        at_end = p0 + (p1 - p0) * (end - t0) // (t1 - t0)
        estimated = any(a < end and start < b for a, b in rough)
        emission = _cumulative(part, at_end) - _cumulative(part, at_start)
        yield Minute(
            start - start % MINUTE_MS, at_end - at_start, None if part.emission_ug is None else emission,
            (at_end - at_start) * estimated,
        )  # fmt: skip
        start, at_start = end, at_end


def _fitting(part: IntervalRow, until_ms: int, reads: Iterable[Read]) -> list[Read]:
    """The reads between the interval's edges that neither exceed a later one nor fall below an earlier one."""
    inside = [(t, p) for t, p in reads if part.start_ms < t < until_ms and part.opening <= p <= part.closing]
    positions_ = np.array([p for _, p in inside], np.int64)
    highest = np.maximum.accumulate(positions_)
    lowest = np.minimum.accumulate(positions_[::-1])[::-1]
    kept = [read for read, fits in zip(inside, highest == lowest, strict=True) if fits]
    return [read for i, read in enumerate(kept) if i == 0 or read[0] > kept[i - 1][0]]


def _rough(times: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Stretches without a read that are too long."""
    before = -(1 << 62)
    for t in times:
        if t - before > MEASURED_MS:
            yield before, t
        before = t
    yield before, 1 << 62


def _cumulative(part: IntervalRow, position: int) -> int:
    """The interval's emission up to a position; floors of products telescope."""
    return (part.emission_ug or 0) * (position - part.opening) // max(1, part.closing - part.opening)


class Minutes:
    """A source of the projector: follows the ledger's commits with a cursor of its own, after everything else."""

    name = "minutes"
    window = 200

    def __init__(
        self, ledger: LedgerReader, journal: JournalReader, park: Park, tags: Tags, clock: Callable[[], int]
    ) -> None:
        self._ledger, self._journal, self._park, self._tags, self._clock = ledger, journal, park, tags, clock
        self._registry = Registry(park)
        self._head = 0
        self._looked = -1

    def origin(self) -> str:
        return self._ledger.ledger_id()

    def head(self) -> int:
        """Moves once a minute: a running quarter is looked at when a minute of it is over, not at every commit."""
        minute = self._clock() // MINUTE_MS
        if minute != self._looked:
            self._head, self._looked = self._ledger.change_seq(), minute
        return self._head

    def chunk(self, start: int, until: int) -> Chunk:
        until = self._ledger.changes_end(start, until, CHUNK_ROWS)
        oldest = self._clock() - RETENTIONS["live"] * 1000 + _MARGIN_MS
        by_quarter: dict[int, list[QuarterRow]] = defaultdict(list)
        for row in self._ledger.changed_quarters(start, until):
            if row.start_ms >= oldest:
                by_quarter[row.start_ms].append(row)
        known = {(row.meter, row.reading_type): (row.t_ms, row.position) for row in self._ledger.progress()}
        aliases = self._aliases() if by_quarter else Aliases()
        lines: list[str] = []
        for quarter, rows in by_quarter.items():
            reads = self._reads(quarter, {row.meter for row in rows}, aliases)
            for row in rows:
                key = (row.meter, row.reading_type)
                lines += self._lines(key, quarter, reads.get(key, []), known.get(key, (0, 0)))
        return Chunk(until, "live", lines)

    def _lines(self, key: Key, quarter: int, reads: Sequence[Read], last: Read) -> Iterator[str]:
        """The minutes of a quarter that are over. Two parts of an interval may share one."""
        found: dict[int, list[Minute]] = defaultdict(list)
        known_ms = 0
        for part in self._ledger.intervals(*key, quarter, quarter + QUARTER_MS):
            if not part.closed and part.closing != last[1]:
                break  # between our two looks a commit has come; it is among the next changes
            known_ms = part.end_ms if part.closed else last[0]
            for minute in minutes(part, known_ms, reads):
                found[minute.start_ms].append(minute)
        for start_ms, pieces in found.items():
            if start_ms + MINUTE_MS <= known_ms:
                yield self._tags.minute_line(key, start_ms, pieces)

    def _aliases(self) -> Aliases:
        """What aliases mean, by the newest births: an alias keeps its meaning for ever."""
        aliases = Aliases()
        for run in runs(self._journal.births_before(self._journal.last_segment() + 1)):
            if isinstance(run, Birth):
                take_birth(aliases, run, self._park)
        return aliases

    def _reads(self, quarter: int, meters: Iterable[str], aliases: Aliases) -> dict[Key, list[Read]]:
        """The totals read in a quarter and shortly around it, in time order."""
        known = [(meter.gateway, meter.id) for name in meters if (meter := self._park.meter(name))]
        span = quarter - MEASURED_MS, quarter + QUARTER_MS + MEASURED_MS
        out: dict[Key, list[Read]] = defaultdict(list)
        state = State()
        for run in runs(self._journal.records(known, *span)):
            if isinstance(run, Data):
                found = totals(state, readings(run, aliases), self._registry)
                values = (found.channel.tolist(), found.t.tolist(), found.register.tolist())
                for channel, t_ms, register in zip(*values, strict=True):
                    if state.channels[channel].reading_type in INTEGRATED.values():
                        continue  # a power is no position
                    out[state.channels[channel].key].append((t_ms, register))
        shifts = all_shifts(self._ledger)
        return {
            key: sorted((t, shifts.get(key, NO_SHIFTS).position(t, register)) for t, register in reads)
            for key, reads in out.items()
        }
